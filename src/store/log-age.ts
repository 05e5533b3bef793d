import type { Clock } from '../env/env.js'
import { LOG_HEADER_BYTES, readFrameHeader } from '../log/log-format.js'
import type { Memtable } from '../memtable/memtable.js'

/** However short the limit is, the log file being written is completed for its age no more often than this. */
const ROLL_MS_MIN = 10_000

export interface LogAgeHooks {
  /** The memtable over the log file being written. */
  active(): Memtable
  /** Whether the store closes or has failed: no file is completed any more. */
  isStopped(): boolean
  /** Completes that file. */
  roll(): void
}

/** Where the log has an age limit, a file must not stay open, and with it in the log, because nothing is written. */
export class LogAge {
  readonly #clock: Clock
  readonly #maxAgeMs: number
  readonly #hooks: LogAgeHooks
  #cancel: (() => void) | undefined

  constructor(clock: Clock, maxAgeMs: number, hooks: LogAgeHooks) {
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
    this.#hooks = hooks
  }

  /** A log file begins. */
  restart(): void {
    this.#rollAfter(this.#maxAgeMs)
  }

  /** Idempotent. */
  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #rollAfter(delayMs: number): void {
    this.stop()
    if (this.#maxAgeMs === Number.POSITIVE_INFINITY) return
    this.#cancel = this.#clock.afterUnref(Math.max(delayMs, ROLL_MS_MIN), () => {
      this.#cancel = undefined
      if (this.#hooks.isStopped()) return
      const leftMs = this.#leftMs()
      if (leftMs > 0) this.#rollAfter(leftMs)
      else this.#hooks.roll()
    })
  }

  #leftMs(): number {
    const active = this.#hooks.active()
    if (active.isEmpty) return this.#maxAgeMs
    return firstChangeMs(active) + Math.max(this.#maxAgeMs, ROLL_MS_MIN) - this.#clock.wallMs()
  }
}

/** When the first change of a memtable that is not empty was committed. */
export function firstChangeMs(memtable: Memtable): number {
  return readFrameHeader(memtable.bytes, LOG_HEADER_BYTES).timestampMs
}
