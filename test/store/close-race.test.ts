import { expect, it } from 'vitest'
import { JobRunner } from '../../src/compaction/job-runner.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { VarveError } from '../../src/index.js'
import { openMemory, TINY } from './helpers.js'

it('writes that come while a store closes are committed whole or refused', async () => {
  for (let turns = 0; turns < 24; turns++) {
    const env = memoryEnv({ seed: turns })
    const { db } = await openMemory(TINY, env)
    const written: string[] = []
    const write = async (name: string) => {
      for (let i = 0; i < 200; i++) {
        for (let turn = 0; turn < turns % 7; turn++) await null
        await db.put(`${name}${i}`, 'x'.repeat(30))
        written.push(`${name}${i}`)
      }
    }
    const writers = ['a', 'b', 'c'].map((name) => write(name).catch((error: unknown) => error))
    for (let turn = 0; turn < turns; turn++) await null
    await db.close()
    for (const failure of await Promise.all(writers)) {
      expect(failure).toBeInstanceOf(VarveError)
      expect((failure as VarveError).code).toBe('VARVE_CLOSED')
    }
    const again = (await openMemory(TINY, memoryEnv({ fs: env.fs.clone() }))).db
    expect(await again.keys().all(), `${turns} turns`).toEqual([...written].sort())
    await again.close()
  }
})

it('a thread that was started ahead of its first job is ended with the store, and started no more', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  let [started, ended] = [0, 0]
  const startWorker = () => {
    started++
    return { run: () => {}, terminate: async () => void ended++ }
  }
  const runner = new JobRunner({ ...memoryEnv(), startWorker }, '/store', 1)
  runner.start(0)
  runner.start(0)
  await runner.close()
  runner.start(0)
  await new Promise((resolve) => setTimeout(resolve, 10))
  process.off('unhandledRejection', note)
  expect([started, ended]).toEqual([1, 1])
  expect(unhandled).toEqual([])
})

it('a thread that cannot be started ahead fails nothing but its first job', async () => {
  const startWorker = () => {
    throw new Error('no threads')
  }
  const runner = new JobRunner({ ...memoryEnv(), startWorker }, '/store', 1)
  runner.start(0)
  await expect(runner.run(() => ({}) as never, 0)).rejects.toThrow('no threads')
  await runner.close()
})
