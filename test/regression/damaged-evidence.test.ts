import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { codeOf, failureOf, openMemory, STORE } from '../store/helpers.js'

const OPTIONS = { workers: 0, memory: 2 ** 20, log: { maxBytes: 2 ** 20 } } as const

/** Was: the file was taken for what a crash had left, and removed with the history in it. */
it('a retained log file with a damaged header stays on disk, and the log begins after it', async () => {
  const { db, env } = await openMemory(OPTIONS)
  for (let i = 0; i < 3; i++) {
    await db.put(`key ${i}`, 'value')
    await db.flush()
  }
  await db.close()
  const [first, second] = env.fs.list(STORE).filter((name) => name.endsWith('.log'))
  const path = `${STORE}/${second}`
  const bytes = Buffer.from(env.fs.readFile(path))
  bytes[20]! ^= 1
  env.fs.writeFile(path, bytes)
  for (let i = 0; i < 2; i++) {
    const again = (await openMemory(OPTIONS, memoryEnv({ fs: env.fs }))).db
    expect(again.oldestPosition).toBe(3)
    expect(await codeOf(() => again.changes({ after: 0 }).next())).toBe('VARVE_POSITION_LOST')
    expect((await failureOf(() => again.verify()))?.file).toBe(path)
    await again.close()
    expect(Buffer.from(env.fs.readFile(path)).equals(bytes)).toBe(true)
    expect(env.fs.list(STORE)).toContain(first)
  }
})

/** Was: a store whose CURRENT is gone was no store at all to those who opened it to be read only. */
it('data without CURRENT is a damaged store, whoever opens it', async () => {
  const { db, env } = await openMemory(OPTIONS)
  await db.put('a', '1')
  await db.close()
  env.fs.remove(`${STORE}/CURRENT`)
  for (const options of [{}, { readOnly: true }, { createIfMissing: false }]) {
    const failure = await failureOf(() => openMemory({ ...OPTIONS, ...options }, env))
    expect(failure).toMatchObject({ code: 'VARVE_CORRUPTION', file: `${STORE}/CURRENT` })
  }
})

/** Was: the system's own error, without a code of Varve's. */
it('a LOCK that cannot be locked is a typed error that names it', async () => {
  const directory = join(temporaryDirectory(), 'store')
  await (await open(directory, OPTIONS)).close()
  const other = join(temporaryDirectory(), 'other')
  mkdirSync(join(other, 'LOCK'), { recursive: true })
  const failure = await failureOf(() => open(other, OPTIONS))
  expect(failure).toMatchObject({ code: 'VARVE_IO', file: join(other, 'LOCK') })
})
