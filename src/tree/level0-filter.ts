import {
  ALL_COLUMNS,
  COLUMNS_MAX,
  columnMemoryBytes,
  columnsOf,
  type FilterColumn,
} from '../segment/filter-column.js'
import { assert } from '../util/assert.js'

/** Of the store's memory: two bits for each key of sixteen memtables of small entries set one bit in seven of it. */
const MEMORY_SHARE = 1 / 64
/** From so many segments on: merges that keep up leave fewer. */
const SEGMENTS_MIN = 3
/** Memtables that are larger than those of a gibibyte of memory are rare. */
const BYTES_MAX = 2 ** 24
/** What segments have that it does not hold: no answer about them is ever no. */
const UNKNOWN_BIT = 2 ** COLUMNS_MAX

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
 * Each column is filled by the flush that writes its segment, on the thread that it runs on, which is the only one to
 * write words; this one tells which columns are to be believed. Segments that were there when the store was opened are
 * not in it.
 */
export class Level0Filter {
  readonly #sizeBytes: number
  readonly #segments = new Map<number, FilteredSegment>()
  /** There while a column is held or filled. */
  #memory: SharedArrayBuffer | undefined
  /** Not before a column is held: memory is not read until it was written. */
  #words: Uint16Array | undefined
  /** Bits of segments that it holds. */
  #held = 0
  /** Bits that words may have by segments that left, flushes that failed, or memory that was never written. */
  #stale = 0
  #filling: FilterColumn | undefined

  /** @param memory bytes of the budget that it is a part of. */
  constructor(memory: number) {
    this.#sizeBytes = columnMemoryBytes(Math.min(BYTES_MAX, memory * MEMORY_SHARE))
  }

  /** Bytes of memory that it takes now. */
  get sizeBytes(): number {
    return this.#memory?.byteLength ?? 0
  }

  // Hot: every point read that no memtable answers (bench/read.bench.js).
  /** The bits of all segments that may hold a key, and of some that don't. */
  candidates(hash: number): number {
    const words = this.#words
    return words === undefined ? UNKNOWN_BIT : columnsOf(words, hash) | UNKNOWN_BIT
  }

  /**
   * A column to be filled by the next flush; undefined if there is none left. One is filled at a time: the one before
   * is given up where nobody said what became of it, as its thread died.
   * @param depth how many segments level 0 has with the one that is written.
   */
  begin(depth: number): FilterColumn | undefined {
    this.abandon()
    if (depth < SEGMENTS_MIN) return undefined
    const free = ALL_COLUMNS & ~this.#held
    if (free === 0) return undefined
    if (!this.#memory) {
      this.#memory = new SharedArrayBuffer(this.#sizeBytes)
      this.#stale = ALL_COLUMNS
    }
    const clean = free & ~this.#stale
    // All that is stale is cleared at once, which costs as much as one column.
    const stale = clean === 0 ? this.#stale : 0
    const bits = clean === 0 ? free : clean
    this.#filling = { memory: this.#memory, bit: bits & -bits, stale }
    return this.#filling
  }

  /** The column that was begun has every key of this segment: it is held, and retained. Nothing if none was begun. */
  hold(segment: number): void {
    const column = this.#filling
    if (!column) return
    assert(!this.#segments.has(segment), 'a segment is filled once')
    this.#filling = undefined
    this.#words ??= new Uint16Array(column.memory)
    this.#stale &= ~column.stale
    this.#held |= column.bit
    this.#segments.set(segment, { bit: column.bit, uses: 1 })
  }

  /** Whatever was filled of the column that was begun stands for nothing. Its flush must have ended. */
  abandon(): void {
    if (!this.#filling) return
    this.#stale |= this.#filling.bit
    this.#filling = undefined
    this.#dropIfEmpty()
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
    this.#held &= ~filtered.bit
    this.#stale |= filtered.bit
    this.#dropIfEmpty()
  }

  #dropIfEmpty(): void {
    if (this.#held !== 0 || this.#filling) return
    this.#memory = undefined
    this.#words = undefined
    this.#stale = 0
  }
}
