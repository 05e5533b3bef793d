/** A power of two. Blocks of a store that are more than this times ten are nearly never taken for two that came again. */
const PLACES = 1024
const HASH_FACTOR = 0x9e3779b1

/**
 * What a full cache was asked for lately and did not have: only what comes again is worth the place of something else.
 * Reads all over a store that is larger than its memory would else load, keep and drop whole blocks for one row each.
 * The queue of ghosts of 2Q (Johnson & Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
 * Algorithm", 1994), as a table where a newcomer takes the place of whatever is in it.
 */
export class RecentlyMissed {
  readonly #places = new Float64Array(PLACES)

  /** Whether it came before, lately; it is noted in any case. @param id a whole number above 0. */
  note(id: number): boolean {
    const place = Math.imul(id | 0, HASH_FACTOR) >>> (32 - Math.log2(PLACES))
    if (this.#places[place] === id) return true
    this.#places[place] = id
    return false
  }
}
