import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { lockFile } from '../../src/env/file-lock.js'
import { compileSources, temporaryDirectory } from './temporary-directory.js'

const SOURCES = ['errors', 'env/file-lock', 'env/system-error']
const HELD_BY = (pid: number | undefined) =>
  expect.objectContaining({ code: 'VARVE_LOCKED', ...(pid === undefined ? {} : { pid }) })

/** Compiles the lock into `directory` and takes it there in another process. */
async function holdInChild(directory: string, helpers: string): Promise<ChildProcess> {
  const main = join(compileSources(directory, SOURCES), 'main.js')
  writeFileSync(
    main,
    `import { lockFile } from './env/file-lock.js'
     lockFile(${JSON.stringify(join(directory, 'LOCK'))}${helpers})
     process.stdout.write('held')
     setInterval(() => {}, 1000)`,
  )
  const child = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [word] = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')])
  expect(String(word)).toBe('held')
  return child
}

describe.each([
  ['the kernel', ''],
  ['the words in the file', ', []'],
])('a lock held by another process through %s', (_, helpers) => {
  const take = (path: string) => (helpers === '' ? lockFile(path) : lockFile(path, []))

  it('excludes us, names its pid, and is free once the process is killed', async () => {
    const directory = temporaryDirectory()
    const path = join(directory, 'LOCK')
    const child = await holdInChild(directory, helpers)
    expect(() => take(path)).toThrow(HELD_BY(child.pid))
    expect(() => take(path)).toThrow(`${path} is held by process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lock = take(path)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid, host: hostname() })
    const isKernel = helpers === '' && existsSync('/usr/bin/flock')
    if (isKernel) expect(readFileSync(path, 'utf8')).toContain('"kind":"kernel"')
    lock.release()
    expect(readFileSync(path, 'utf8')).toBe('')
  })
})

describe('the words in LOCK', () => {
  const self = { host: hostname(), kind: 'file', token: 'x' }

  function describeSelf(path: string): Record<string, unknown> {
    const lock = lockFile(path, [])
    const words = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
    lock.release()
    return words
  }

  it('of a holder without a kernel lock also bind one who has a kernel lock', async () => {
    const directory = temporaryDirectory()
    const child = await holdInChild(directory, ', []')
    expect(() => lockFile(join(directory, 'LOCK'))).toThrow(HELD_BY(child.pid))
  })

  it('of another host are believed', () => {
    const path = join(temporaryDirectory(), 'LOCK')
    writeFileSync(path, JSON.stringify({ ...self, host: 'elsewhere.invalid', pid: 4_000_000 }))
    expect(() => lockFile(path, [])).toThrow(HELD_BY(4_000_000))
  })

  it.skipIf(process.platform !== 'linux')(
    'of an earlier process with our pid, or an earlier boot, are not',
    () => {
      const path = join(temporaryDirectory(), 'LOCK')
      const words = describeSelf(path)
      writeFileSync(path, JSON.stringify(words))
      expect(() => lockFile(path, [])).toThrow(HELD_BY(process.pid))
      writeFileSync(path, JSON.stringify({ ...words, startTime: '1' }))
      lockFile(path, []).release()
      writeFileSync(path, JSON.stringify({ ...words, bootId: 'earlier' }))
      lockFile(path, []).release()
    },
  )

  it.each([
    '',
    'nonsense',
    '{}',
    'null',
    '{"pid":-1,"host":"h"}',
    '{"pid":"1"}',
  ])('%j hold nothing', (words) => {
    const path = join(temporaryDirectory(), 'LOCK')
    writeFileSync(path, words)
    lockFile(path, []).release()
    lockFile(path).release()
  })

  it.skipIf(!existsSync('/usr/bin/flock'))('are not what holds a kernel lock', async () => {
    const directory = temporaryDirectory()
    await holdInChild(directory, '')
    writeFileSync(join(directory, 'LOCK'), '')
    expect(() => lockFile(join(directory, 'LOCK'))).toThrow(HELD_BY(undefined))
  })

  it('are not what holds a lock of this process', () => {
    const path = join(temporaryDirectory(), 'LOCK')
    const lock = lockFile(path, [])
    writeFileSync(path, '')
    expect(() => lockFile(path, [])).toThrow(HELD_BY(process.pid))
    lock.release()
  })

  it('are not followed by a closed descriptor: a refused second lock leaves the first in force', () => {
    const path = join(temporaryDirectory(), 'LOCK')
    const lock = lockFile(path)
    expect(() => lockFile(path)).toThrow(HELD_BY(process.pid))
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid })
    lock.release()
  })
})
