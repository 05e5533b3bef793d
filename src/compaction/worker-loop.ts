import { type KeyedJob, unlockJob } from '../env/encrypted-env.js'
import type { Env } from '../env/env.js'
import type { WorkerAnswer, WorkerFailure, WorkerRequest } from '../env/node-workers.js'
import { errorCode } from '../env/system-error.js'
import { VarveError } from '../errors.js'
import { JobTurns, type TurnTaker } from './job-turns.js'
import { runJob } from './run-job.js'
import type { AnyJob, AnyResult } from './segment-job.js'

/** How long one job runs before a more urgent one that arrived meanwhile gets its turn. */
const SLICE_MS = 10

interface Running extends TurnTaker {
  readonly id: number
  readonly steps: Generator<void, AnyResult>
}

/**
 * What the background thread does with its messages. Jobs are run in slices, flushes first: a long merge must not
 * keep the memtables waiting, but gets the share of slices that a flush leaves it. Touches no file but the segments it reads and writes.
 */
export class WorkerLoop {
  readonly #env: Env
  readonly #post: (answer: WorkerAnswer) => void
  readonly #queue: Running[] = []
  readonly #turns = new JobTurns()
  #isRunning = false

  constructor(env: Env, post: (answer: WorkerAnswer) => void) {
    this.#env = env
    this.#post = post
  }

  take({ id, job }: WorkerRequest): void {
    const unlocked = unlockJob(this.#env, job as KeyedJob)
    const anyJob = unlocked.job as AnyJob
    const isUrgent = anyJob.kind === 'flush'
    const sharedOut = anyJob.kind === 'flush' ? anyJob.mergeShare : 0
    this.#queue.push({ id, isUrgent, sharedOut, steps: runJob(unlocked.env, anyJob) })
    if (!this.#isRunning) void this.#runAll()
  }

  async #runAll(): Promise<void> {
    this.#isRunning = true
    while (this.#queue.length > 0) {
      const running = this.#turns.next(this.#queue)
      const answer = this.#runSlice(running)
      if (answer) {
        this.#queue.splice(this.#queue.indexOf(running), 1)
        this.#post(answer)
      }
      // Lets messages in.
      await this.#env.clock.sleep(0)
    }
    this.#isRunning = false
  }

  #runSlice({ id, steps }: Running): WorkerAnswer | undefined {
    const { clock } = this.#env
    const endMs = clock.monotonicMs() + SLICE_MS
    try {
      for (let step = 0; ; step++) {
        const { done, value } = steps.next()
        if (done) return { id, result: value as AnyResult }
        if (step % 8 === 0 && clock.monotonicMs() > endMs) return undefined
      }
    } catch (error) {
      return { id, error: plainError(error) }
    }
  }
}

function plainError(error: unknown): WorkerFailure {
  const systemCode = error instanceof VarveError ? undefined : errorCode(error)
  if (systemCode !== undefined) return { code: systemCode, message: (error as Error).message }
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
