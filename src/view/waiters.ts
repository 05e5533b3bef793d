import type { Env } from '../env/env.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { abortedError, onAbort } from '../util/abort.js'
import type { ViewReadOptions } from './contract.js'
import { Deferred } from './deferred.js'

interface Waiter {
  readonly atLeast: Position
  readonly deferred: Deferred<void>
  readonly cancelTimer: (() => void) | undefined
  forgetSignal(): void
}

/** Reads that wait for a position. Every one of them ends: by the position, its time, or what makes it hopeless. */
export class Waiters {
  readonly #clock: Env['clock']
  readonly #waiters = new Set<Waiter>()

  constructor(env: Env) {
    this.#clock = env.clock
  }

  /** @param describe what is there now, for the error of one that waited too long. */
  wait(
    atLeast: Position,
    { timeoutMs, signal }: Pick<ViewReadOptions, 'timeoutMs' | 'signal'>,
    describe: () => { readonly message: string; readonly position: Position },
  ): Promise<void> {
    const deferred = new Deferred<void>()
    const cancelTimer =
      timeoutMs === undefined
        ? undefined
        : this.#clock.after(timeoutMs, () => {
            this.#end(waiter)
            const { message, position } = describe()
            deferred.reject(new VarveError('VARVE_TIMEOUT', message, { position }))
          })
    const waiter: Waiter = { atLeast, deferred, cancelTimer, forgetSignal: () => {} }
    this.#waiters.add(waiter)
    waiter.forgetSignal = onAbort(signal, () => {
      this.#end(waiter)
      deferred.reject(abortedError(signal!, 'the wait'))
    })
    return deferred.promise
  }

  /** What reads see reflects `position` now. */
  reached(position: Position): void {
    if (this.#waiters.size === 0) return
    for (const waiter of [...this.#waiters]) {
      if (waiter.atLeast > position) continue
      this.#end(waiter)
      waiter.deferred.resolve()
    }
  }

  reject(error: unknown): void {
    for (const waiter of [...this.#waiters]) {
      this.#end(waiter)
      waiter.deferred.reject(error)
    }
  }

  #end(waiter: Waiter): void {
    this.#waiters.delete(waiter)
    waiter.cancelTimer?.()
    waiter.forgetSignal()
  }
}
