import type { BackgroundWorker, Env, WorkerHandlers } from './env.js'
import type { Job } from './job.js'

interface Member {
  readonly handlers: WorkerHandlers
  /** Jobs that run, by the number the thread knows them by, each with the member's own. */
  readonly running: Map<number, number>
  onIdle: (() => void) | undefined
}

/**
 * One background thread for several stores. It starts with the first job and ends when the last of them has closed.
 * A store that closes waits for its own running jobs: the thread is not its own to end.
 */
export class SharedWorker {
  readonly #env: Env
  readonly #members = new Set<Member>()
  #worker: BackgroundWorker | undefined
  #nextId = 1

  constructor(env: Env) {
    this.#env = env
  }

  /** The environment as stores are to see it that share the thread. */
  get env(): Env {
    return { ...this.#env, startWorker: (handlers) => this.#join(handlers) }
  }

  #join(handlers: WorkerHandlers): BackgroundWorker | undefined {
    this.#worker ??= this.#start()
    if (!this.#worker) return undefined
    const member: Member = { handlers, running: new Map(), onIdle: undefined }
    this.#members.add(member)
    return {
      run: (id, job) => this.#run(member, id, job),
      terminate: () => this.#leave(member),
    }
  }

  #start(): BackgroundWorker | undefined {
    return this.#env.startWorker({
      onResult: (id, result) => this.#answer(id, (member, own) => member.handlers.onResult(own, result)),
      onError: (id, error) => this.#answer(id, (member, own) => member.handlers.onError(own, error)),
      onExit: (cause) => {
        this.#worker = undefined
        const members = [...this.#members]
        this.#members.clear()
        for (const member of members) {
          member.running.clear()
          member.onIdle?.()
          member.handlers.onExit(cause)
        }
      },
    })
  }

  #run(member: Member, own: number, job: Job): void {
    if (!this.#worker || !this.#members.has(member)) throw new Error('the thread has ended')
    const id = this.#nextId++
    this.#worker.run(id, job)
    member.running.set(id, own)
  }

  #answer(id: number, give: (member: Member, own: number) => void): void {
    for (const member of this.#members) {
      const own = member.running.get(id)
      if (own === undefined) continue
      member.running.delete(id)
      give(member, own)
      if (member.running.size === 0) member.onIdle?.()
      return
    }
  }

  async #leave(member: Member): Promise<void> {
    if (!this.#members.has(member)) return
    if (this.#members.size > 1 && member.running.size > 0) {
      await new Promise<void>((resolve) => {
        member.onIdle = resolve
      })
    }
    this.#members.delete(member)
    if (this.#members.size > 0) return
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }
}
