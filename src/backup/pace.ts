import type { Clock } from '../env/env.js'
import { VarveError } from '../errors.js'
import type { BackupPace } from './contract.js'

/** How long a wait lasts at most before it is looked whether to go on. */
const WAIT_MS = 50
/** What a quiet time lets one catch up at most. */
const BURST_MS = 100

/** How fast bytes are read and written, whether to go on at all, and who is told. */
export class Pace {
  readonly #clock: Clock
  readonly #options: BackupPace
  /** Throws once the work is pointless. */
  readonly #throwIfEnded: () => void
  #doneBytes = 0
  #totalBytes = 0
  /** When what was taken so far is paid for. */
  #paidMs = 0

  /** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
  constructor(clock: Clock, options: BackupPace, throwIfEnded: () => void = () => {}) {
    const { maxBytesPerSecond: rate } = options
    if (rate !== undefined && !(typeof rate === 'number' && rate >= 1))
      throw new VarveError('VARVE_INVALID_ARGUMENT', 'maxBytesPerSecond is a number from 1 on')
    this.#clock = clock
    this.#options = options
    this.#throwIfEnded = throwIfEnded
  }

  /** More is to come. */
  expect(bytes: number): void {
    this.#totalBytes += bytes
  }

  throwIfEnded(): void {
    this.#throwIfEnded()
    if (this.#options.signal?.aborted)
      throw new VarveError('VARVE_ABORTED', "ended by the caller's signal", {
        cause: this.#options.signal.reason,
      })
  }

  /** So many bytes were dealt with: waits until the next may be. */
  async took(bytes: number): Promise<void> {
    this.#doneBytes += bytes
    this.throwIfEnded()
    this.#options.onProgress?.(this.#doneBytes, this.#totalBytes)
    const { maxBytesPerSecond } = this.#options
    if (maxBytesPerSecond === undefined) return
    const nowMs = this.#clock.monotonicMs()
    this.#paidMs = Math.max(this.#paidMs, nowMs - BURST_MS) + (bytes * 1000) / maxBytesPerSecond
    for (;;) {
      const leftMs = this.#paidMs - this.#clock.monotonicMs()
      if (leftMs <= 0) return
      await this.#clock.sleep(Math.min(WAIT_MS, leftMs))
      this.throwIfEnded()
    }
  }
}
