import { OP_HEADER_BYTES, opKeyLength } from '../key/batch-format.js'
import { type Bytes, compareRanges, readWord } from '../util/bytes.js'
import { letGo } from '../util/let-go.js'

/** Below this many a comparison sort by insertion wins. */
const INSERTION_MAX = 12
/** Deeper than this keys are alike in long stretches between their differences: comparing whole keys wins. */
const DEPTH_MAX = 24
const WORD_BYTES = 4
const BYTE_VALUES = 256

/**
 * Sorts the entries [from, to) by key and, for one key, newest (highest index) first. `offsets` gives for each
 * entry where its operation stands in `bytes`.
 *
 * A radix sort: the next four bytes of the keys, as words, go through it last byte first, in memory of their own;
 * ties go four bytes deeper. About 50 ns an entry on random keys.
 * Source: the idea of MSD radix sort with large digits (McIlroy, Bostic, McIlroy, "Engineering Radix Sort", 1993).
 */
export function sortEntries(bytes: Bytes, offsets: Uint32Array, from: number, to: number): Uint32Array {
  const count = to - from
  const order = new Uint32Array(count)
  for (let i = 0; i < count; i++) order[i] = from + i
  const spare = [new Uint32Array(count), new Uint32Array(count), new Uint32Array(count)] as const
  const [words, otherOrder, otherWords] = spare
  const counts = new Uint32Array(WORD_BYTES * BYTE_VALUES)
  sortPart({ bytes, offsets, order, words, otherOrder, otherWords, counts }, 0, count, 0, 0)
  for (const array of spare) letGo(array)
  return order
}

interface Sorting {
  readonly bytes: Bytes
  readonly offsets: Uint32Array
  readonly order: Uint32Array
  /** Of each entry in `order`, while its part is sorted. */
  readonly words: Uint32Array
  /** Where each step of the radix sort puts both. */
  readonly otherOrder: Uint32Array
  readonly otherWords: Uint32Array
  /** Of each value of each byte of the words. */
  readonly counts: Uint32Array
}

/** Order of two entries by key, newest first. */
export function compareEntries(bytes: Bytes, offsets: Uint32Array, a: number, b: number): number {
  const aStart = offsets[a]! + OP_HEADER_BYTES
  const bStart = offsets[b]! + OP_HEADER_BYTES
  const aEnd = aStart + opKeyLength(bytes, offsets[a]!)
  const bEnd = bStart + opKeyLength(bytes, offsets[b]!)
  return compareRanges(bytes, aStart, aEnd, bytes, bStart, bEnd) || b - a
}

/** Sorts order[start, end), whose keys agree in their first `skip` bytes (or are shorter). */
function sortPart(sorting: Sorting, start: number, end: number, skip: number, depth: number): void {
  const { bytes, offsets, order } = sorting
  if (end - start <= INSERTION_MAX) {
    insertionSort(sorting, start, end)
    return
  }
  const shared = sharedPrefix(sorting, start, end, skip)
  if (depth > DEPTH_MAX || !readWords(sorting, start, end, skip, shared)) {
    order.subarray(start, end).sort((a, b) => compareEntries(bytes, offsets, a, b))
    return
  }
  sortWords(sorting, start, end)
  const { words } = sorting
  // A part within this one overwrites its own words alone, which are not looked at any more.
  for (let groupStart = start; groupStart < end; ) {
    const word = words[groupStart]!
    let groupEnd = groupStart + 1
    while (groupEnd < end && words[groupEnd] === word) groupEnd++
    if (groupEnd - groupStart > 1) sortPart(sorting, groupStart, groupEnd, shared + WORD_BYTES, depth + 1)
    groupStart = groupEnd
  }
}

/**
 * The words of the part's keys from byte `from`, zeros for what is beyond an end, and how often each byte occurs. False
 * where a key ends at or before `skip`, so that words padded with zeros could not tell keys apart.
 */
function readWords(sorting: Sorting, start: number, end: number, skip: number, from: number): boolean {
  const { bytes, offsets, order, words, counts } = sorting
  counts.fill(0)
  for (let i = start; i < end; i++) {
    const offset = offsets[order[i]!]!
    const key = offset + OP_HEADER_BYTES
    const length = opKeyLength(bytes, offset)
    if (length <= skip) return false
    const word = readWord(bytes, key + from, key + length)
    words[i] = word
    counts[word & 255]!++
    counts[BYTE_VALUES + ((word >>> 8) & 255)]!++
    counts[2 * BYTE_VALUES + ((word >>> 16) & 255)]!++
    counts[3 * BYTE_VALUES + (word >>> 24)]!++
  }
  return true
}

// Hot: four steps for each entry of a flush (bench/write.bench.js).
/** Sorts `words`, and `order` with it, by one byte after the other. */
function sortWords(sorting: Sorting, start: number, end: number): void {
  const { counts } = sorting
  let { order, words, otherOrder, otherWords } = sorting
  for (let byte = 0; byte < WORD_BYTES; byte++) {
    const shift = 8 * byte
    const first = BYTE_VALUES * byte
    // All alike: they stand in order already.
    if (counts[first + ((words[start]! >>> shift) & 255)] === end - start) continue
    let at = start
    for (let value = first; value < first + BYTE_VALUES; value++) {
      const count = counts[value]!
      counts[value] = at
      at += count
    }
    for (let i = start; i < end; i++) {
      const word = words[i]!
      const place = counts[first + ((word >>> shift) & 255)]!++
      otherWords[place] = word
      otherOrder[place] = order[i]!
    }
    ;[order, otherOrder] = [otherOrder, order]
    ;[words, otherWords] = [otherWords, words]
  }
  if (order === sorting.order) return
  sorting.order.set(order.subarray(start, end), start)
  sorting.words.set(words.subarray(start, end), start)
}

/** How many bytes all keys of the part share, at least `skip`, as far as they are longer than that. */
function sharedPrefix(sorting: Sorting, start: number, end: number, skip: number): number {
  const { bytes, offsets, order } = sorting
  const first = offsets[order[start]!]!
  const firstKey = first + OP_HEADER_BYTES
  let shared = Math.max(skip, opKeyLength(bytes, first))
  for (let i = start + 1; i < end && shared > skip; i++) {
    const offset = offsets[order[i]!]!
    const key = offset + OP_HEADER_BYTES
    shared = Math.max(skip, Math.min(shared, opKeyLength(bytes, offset)))
    let at = skip
    while (at < shared && bytes[firstKey + at] === bytes[key + at]) at++
    shared = at
  }
  return shared
}

function insertionSort(sorting: Sorting, start: number, end: number): void {
  const { bytes, offsets, order } = sorting
  for (let i = start + 1; i < end; i++) {
    const moving = order[i]!
    let at = i
    while (at > start && compareEntries(bytes, offsets, order[at - 1]!, moving) > 0) {
      order[at] = order[at - 1]!
      at--
    }
    order[at] = moving
  }
}
