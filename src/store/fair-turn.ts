import type { Clock } from '../env/env.js'

/** How long a chain of promises may run before timers and I/O get their turn. */
const SLICE_MS = 1

/**
 * Keeps loops that await what is ready at once from starving the event loop: promises alone never let it turn, so
 * now and then an answer is held back until it did.
 */
export class FairTurn {
  readonly #clock: Clock
  #sliceEndMs = 0
  /** The turn that the running slice ends with at the latest; undefined once it came. */
  #turn: Promise<void> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A turn of the event loop to wait for; undefined while none is due. */
  due(): Promise<void> | undefined {
    const nowMs = this.#clock.monotonicMs()
    if (this.#turn) return nowMs < this.#sliceEndMs ? undefined : this.#turn
    this.#sliceEndMs = nowMs + SLICE_MS
    this.#turn = this.#clock.sleep(0).then(() => {
      this.#turn = undefined
    })
    return undefined
  }
}
