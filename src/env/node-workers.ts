import { type ResourceLimits, Worker } from 'node:worker_threads'
import { VarveError, type VarveErrorCode } from '../errors.js'
import type { BackgroundWorker, WorkerHandlers } from './env.js'
import type { Job, JobResult } from './job.js'

const LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 4 }

/** What crosses to the thread. */
export interface WorkerRequest {
  readonly id: number
  readonly job: Job
}

/** An error as plain data: errors lose their own fields when they cross threads. */
export interface WorkerFailure {
  readonly code?: string
  readonly message: string
  readonly file?: string
  readonly offset?: number
}

/** What comes back. */
export type WorkerAnswer =
  | { readonly id: number; readonly result: JobResult }
  | { readonly id: number; readonly error: WorkerFailure }

/** A worker thread; it keeps the process alive only while a job is pending. */
export class NodeWorker implements BackgroundWorker {
  readonly #worker: Worker
  readonly #handlers: WorkerHandlers
  #pending = 0
  #isGone = false
  #cause: unknown

  constructor(url: URL, handlers: WorkerHandlers, limits: ResourceLimits = LIMITS) {
    this.#handlers = handlers
    // The thread writes to neither: left to go on to this one's, they are made here, in the task that starts the thread.
    const streams = { stdout: true, stderr: true }
    // Without execArgv: [] a parent run with --input-type or --eval hands the thread flags that it refuses.
    this.#worker = new Worker(url, { execArgv: [], resourceLimits: limits, ...streams })
    this.#worker.on('message', (answer: WorkerAnswer) => this.#answer(answer))
    this.#worker.on('messageerror', (error) => this.#fail(error))
    this.#worker.on('error', (error) => {
      this.#cause ??= error
    })
    // 'exit' follows 'error', and comes alone after process.exit in the thread.
    this.#worker.on('exit', (exitCode) => this.#exit(this.#cause ?? new Error(`exit code ${exitCode}`)))
    this.#worker.unref()
  }

  run(id: number, job: Job): void {
    if (this.#isGone) throw new VarveError('VARVE_BACKGROUND', 'the background thread is gone')
    const request: WorkerRequest = { id, job }
    this.#worker.postMessage(request)
    if (this.#pending++ === 0) this.#worker.ref()
  }

  async terminate(): Promise<void> {
    this.#isGone = true
    await this.#worker.terminate()
  }

  #answer(answer: WorkerAnswer): void {
    if (this.#isGone) return
    if (--this.#pending === 0) this.#worker.unref()
    if ('error' in answer) this.#handlers.onError(answer.id, rebuildError(answer.error))
    else this.#handlers.onResult(answer.id, answer.result)
  }

  #fail(cause: unknown): void {
    this.#cause ??= cause
    void this.#worker.terminate()
  }

  #exit(cause: unknown): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#handlers.onExit(cause)
  }
}

/** The error that a thread reported. */
export function rebuildError(failure: WorkerFailure): Error {
  const { code, message, file, offset } = failure
  if (code?.startsWith('VARVE_')) {
    return new VarveError(code as VarveErrorCode, message, {
      ...(file === undefined ? {} : { file }),
      ...(offset === undefined ? {} : { offset }),
    })
  }
  return Object.assign(new Error(message), code === undefined ? {} : { code })
}
