import { WorkerLoop } from '../../src/compaction/worker-loop.js'
import type { BackgroundWorker, Clock, Env, File, FileSystem, WorkerHandlers } from '../../src/env/env.js'
import type { Job } from '../../src/env/job.js'
import type { MemoryFile } from '../../src/env/memory-file.js'
import { MemoryFileSystem, type MemoryTime } from '../../src/env/memory-file-system.js'
import { rebuildError, type WorkerAnswer, type WorkerRequest } from '../../src/env/node-workers.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { SimQueue } from './sim-queue.js'

const EPOCH_MS = 1_700_000_000_000

/** One machine: a disk, a clock, and the threads of one process, all driven by one queue. */
export class SimWorld {
  readonly queue: SimQueue
  readonly #random: SeededRandom
  readonly #time: MemoryTime
  #workers = new Set<SimWorker>()
  fs: MemoryFileSystem

  constructor(queue: SimQueue, seed: number) {
    this.queue = queue
    this.#random = new SeededRandom(seed)
    this.#time = {
      nowMs: () => EPOCH_MS + Math.floor(queue.nowMs),
      sleep: (delayMs) => this.#sleep('linger', delayMs),
      turn: (op, path) => new Promise((resolve) => queue.push(`${op} ${path}`, resolve)),
    }
    this.fs = new MemoryFileSystem(seed, this.#time)
  }

  /** The process: it dies with `crash`. */
  env(): Env {
    const { fs } = this
    return {
      fs,
      clock: this.clock(() => true),
      random: { fill: (bytes) => this.#random.fill(bytes) },
      // On its own disk: what a dead process does yet, nobody sees.
      startWorker: (handlers) => this.#startWorker(fs, handlers),
    }
  }

  /** The process is gone, with everything that it waited for; what it left is the disk now. */
  crash(fs: MemoryFileSystem): void {
    this.queue.clear()
    this.#workers.clear()
    this.fs = fs
  }

  /** Whether there was a thread to kill. */
  killWorker(): boolean {
    const [worker] = this.#workers
    if (!worker) return false
    this.#workers.delete(worker)
    worker.die(new Error('killed'))
    return true
  }

  clock(isAlive: () => boolean): Clock {
    const { queue } = this
    const guarded = (run: () => void) => () => {
      if (isAlive()) run()
    }
    const after = (delayMs: number, callback: () => void) => queue.after(delayMs, 'timer', guarded(callback))
    return {
      wallMs: () => EPOCH_MS + Math.floor(queue.look()),
      monotonicMs: () => queue.look(),
      after,
      afterUnref: after,
      sleep: (delayMs) =>
        new Promise((resolve) => {
          if (delayMs > 0) queue.after(delayMs, 'sleep', guarded(resolve))
          else queue.push('turn', guarded(resolve))
        }),
    }
  }

  #sleep(label: string, delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.queue.after(delayMs, label, resolve)
    })
  }

  #startWorker(fs: MemoryFileSystem, handlers: WorkerHandlers): BackgroundWorker {
    const worker = new SimWorker(this, fs, handlers, (gone) => this.#workers.delete(gone))
    this.#workers.add(worker)
    return worker
  }
}

/** A thread in this process: the loop of the real one, and messages that are copied and take their time. */
class SimWorker implements BackgroundWorker {
  readonly #queue: SimQueue
  readonly #handlers: WorkerHandlers
  readonly #loop: WorkerLoop
  readonly #files = new Set<File>()
  readonly #onGone: (worker: SimWorker) => void
  readonly #requests: WorkerRequest[] = []
  readonly #answers: WorkerAnswer[] = []
  #isAlive = true

  constructor(
    world: SimWorld,
    fs: MemoryFileSystem,
    handlers: WorkerHandlers,
    onGone: (worker: SimWorker) => void,
  ) {
    this.#queue = world.queue
    this.#handlers = handlers
    this.#onGone = onGone
    const env: Env = {
      ...world.env(),
      clock: world.clock(() => this.#isAlive),
      fs: this.#trackFiles(fs),
    }
    this.#loop = new WorkerLoop(env, (answer) => this.#post(answer))
  }

  run(id: number, job: Job): void {
    if (!this.#isAlive) throw new Error('the thread is gone')
    this.#requests.push(structuredClone({ id, job }))
    // Messages arrive in order, whenever they do.
    this.#queue.push('request', () => {
      const request = this.#requests.shift()
      if (request && this.#isAlive) this.#loop.take(request)
    })
  }

  terminate(): Promise<void> {
    this.#end()
    return new Promise((resolve) => this.#queue.push('terminated', resolve))
  }

  die(cause: unknown): void {
    if (!this.#isAlive) return
    this.#end()
    this.#queue.push('exit', () => this.#handlers.onExit(cause))
  }

  #end(): void {
    this.#isAlive = false
    this.#onGone(this)
    for (const file of this.#files) (file as MemoryFile).release()
  }

  #post(answer: WorkerAnswer): void {
    if (!this.#isAlive) return
    this.#answers.push(structuredClone(answer))
    this.#queue.push('answer', () => {
      const next = this.#answers.shift()
      if (!next || !this.#isAlive) return
      if ('error' in next) this.#handlers.onError(next.id, rebuildError(next.error))
      else this.#handlers.onResult(next.id, next.result)
    })
  }

  /** What a thread has open when it dies, the system closes. */
  #trackFiles(fs: MemoryFileSystem): FileSystem {
    return new Proxy<FileSystem>(fs, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown
        if (typeof value !== 'function') return value
        if (name !== 'open') return value.bind(target)
        return (...args: Parameters<FileSystem['open']>) => {
          const file = target.open(...args)
          this.#files.add(file)
          return file
        }
      },
    })
  }
}
