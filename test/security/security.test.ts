import { lstatSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import { encodeCurrent } from '../../src/version/manifest-format.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { failureOf, openMemory, STORE } from '../store/helpers.js'

const SECRET = 'the secret value'

async function filledStore(): Promise<string> {
  const directory = join(temporaryDirectory(), 'new', 'store')
  const db = await open(directory)
  for (let i = 0; i < 10; i++) await db.put(`key ${i}`, SECRET)
  await db.flush()
  await db.checkpoint(join(directory, '..', 'copy'))
  await db.close()
  return directory
}

describe.skipIf(process.platform === 'win32')('what a store puts on disk', () => {
  it('is for its owner alone, whatever the umask: directories 0700, files 0600', async () => {
    const before = process.umask(0)
    try {
      const directory = await filledStore()
      for (const path of [directory, join(directory, '..', 'copy')]) {
        expect(lstatSync(path).mode & 0o777).toBe(0o700)
        for (const name of readdirSync(path))
          expect(lstatSync(join(path, name)).mode & 0o777, name).toBe(0o600)
      }
    } finally {
      process.umask(before)
    }
  })

  it('is never written through a link that lies where a new file goes', async () => {
    const directory = await filledStore()
    const target = join(temporaryDirectory(), 'target')
    writeFileSync(target, 'precious')
    symlinkSync(target, join(directory, 'CURRENT.tmp'))
    await open(directory).then(
      (db) => db.close(),
      () => undefined,
    )
    expect(lstatSync(target).size).toBe('precious'.length)
  })

  it('with a foreign file among it is left alone by name', async () => {
    const directory = await filledStore()
    const names = ['1.seg', '000001.seg.bak', 'x000001.log', '000001.log~', 'MANIFEST-1', '../store-notes']
    for (const name of names.slice(0, 5)) writeFileSync(join(directory, name), 'mine')
    mkdirSync(join(directory, 'mine'))
    const db = await open(directory)
    await db.compact()
    await db.close()
    for (const name of names.slice(0, 5)) expect(lstatSync(join(directory, name)).size).toBe(4)
    expect(lstatSync(join(directory, 'mine')).isDirectory()).toBe(true)
  })
})

it.each([
  '../../etc/passwd',
  '/etc/passwd',
  'MANIFEST-000001/../../x',
  'MANIFEST-\0',
  'C:\\MANIFEST-000001',
])('no path out of a file is followed: CURRENT names %j', async (name) => {
  const env = memoryEnv()
  env.fs.makeDirectory(STORE)
  env.fs.writeFile(`${STORE}/CURRENT`, encodeCurrent(name))
  const opened: string[] = []
  const inner = env.fs.open.bind(env.fs)
  env.fs.open = (path, mode) => {
    opened.push(path)
    return inner(path, mode)
  }
  const failure = await failureOf(() => openMemory({ workers: 0 }, env))
  expect(failure).toMatchObject({ code: 'VARVE_CORRUPTION', file: `${STORE}/CURRENT` })
  expect(opened.every((path) => path === `${STORE}/CURRENT`)).toBe(true)
})

it('no error holds bytes of a value', async () => {
  const { db, env } = await openMemory({ workers: 0, compression: 'none' })
  await db.put('key', SECRET)
  await db.flush()
  await db.put('other', SECRET, { durability: 'disk' })
  await db.close()
  let seen = 0
  for (const name of env.fs.list(STORE)) {
    const whole = Buffer.from(env.fs.readFile(`${STORE}/${name}`))
    for (let at = 0; at < whole.length; at += 11) {
      const fs = env.fs.clone()
      const bytes = Buffer.from(whole)
      bytes[at]! ^= 0x80
      fs.writeFile(`${STORE}/${name}`, bytes)
      const failure = await failureOf(async () => {
        const opened = (await openMemory({ workers: 0 }, memoryEnv({ fs }))).db
        try {
          await opened.entries().all()
        } finally {
          await opened.close()
        }
      })
      if (!failure) continue
      seen++
      expect(`${failure.message}${failure.stack}${String(failure.cause)}`).not.toContain('secret')
    }
  }
  expect(seen).toBeGreaterThan(20)
})
