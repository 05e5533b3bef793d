import { secondHash } from '../util/hash.js'

/** Segments that a filter of columns holds at once, each with a bit of every word. */
export const COLUMNS_MAX = 16
export const ALL_COLUMNS = 2 ** COLUMNS_MAX - 1
const WORD_BYTES = COLUMNS_MAX / 8
/** Bytes that are cleared in one step: a quarter of a millisecond where the memory is new. */
const STEP_BYTES = 2 ** 19

/**
 * The part of a segment in a filter over several: a bit of all words. A key sets that bit in two words, which its hash
 * tells. Plain data that crosses threads. Whoever has one to fill is the only one to write the memory, any bit of it:
 * others meanwhile read bits that nobody changes.
 */
export interface FilterColumn {
  /** Words of 16 bits, a power of two of them. */
  readonly memory: SharedArrayBuffer
  readonly bit: number
  /** Bits to be cleared in all words before one is set; all of them: the memory was never written. */
  readonly stale: number
}

/** The bytes of as many words as fit, but two at least. */
export function columnMemoryBytes(bytesMax: number): number {
  return 2 ** Math.max(1, Math.floor(Math.log2(bytesMax / WORD_BYTES))) * WORD_BYTES
}

// Hot: every point read that no memtable answers (bench/read.bench.js).
/** The bits of all columns that may hold a key, and of some that don't. */
export function columnsOf(words: Uint16Array, hash: number): number {
  const shift = shiftFor(words)
  return words[hash >>> shift]! & words[secondHash(hash) >>> shift]!
}

/**
 * Clears what is stale, with places where others may have their turn. Memory that was never written is written once
 * before anything is read of it: read first, its pages would be mapped twice.
 */
export function* clearStale({ memory, stale }: FilterColumn): Generator<void> {
  if (stale === 0) return
  const pairs = new Uint32Array(memory)
  const kept = ~(stale | (stale << COLUMNS_MAX))
  for (let from = 0; from < memory.byteLength; from += STEP_BYTES) {
    const end = Math.min(memory.byteLength, from + STEP_BYTES) / 4
    if (stale === ALL_COLUMNS) pairs.fill(0, from / 4, end)
    else for (let i = from / 4; i < end; i++) pairs[i]! &= kept
    yield
  }
}

// Hot: once for each key of a flush while level 0 is deep (bench/write.bench.js).
/** Adds the keys of `hashes` in [from, to). */
export function fillColumn(
  { memory, bit }: FilterColumn,
  hashes: Uint32Array,
  from: number,
  to: number,
): void {
  const words = new Uint16Array(memory)
  const shift = shiftFor(words)
  for (let i = from; i < to; i++) {
    const hash = hashes[i]!
    words[hash >>> shift]! |= bit
    words[secondHash(hash) >>> shift]! |= bit
  }
}

/** The high bits of a hash choose the word. */
function shiftFor(words: Uint16Array): number {
  return Math.clz32(words.length) + 1
}
