import type { Clock } from '../env/env.js'
import { secondHash } from '../util/hash.js'

/** Of the store's memory: two bits for each key of sixteen memtables of small entries set one bit in seven of it. */
const MEMORY_SHARE = 1 / 64
/** Memtables that are larger than those of a gibibyte of memory are rare. */
const BYTES_MAX = 2 ** 24
/** Segments that it holds at once, each with a bit of every word. */
const SEGMENTS_MAX = 16
const ALL_BITS = 2 ** SEGMENTS_MAX - 1
/** What segments have that it does not hold: no answer about them is ever no. */
const UNKNOWN_BIT = 2 ** SEGMENTS_MAX
const WORD_BYTES = 2
const WORDS_PER_TURN = 2 ** 18

interface FilteredSegment {
  readonly bit: number
  uses: number
}

/**
 * Tells in two cache lines which segments of level 0 may hold a key, where the filter of each takes four: level 0 is
 * deep after a large load, and nearly all of its segments hold nothing of a key. Segments are bits, keys are words: a
 * key sets the bit of its segment in two words, which its hash tells. One no in fifteen is a yes here, which the
 * segment's own filter corrects.
 * Source: bit-sliced signatures, as in Goodwin et al., "BitFunnel: Revisiting Signatures for Search", 2017.
 *
 * Filled from memtables that are flushed. Segments that were there when the store was opened are not in it.
 */
export class Level0Filter {
  readonly #bits: number
  readonly #segments = new Map<number, FilteredSegment>()
  /** There while any segment is in it. */
  #words: Uint16Array | undefined
  #taken = 0
  /** Bits of segments that left: still set in words. */
  #stale = 0

  /** @param memory bytes of the budget that it is a part of. */
  constructor(memory: number) {
    const words = Math.min(BYTES_MAX, memory * MEMORY_SHARE) / WORD_BYTES
    this.#bits = Math.max(1, Math.floor(Math.log2(words)))
  }

  /** Bytes of memory that it takes now. */
  get sizeBytes(): number {
    return this.#words?.byteLength ?? 0
  }

  // Hot: every point read that no memtable answers (bench/read.bench.js).
  /** The bits of all segments that may hold a key, and of some that don't. */
  candidates(hash: number): number {
    const words = this.#words
    if (words === undefined) return UNKNOWN_BIT
    const shift = 32 - this.#bits
    return (words[hash >>> shift]! & words[secondHash(hash) >>> shift]!) | UNKNOWN_BIT
  }

  /**
   * Begins to hold a segment, whose keys are added next, and retains it; 0 if there is no bit left for it.
   * Never runs twice at once: flushes are installed one after another.
   */
  async begin(segment: number, clock: Clock): Promise<number> {
    if (this.#taken === ALL_BITS) return 0
    if ((this.#taken | this.#stale) === ALL_BITS) await this.#clearStale(clock)
    const free = ALL_BITS & ~(this.#taken | this.#stale)
    const bit = free & -free
    this.#words ??= await this.#newWords(clock)
    this.#taken |= bit
    this.#segments.set(segment, { bit, uses: 1 })
    return bit
  }

  // Hot: every entry that is flushed while level 0 is deep.
  add(bit: number, hash: number): void {
    const words = this.#words!
    const shift = 32 - this.#bits
    words[hash >>> shift]! |= bit
    words[secondHash(hash) >>> shift]! |= bit
  }

  /** The bit that stands for a segment in `candidates`, for good until it is released. */
  retain(segment: number): number {
    const filtered = this.#segments.get(segment)
    if (!filtered) return UNKNOWN_BIT
    filtered.uses++
    return filtered.bit
  }

  release(segment: number): void {
    const filtered = this.#segments.get(segment)
    if (!filtered || --filtered.uses > 0) return
    this.#segments.delete(segment)
    this.#taken &= ~filtered.bit
    this.#stale |= filtered.bit
    if (this.#taken !== 0) return
    this.#words = undefined
    this.#stale = 0
  }

  /** Written once before anything is read of it, see `RowCache`. */
  async #newWords(clock: Clock): Promise<Uint16Array> {
    const words = new Uint16Array(2 ** this.#bits)
    for (let from = 0; from < words.length; from += WORDS_PER_TURN) {
      words.fill(0, from, from + WORDS_PER_TURN)
      await clock.sleep(0)
    }
    return words
  }

  async #clearStale(clock: Clock): Promise<void> {
    const words = this.#words!
    const stale = this.#stale
    for (let from = 0; from < words.length; from += WORDS_PER_TURN) {
      const to = Math.min(words.length, from + WORDS_PER_TURN)
      for (let i = from; i < to; i++) words[i]! &= ~stale
      await clock.sleep(0)
    }
    // What left meanwhile waits for the next time.
    this.#stale &= ~stale
  }
}
