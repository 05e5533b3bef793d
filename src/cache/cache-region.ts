/** Records start at multiples of it: half a cache line, so that a header is in one. */
export const UNIT_BYTES = 32
export const UNIT_WORDS = UNIT_BYTES / 4

/**
 * One piece of the memory of a `BlockCache`, with records one after another.
 *
 * Readers look at records where they are. Who may still look when others have come borrows the region: memory that is
 * lent is never written over, but left to the collector once its records have gone.
 */
export class CacheRegion {
  readonly bytes: Buffer
  /** The same memory. */
  readonly words: Uint32Array
  readonly units: number
  /** Its place among the regions. */
  readonly slot: number
  /** For one record that is too large to stand beside others. */
  readonly isDedicated: boolean
  /** Units in use. */
  end = 0
  /** Records that were added, and those of them that are still asked for. */
  records = 0
  live = 0
  /** Whether records were dropped to make room in it. */
  isUsedAgain = false
  #loans = 0
  #lastBorrower: object | undefined

  constructor(units: number, slot: number, isDedicated: boolean) {
    this.bytes = Buffer.allocUnsafeSlow(units * UNIT_BYTES)
    this.words = new Uint32Array(this.bytes.buffer, 0, units * UNIT_WORDS)
    this.units = units
    this.slot = slot
    this.isDedicated = isDedicated
  }

  get isLent(): boolean {
    return this.#loans > 0
  }

  /** False if whoever borrowed it last does so again, which is not counted. */
  borrow(by: object): boolean {
    if (this.#lastBorrower === by) return false
    this.#lastBorrower = by
    this.#loans++
    return true
  }

  giveBack(): void {
    this.#loans--
    this.#lastBorrower = undefined
  }

  /** It has no records any more. */
  clear(): void {
    this.end = 0
    this.records = 0
    this.live = 0
    this.isUsedAgain = false
  }
}
