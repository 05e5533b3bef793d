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
  /** As the first slice of all: code that is not compiled yet takes many times as long. */
  #isSpent = true
  /** The turn that the running slice ends with at the latest; undefined once it came. */
  #turn: Promise<void> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A turn has come, and nobody has asked since: what takes long is the least harm now. */
  get isFresh(): boolean {
    return this.#turn === undefined
  }

  /** What took long was done: the running slice is over, or the next one at its second question. */
  spend(): void {
    this.#isSpent = true
    this.#sliceEndMs = 0
  }

  /** A turn of the event loop to wait for; undefined while none is due: never at the first question of a turn. */
  due(): Promise<void> | undefined {
    const nowMs = this.#clock.monotonicMs()
    if (this.#turn) return nowMs < this.#sliceEndMs ? undefined : this.#turn
    // Nobody has asked for as long as a slice: who asks now has done nothing yet.
    if (!this.#isSpent && nowMs >= this.#sliceEndMs) this.#sliceEndMs = nowMs + SLICE_MS
    this.#turn = this.#clock.sleep(0).then(() => {
      this.#turn = undefined
      this.#isSpent = false
      // What is done before the first question counts too.
      this.#sliceEndMs = this.#clock.monotonicMs() + SLICE_MS
    })
    return undefined
  }
}
