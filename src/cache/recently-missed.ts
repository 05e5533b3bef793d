/** Of a store's memory, for each place: places for a sixteenth of the blocks that would fit into it. */
const BYTES_A_PLACE = 64 * 1024
const PLACES_MIN = 16
/** Half a MiB of them, whatever memory a store is told to use. */
const PLACES_MAX = 65_536
const HASH_FACTOR = 0x9e3779b1

/**
 * What a full cache was asked for lately and did not have: only what comes again is worth the place of something else.
 * Reads all over a store that is larger than its memory would else load, keep and drop whole blocks for one row each.
 * The queue of ghosts of 2Q (Johnson & Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", 1994), as a table where a newcomer takes the place of whatever is in it.
 */
export class RecentlyMissed {
  readonly #places: Float64Array
  readonly #shift: number

  /** @param memory bytes of the budget that the cache is a part of. */
  constructor(memory: number) {
    const places = Math.min(PLACES_MAX, Math.max(PLACES_MIN, memory / BYTES_A_PLACE))
    const bits = Math.ceil(Math.log2(places))
    this.#places = new Float64Array(2 ** bits)
    this.#shift = 32 - bits
  }

  /** Whether it came before, lately; it is noted in any case. @param id a whole number above 0. */
  note(id: number): boolean {
    const place = Math.imul(id | 0, HASH_FACTOR) >>> this.#shift
    if (this.#places[place] === id) return true
    this.#places[place] = id
    return false
  }
}
