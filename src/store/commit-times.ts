import type { Clock } from '../env/env.js'
import type { Position } from '../key/position.js'

/** Commits closer together than this are not told apart. */
const GRAIN_MS = 10
const SAMPLES_MAX = 4096

/**
 * When positions were committed, roughly: to 10 milliseconds for the last minute or so, then the coarser the longer
 * ago. Bounded, so that the age of what a consumer has not read yet can be told without reading the log.
 */
export class CommitTimes {
  readonly #clock: Clock
  #positions: Position[] = []
  #times: number[] = []
  #lastPosition: Position
  #lastMs: number | undefined

  constructor(clock: Clock, lastPosition: Position) {
    this.#clock = clock
    this.#lastPosition = lastPosition
  }

  /** When the last commit was; undefined before the first one. */
  get lastMs(): number | undefined {
    return this.#lastMs
  }

  /** What is known of an earlier time: `position` was committed at `timeMs`. In order of position. */
  seed(position: Position, timeMs: number): void {
    this.#add(position, timeMs)
  }

  // Hot: once a group of commits.
  /** Everything after the last call, up to `position`, was committed now. */
  note(position: Position): void {
    const nowMs = this.#clock.wallMs()
    const first = this.#lastPosition + 1
    this.#lastPosition = position
    this.#lastMs = nowMs
    const last = this.#times[this.#times.length - 1]
    if (last === undefined || nowMs - last >= GRAIN_MS) this.#add(first, nowMs)
  }

  /** About when `position` was committed; undefined if nothing is known. */
  of(position: Position): number | undefined {
    let low = 0
    let high = this.#positions.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#positions[middle]! <= position) low = middle + 1
      else high = middle
    }
    return this.#times[Math.max(0, low - 1)]
  }

  #add(position: Position, timeMs: number): void {
    if (this.#positions.length === SAMPLES_MAX) this.#thin()
    this.#positions.push(position)
    this.#times.push(timeMs)
  }

  /** Every second one of the older half goes: what is long ago gets coarse, what is new stays exact. */
  #thin(): void {
    const isKept = (_: number, i: number) => i >= SAMPLES_MAX / 2 || i % 2 === 0
    this.#positions = this.#positions.filter(isKept)
    this.#times = this.#times.filter(isKept)
  }
}
