import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { open, VarveError } from '../../src/index.js'
import { temporaryDirectory } from '../env/temporary-directory.js'

const OPTIONS = { workers: 0, memory: 2 ** 20, log: { maxBytes: 2 ** 20 } } as const
const TIME_MAX_MS = 2000

/** A real directory with a file of each kind. */
async function makeStore(): Promise<string> {
  const directory = join(temporaryDirectory(), 'store')
  const db = await open(directory, OPTIONS)
  for (let i = 0; i < 20; i++) await db.put(`key ${i}`, `value ${i}`)
  await db.flush()
  await db.put('in the log', '1')
  await db.close()
  return directory
}

type Kind = 'log' | 'segment' | 'manifest' | 'CURRENT' | 'LOCK'
const PATTERNS: Record<Kind, RegExp> = {
  log: /\.log$/,
  segment: /\.seg$/,
  manifest: /^MANIFEST/,
  CURRENT: /^CURRENT$/,
  LOCK: /^LOCK$/,
}

const REPLACEMENTS: Record<string, (path: string) => void> = {
  'a directory': (path) => fs.mkdirSync(path),
  'a symbolic link to the file itself, elsewhere': (path) => {
    fs.renameSync(`${path}.moved`, `${path}.elsewhere`)
    fs.symlinkSync(`${path}.elsewhere`, path)
  },
  'a dangling symbolic link': (path) => fs.symlinkSync('/nowhere', path),
  'a symbolic link to itself': (path) => fs.symlinkSync(path, path),
  'a FIFO': (path) => {
    expect(spawnSync('mkfifo', [path]).status).toBe(0)
  },
  'a device': (path) => fs.symlinkSync('/dev/zero', path),
}

const cases = Object.keys(REPLACEMENTS).flatMap((what) =>
  (Object.keys(PATTERNS) as Kind[]).map((kind) => [what, kind] as const),
)

it.skipIf(process.platform === 'win32').each(cases)(
  '%s in the place of the %s is refused by name at once, and stays',
  async (what, kind) => {
    const directory = await makeStore()
    const name = fs
      .readdirSync(directory)
      .filter((found) => PATTERNS[kind].test(found))
      .at(-1)!
    const path = join(directory, name)
    fs.renameSync(path, `${path}.moved`)
    REPLACEMENTS[what]!(path)
    const before = fs.lstatSync(path).ino
    const startMs = performance.now()
    const failure = await open(directory, OPTIONS).then(
      async (db) => {
        // A LOCK of any kind that can be locked holds no data.
        await db.close()
        return undefined
      },
      (error: unknown) => error,
    )
    expect(performance.now() - startMs).toBeLessThan(TIME_MAX_MS)
    if (failure === undefined) expect(kind).toBe('LOCK')
    else {
      expect(failure).toBeInstanceOf(VarveError)
      expect((failure as VarveError).file).toContain(directory)
    }
    expect(fs.lstatSync(path).ino).toBe(before)
  },
)
