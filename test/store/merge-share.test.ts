import { expect, it } from 'vitest'
import { JobTurns } from '../../src/compaction/job-turns.js'
import { runJob } from '../../src/compaction/run-job.js'
import type { AnyJob } from '../../src/compaction/segment-job.js'
import type { BackgroundWorker, WorkerHandlers } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { mergeShare } from '../../src/tree/stall.js'
import { openMemory, TINY } from './helpers.js'

it('gives merges no turn of a flush before level 0 is behind, nor where they would find nothing dead', () => {
  const options = { l0SegmentsMax: 4 }
  const shares = (deadShare: number) => [0, 4, 6, 8, 20].map((l0) => mergeShare(l0, deadShare, options))
  expect(shares(0)).toEqual([0, 0, 0, 0, 0])
  expect(shares(1 / 8)).toEqual([0, 0, 1 / 8, 1 / 4, 1 / 4])
  expect(shares(1)).toEqual([0, 0, 1 / 4, 1 / 2, 1 / 2])
})

it('leaves to the oldest merge the share of turns that the oldest flush says', () => {
  const turnsOf = (sharedOut: number) => {
    const merge = { name: 'm', isUrgent: false, sharedOut: 0 }
    const flush = { name: 'f', isUrgent: true, sharedOut }
    const queue = [merge, { ...merge, name: 'n' }, flush, { ...flush, name: 'g', sharedOut: 1 }]
    const turns = new JobTurns()
    return Array.from({ length: 8 }, () => turns.next(queue).name).join('')
  }
  expect([0, 1 / 4, 1 / 2].map(turnsOf)).toEqual(['ffffffff', 'fffmfffm', 'fmfmfmfm'])
  expect(new JobTurns().next([{ isUrgent: false, sharedOut: 0 }])).toBeDefined()
})

/** The shares that flushes are told, in a store whose merges never end. */
async function sharesOf(keyAt: (i: number) => string): Promise<number[]> {
  const inner = memoryEnv({ seed: 7 })
  const shares: number[] = []
  const held: (() => void)[] = []
  const startWorker = ({ onResult, onError }: WorkerHandlers): BackgroundWorker => ({
    run(id, job) {
      const anyJob = job as AnyJob
      if (anyJob.kind !== 'flush') {
        held.push(() => onError(id, new Error('the store closes')))
        return
      }
      shares.push(anyJob.mergeShare)
      const steps = runJob(inner, anyJob)
      let step = steps.next()
      while (!step.done) step = steps.next()
      const { value } = step
      queueMicrotask(() => onResult(id, value))
    },
    terminate: () => Promise.resolve(),
  })
  const { db } = await openMemory({ ...TINY, workers: 1, l0SegmentsMax: 2 }, {
    ...inner,
    startWorker,
  } as MemoryEnv)
  for (let flush = 0; flush < 5; flush++) {
    for (let i = 0; i < 8; i++) await db.put(keyAt(flush * 8 + i), 'value')
    await db.flush()
  }
  const closed = db.close()
  for (const end of held) end()
  await closed.catch(() => {})
  return shares
}

it('flushes of overwritten keys leave merges a share of the thread once level 0 is behind', async () => {
  expect(await sharesOf((i) => `key ${i}`)).toEqual([0, 0, 0, 0, 0])
  expect(await sharesOf((i) => `key ${i % 2}`)).toEqual([0, 0, 0, 1 / 4, 1 / 2])
})
