import type { Clock } from '../env/env.js'

/** Longer than this for one block, and the event loop would feel it. */
const SLOW_MS = 1
/** Slow reads in a row before reads go to another thread: one may be a mere hiccup. */
const SLOW_READS_MAX = 3
/** How long reads stay asynchronous before the synchronous way is tried again. */
const RETRY_MS = 200

/** Decides whether a read may block the thread: while recent ones came from the page cache, it may. */
export class ReadPacer {
  readonly #clock: Clock
  #slowReads = 0
  #retryAtMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isQuick(): boolean {
    return this.#slowReads < SLOW_READS_MAX || this.#clock.monotonicMs() >= this.#retryAtMs
  }

  /** Runs a synchronous read and takes its time. */
  time<T>(read: () => T): T {
    const startMs = this.#clock.monotonicMs()
    const result = read()
    const endMs = this.#clock.monotonicMs()
    if (endMs - startMs < SLOW_MS) {
      this.#slowReads = 0
    } else {
      this.#slowReads++
      this.#retryAtMs = endMs + RETRY_MS
    }
    return result
  }
}
