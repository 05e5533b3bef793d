import type { Clock } from '../env/env.js'

/** How long a chain of promises may run before timers and I/O get their turn. */
const SLICE_MS = 3

/**
 * Keeps loops that await what is ready at once from starving the event loop: promises alone never let it turn, so
 * now and then an answer is held back until it did.
 */
export class FairTurn {
  readonly #clock: Clock
  #sliceEndMs = 0
  #turn: Promise<void> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A turn of the event loop to wait for; undefined while none is due. */
  due(): Promise<void> | undefined {
    if (this.#turn) return this.#turn
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#sliceEndMs) return undefined
    if (this.#sliceEndMs === 0 || nowMs > this.#sliceEndMs + SLICE_MS) {
      // Nobody has asked for a while: the loop has most likely turned meanwhile. A new slice starts.
      this.#sliceEndMs = nowMs + SLICE_MS
      return undefined
    }
    this.#turn = this.#clock.sleep(0).then(() => {
      this.#turn = undefined
      this.#sliceEndMs = this.#clock.monotonicMs() + SLICE_MS
    })
    return this.#turn
  }
}
