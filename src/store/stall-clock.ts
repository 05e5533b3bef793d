import type { Clock } from '../env/env.js'
import type { Debt } from '../tree/stall.js'
import type { Events } from './events.js'

/** Tells when writes are slowed, and adds up for how long. */
export class StallClock {
  readonly #clock: Clock
  readonly #events: Events
  readonly #debt: () => Debt
  #beganMs: number | undefined
  count = 0
  totalMs = 0

  constructor(clock: Clock, events: Events, debt: () => Debt) {
    this.#clock = clock
    this.#events = events
    this.#debt = debt
  }

  get isActive(): boolean {
    return this.#beganMs !== undefined
  }

  /** Writes wait `waitMs`; undefined: they run freely again. */
  note(waitMs: number | undefined): void {
    if (waitMs !== undefined) {
      this.totalMs += waitMs
      if (this.#beganMs !== undefined) return
      this.#beganMs = this.#clock.monotonicMs()
      this.count++
      this.#events.emit({ type: 'stall.began', ...this.#debt() })
    } else if (this.#beganMs !== undefined) {
      const durationMs = this.#clock.monotonicMs() - this.#beganMs
      this.#beganMs = undefined
      this.#events.emit({ type: 'stall.ended', durationMs })
    }
  }
}
