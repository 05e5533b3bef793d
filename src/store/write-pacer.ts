import type { Clock } from '../env/env.js'

/** Shorter waits are saved up: a timer is not that exact. */
const WAIT_MS_MIN = 1
const WAIT_MS_MAX = 100
/** A wait that took longer than asked is made up for by as much at most: 250 KB at 125 MB/s. */
const CREDIT_MS_MAX = 2

export interface PaceHooks {
  /** At how many bytes a millisecond writes may go on; undefined: freely. */
  writeRate(): number | undefined
  /** Writes wait, or go on again. */
  onStall(waitedMs: number | undefined): void
}

/** How long writes wait while flushes and merges are behind. */
export class WritePacer {
  readonly #clock: Clock
  readonly #hooks: PaceHooks
  /** When what was committed would be through at the rate that debts allow; undefined: there is no debt. */
  #paidToMs: number | undefined

  constructor(clock: Clock, hooks: PaceHooks) {
    this.#clock = clock
    this.#hooks = hooks
  }

  /** So many bytes were committed. */
  note(bytes: number): void {
    const rate = this.#hooks.writeRate()
    if (rate !== undefined) {
      const earliestMs = this.#clock.monotonicMs() - CREDIT_MS_MAX
      this.#paidToMs = Math.max(this.#paidToMs ?? earliestMs, earliestMs) + bytes / rate
    } else if (this.#paidToMs !== undefined) {
      this.#paidToMs = undefined
      this.#hooks.onStall(undefined)
    }
  }

  /** How long the next write waits: the time that passed since the last ones is paid for already. */
  owedMs(): number {
    if (this.#paidToMs === undefined) return 0
    const owedMs = this.#paidToMs - this.#clock.monotonicMs()
    return owedMs < WAIT_MS_MIN ? 0 : Math.min(owedMs, WAIT_MS_MAX)
  }
}
