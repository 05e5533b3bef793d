import { parentPort } from 'node:worker_threads'
import { nodeEnv } from '../env/node-env.js'
import type { WorkerAnswer, WorkerFailure, WorkerRequest } from '../env/node-workers.js'
import { lowerThreadPriority } from '../env/thread-priority.js'
import { VarveError } from '../errors.js'
import { runJob } from './run-job.js'
import type { AnyJob, AnyResult } from './segment-job.js'

/** How long one job runs before a more urgent one that arrived meanwhile gets its turn. */
const SLICE_MS = 10

interface Running {
  readonly id: number
  readonly isUrgent: boolean
  readonly steps: Generator<void, AnyResult>
}

/**
 * The thread that flushes and merges. Jobs are run in slices, flushes first: a long merge must not keep the
 * memtables waiting. Touches no file but the segments it reads and writes.
 */
const queue: Running[] = []
let isRunning = false
const port = parentPort!

lowerThreadPriority()

port.on('message', ({ id, job }: WorkerRequest) => {
  queue.push({ id, isUrgent: job.kind === 'flush', steps: runJob(nodeEnv, job as AnyJob) })
  if (!isRunning) void runAll()
})

async function runAll(): Promise<void> {
  isRunning = true
  while (queue.length > 0) {
    const running = queue.find((candidate) => candidate.isUrgent) ?? queue[0]!
    const answer = runSlice(running)
    if (answer) {
      queue.splice(queue.indexOf(running), 1)
      port.postMessage(answer)
    }
    // Lets messages in.
    await nodeEnv.clock.sleep(0)
  }
  isRunning = false
}

function runSlice({ id, steps }: Running): WorkerAnswer | undefined {
  const endMs = nodeEnv.clock.monotonicMs() + SLICE_MS
  try {
    for (let step = 0; ; step++) {
      const { done, value } = steps.next()
      if (done) return { id, result: value as AnyResult }
      if (step % 8 === 0 && nodeEnv.clock.monotonicMs() > endMs) return undefined
    }
  } catch (error) {
    return { id, error: plainError(error) }
  }
}

function plainError(error: unknown): WorkerFailure {
  if (!(error instanceof VarveError))
    return { message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  const { code, message, file, offset } = error
  return {
    code,
    message,
    ...(file === undefined ? {} : { file }),
    ...(offset === undefined ? {} : { offset }),
  }
}
