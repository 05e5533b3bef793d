/** The numbers of a block: how they are written, and how all of them are read at once. */
import { EXPIRY_BYTES } from '../key/batch-format.js'
import type { Bytes } from '../util/bytes.js'

const WORD = 2 ** 32
const WORD_MAX = WORD - 1
/** Longest number: 2^53 in sevens of bits. */
export const VARINT_BYTES_MAX = 8

/** Words of an entry: where its key starts, twice where its key ends (and 1 if it is a put), its distance. */
export const ENTRY_WORDS = 3

// Hot: three times for each entry of a flush or merge (bench/write.bench.js).
export function writeVarint(into: Bytes, at: number, value: number): number {
  let rest = value
  let offset = at
  for (; rest > WORD_MAX; rest = Math.floor(rest / 128)) into[offset++] = (rest % 128) | 128
  // Whole numbers of 32 bits: a quarter of the time.
  let word = rest >>> 0
  for (; word >= 128; word >>>= 7) into[offset++] = (word & 127) | 128
  into[offset++] = word
  return offset
}

/** Reads numbers one after another; `isSound` turns false for good when one is cut off or too large. */
export class Varints {
  readonly #bytes: Bytes
  at = 0
  isSound = true

  constructor(bytes: Bytes) {
    this.#bytes = bytes
  }

  next(): number {
    const bytes = this.#bytes
    let byte = bytes[this.at++]
    if (byte !== undefined && byte < 128) return byte
    let value = 0
    let scale = 1
    for (let i = 0; i < VARINT_BYTES_MAX && byte !== undefined; i++) {
      value += (byte & 127) * scale
      if (byte < 128) return value
      scale *= 128
      byte = bytes[this.at++]
    }
    this.isSound = false
    return 0
  }
}

/** Words that `readEntryWords` fills in at most. */
export function entryWordsMax(count: number): number {
  return count * (ENTRY_WORDS + 1) + 1
}

/**
 * Reads the columns of `count` entries from `numbers`, which stands before them: `ENTRY_WORDS` for each entry, then the
 * end of the last one, then, where distances are wide, the high word of each. Undefined if the block is not sound.
 * @returns whether distances are wide: that of a segment that spans four thousand million positions.
 */
export function readEntryWords(
  numbers: Varints,
  bytes: Bytes,
  count: number,
  words: Uint32Array,
): boolean | undefined {
  const end = count * ENTRY_WORDS
  if (!readColumn(numbers, bytes, words, 1, end) || !readColumn(numbers, bytes, words, 0, end))
    return undefined
  const distancesAt = numbers.at
  const isWide = !readColumn(numbers, bytes, words, 2, end)
  if (isWide) {
    numbers.at = distancesAt
    readWideDistances(numbers, words, end)
  }
  let at = numbers.at
  for (let word = 0; word < end; word += ENTRY_WORDS) {
    const value = words[word]!
    const keyEnd = at + words[word + 1]!
    words[word] = at
    words[word + 1] = keyEnd * 2 + (value & 1)
    at = keyEnd + (value >>> 1)
    if (value > 0 && value < EXPIRY_BYTES * 2 && (value & 1) === 0) return undefined
    if (at > bytes.length) return undefined
  }
  words[end] = at
  return numbers.isSound && at === bytes.length ? isWide : undefined
}

// Hot: three times for every block that is loaded (bench/read.bench.js).
/** Reads a number for each entry, into word `column` of it; false if one is larger than a word. */
function readColumn(
  numbers: Varints,
  bytes: Bytes,
  words: Uint32Array,
  column: number,
  end: number,
): boolean {
  let { at } = numbers
  // One or two bytes, as nearly all are, by hand: the method takes three times as long.
  for (let word = column; word < end; word += ENTRY_WORDS) {
    const first = bytes[at]!
    if (first < 128) {
      words[word] = first
      at++
      continue
    }
    const second = bytes[at + 1]!
    if (second < 128) {
      words[word] = first + (second - 1) * 128
      at += 2
      continue
    }
    numbers.at = at
    const value = numbers.next()
    words[word] = value
    if (value > WORD_MAX) return false
    at = numbers.at
  }
  numbers.at = at
  return true
}

function readWideDistances(numbers: Varints, words: Uint32Array, end: number): void {
  let high = end + 1
  for (let word = 2; word < end; word += ENTRY_WORDS) {
    const distance = numbers.next()
    words[word] = distance >>> 0
    words[high++] = Math.floor(distance / WORD)
  }
}
