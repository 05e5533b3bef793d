import type { BackgroundWorker, Env } from '../env/env.js'
import { errorCode } from '../env/system-error.js'
import { ioError, VarveError } from '../errors.js'
import type { AnyJob, AnyResult } from './segment-job.js'

/** How often a job is given to a new thread after the last one died under it. */
const ATTEMPTS_MAX = 3
/** How long a slice of a job may hold the main thread where there is no other. */
const SLICE_MS = 2

interface Pending {
  readonly resolve: (result: AnyResult) => void
  readonly reject: (error: unknown) => void
}

class WorkerDied extends Error {}

/**
 * Runs jobs: on background threads, or in slices on this one where there are none. A thread that dies takes
 * nothing with it: its jobs are made anew, with new file numbers, for the next thread, and after the third death
 * run here.
 */
export class JobRunner {
  readonly #env: Env
  readonly #workerCount: number
  readonly #directory: string
  readonly #workers: (WorkerSlot | undefined)[] = []
  #nextId = 1
  #isClosed = false

  constructor(env: Env, directory: string, workerCount: number) {
    this.#env = env
    this.#directory = directory
    this.#workerCount = workerCount
  }

  /**
   * @param makeJob called once for each attempt: an attempt never writes a file of another.
   * @param lane jobs of one lane share a thread, modulo the number of threads.
   */
  async run(makeJob: () => AnyJob, lane: number): Promise<AnyResult> {
    try {
      return await this.#run(makeJob, lane)
    } catch (error) {
      // What the system refused; anything else is a mistake of the program, and stays what it is.
      throw errorCode(error) === undefined ? error : ioError(error, 'background work in', this.#directory)
    }
  }

  /** Has the thread of a lane ready for its first job, which would wait a tenth of a second for it. Takes 2 ms, now. */
  start(lane: number): void {
    if (this.#workerCount === 0 || this.#isClosed) return
    const index = lane % this.#workerCount
    if (this.#running(index)) return
    try {
      this.#startSlot(index)
    } catch {
      // The first job tells what is wrong.
    }
  }

  async #run(makeJob: () => AnyJob, lane: number): Promise<AnyResult> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX && this.#workerCount > 0; attempt++) {
      const slot = await this.#slot(lane % this.#workerCount)
      if (!slot) break
      try {
        return await slot.run(this.#nextId++, makeJob())
      } catch (error) {
        if (!(error instanceof WorkerDied)) throw error
        if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store was closed', { cause: error })
      }
    }
    return this.#runInSlices(makeJob())
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#workers.map((slot) => slot?.terminate()))
  }

  async #slot(index: number): Promise<WorkerSlot | undefined> {
    if (!this.#running(index)) {
      // Starting the first thread of a process takes 4 ms: not in the task of the write that filled a memtable.
      await this.#env.clock.sleep(0)
      if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store was closed')
    }
    return this.#running(index) ?? this.#startSlot(index)
  }

  #startSlot(index: number): WorkerSlot | undefined {
    const slot = WorkerSlot.start(this.#env)
    this.#workers[index] = slot
    return slot
  }

  #running(index: number): WorkerSlot | undefined {
    const slot = this.#workers[index]
    return slot?.isDead ? undefined : slot
  }

  async #runInSlices(job: AnyJob): Promise<AnyResult> {
    // Imported on demand: a store with threads never loads the code that writes segments here.
    const { runJob } = await import('./run-job.js')
    const { clock } = this.#env
    const steps = runJob(this.#env, job)
    let endMs = clock.monotonicMs() + SLICE_MS
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value as AnyResult
      if (clock.monotonicMs() < endMs) continue
      await clock.sleep(0)
      if (this.#isClosed) {
        steps.return(undefined as never)
        throw new VarveError('VARVE_CLOSED', 'the store was closed')
      }
      endMs = clock.monotonicMs() + SLICE_MS
    }
  }
}

class WorkerSlot {
  readonly #pending = new Map<number, Pending>()
  #worker: BackgroundWorker | undefined
  isDead = false

  static start(env: Env): WorkerSlot | undefined {
    const slot = new WorkerSlot()
    slot.#worker = env.startWorker({
      onResult: (id, result) => slot.#take(id)?.resolve(result as AnyResult),
      onError: (id, error) => slot.#take(id)?.reject(error),
      onExit: (cause) => slot.#die(cause),
    })
    return slot.#worker ? slot : undefined
  }

  run(id: number, job: AnyJob): Promise<AnyResult> {
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      try {
        this.#worker!.run(id, job)
      } catch (error) {
        this.#pending.delete(id)
        reject(new WorkerDied('the thread did not take the job', { cause: error }))
      }
    })
  }

  async terminate(): Promise<void> {
    this.isDead = true
    await this.#worker?.terminate()
    this.#rejectAll(new WorkerDied('the store was closed'))
  }

  #die(cause: unknown): void {
    this.isDead = true
    this.#rejectAll(new WorkerDied('the thread died', { cause }))
  }

  #rejectAll(error: Error): void {
    const waiting = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of waiting) reject(error)
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }
}
