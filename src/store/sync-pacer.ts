import type { Clock } from '../env/env.js'

/** An fdatasync that takes longer belongs on another thread, where it costs about 0.1 ms more. */
const QUICK_MS = 1
/** After a slow one the next so many go to the other thread. */
const PAUSE_SYNCS = 64

/** Decides whether the next fdatasync may block the thread: while those on it were quick, it may. */
export class SyncPacer {
  readonly #clock: Clock
  #pause = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isQuick(): boolean {
    if (this.#pause === 0) return true
    this.#pause--
    return false
  }

  time(sync: () => void): void {
    const startMs = this.#clock.monotonicMs()
    sync()
    if (this.#clock.monotonicMs() - startMs > QUICK_MS) this.#pause = PAUSE_SYNCS
  }
}
