import { VarveError } from '../errors.js'
import type { Store } from '../store/store.js'

/** A wait for the next commit of a store that its close, a signal, or `wake` ends early. No timer, no polling. */
export class CommitWait {
  readonly #store: Store
  readonly #signal: AbortSignal | undefined
  #wake: (() => void) | undefined

  constructor(store: Store, signal: AbortSignal | undefined) {
    this.#store = store
    this.#signal = signal
  }

  /** Until something was committed or became durable, or the store closed or failed, or the wait was ended. */
  async next(): Promise<void> {
    let stop: (() => void) | undefined
    const onAbort = () => this.#wake?.()
    try {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        stop = this.#store.onCommit(resolve)
        this.#signal?.addEventListener('abort', onAbort, { once: true })
        if (this.#signal?.aborted) resolve()
      })
    } finally {
      stop?.()
      this.#signal?.removeEventListener('abort', onAbort)
      this.#wake = undefined
    }
  }

  wake(): void {
    this.#wake?.()
  }

  /** @throws VarveError `VARVE_CLOSED`, `VARVE_ABORTED`. */
  check(): void {
    if (this.#signal?.aborted) throw new VarveError('VARVE_ABORTED', 'the signal ended it')
    this.#store.throwIfClosed()
  }

  /**
   * Until every write that `position` covers was acknowledged.
   * @throws VarveError also what stopped writes: the position may never be.
   */
  async promised(position: number, isEnded: () => boolean = () => false): Promise<void> {
    while (this.#store.promisedPosition < position && !isEnded()) {
      this.check()
      if (this.#store.failure) throw this.#store.failure
      await this.next()
    }
    this.check()
  }
}
