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
  /** The turn that the running slice ends with at the latest; undefined while none runs. */
  #turn: Promise<void> | undefined
  #isAwaited = false
  #isAsked = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Nobody has asked since the last turn came: what takes long is the least harm now. */
  get isFresh(): boolean {
    return !this.#isAsked
  }

  /** What took long was done: the running slice is over, or, where none runs, the next one as it begins. */
  spend(): void {
    this.#isSpent = true
    this.#sliceEndMs = 0
  }

  /** A turn of the event loop to wait for, once; undefined while none is due. */
  due(): Promise<void> | undefined {
    const nowMs = this.#clock.monotonicMs()
    this.#isAsked = true
    if (!this.#turn) this.#begin(nowMs)
    else if (nowMs >= this.#sliceEndMs) {
      this.#isAwaited = true
      return this.#turn
    }
    return undefined
  }

  #begin(nowMs: number): void {
    if (!this.#isSpent) this.#sliceEndMs = nowMs + SLICE_MS
    this.#turn = this.#clock.sleep(0).then(() => {
      const wasAwaited = this.#isAwaited
      this.#turn = undefined
      this.#isSpent = false
      this.#isAwaited = false
      this.#isAsked = false
      // Who waited goes on now: what they do before anybody asks counts too.
      if (wasAwaited) this.#begin(this.#clock.monotonicMs())
    })
  }
}
