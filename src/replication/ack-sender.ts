import type { Clock } from '../env/env.js'
import type { Position } from '../key/position.js'

/** Between two reports: what comes meanwhile shares the next one. */
const PAUSE_MS = 5

/** Tells the leader how far the follower is: at once when it was quiet, else now and then. One report at a time. */
export class AckSender {
  readonly #clock: Clock
  readonly #send: (position: Position) => Promise<void>
  #position: Position = 0
  #sentPosition: Position = 0
  #isBusy = false
  #isStopped = false
  #cancel: (() => void) | undefined

  constructor(clock: Clock, send: (position: Position) => Promise<void>) {
    this.#clock = clock
    this.#send = send
  }

  note(position: Position): void {
    this.#position = position
    if (!this.#isBusy) void this.#report()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel?.()
  }

  /** Never rejects: a report that does not arrive is followed by another one, or by the end of the stream. */
  async #report(): Promise<void> {
    if (this.#position === this.#sentPosition || this.#isStopped) return
    this.#isBusy = true
    const position = this.#position
    await this.#send(position).catch(() => {})
    this.#sentPosition = position
    if (this.#isStopped) return
    this.#cancel = this.#clock.afterUnref(PAUSE_MS, () => {
      this.#isBusy = false
      void this.#report()
    })
  }
}
