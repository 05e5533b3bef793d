import { runJob } from '../../src/compaction/run-job.js'
import type { AnyJob } from '../../src/compaction/segment-job.js'
import type { BackgroundWorker, WorkerHandlers } from '../../src/env/env.js'
import type { MemoryEnv } from '../../src/env/memory-env.js'

export interface WithoutMerges {
  /** For stores with one worker. */
  readonly env: MemoryEnv
  /** Until the store is closed, of which merges are a part that never end by themselves. */
  endMerges(closed: Promise<void>): Promise<void>
}

/** An environment whose background thread flushes, and never gets to a merge. */
export function withoutMerges(inner: MemoryEnv, onFlush?: (job: AnyJob) => void): WithoutMerges {
  const held: (() => void)[] = []
  const startWorker = ({ onResult, onError }: WorkerHandlers): BackgroundWorker => ({
    run(id, job) {
      const anyJob = job as AnyJob
      if (anyJob.kind !== 'flush') {
        held.push(() => onError(id, new Error('the store closes')))
        return
      }
      onFlush?.(anyJob)
      const steps = runJob(inner, anyJob)
      let step = steps.next()
      while (!step.done) step = steps.next()
      const { value } = step
      queueMicrotask(() => onResult(id, value))
    },
    terminate: () => Promise.resolve(),
  })
  return {
    env: { ...inner, startWorker } as MemoryEnv,
    async endMerges(closed) {
      for (const end of held) end()
      await closed.catch(() => {})
    },
  }
}
