/**
 * Data blocks: entries by columns.
 *
 *   block  := basePosition | count | keyLength{count} | (valueLength * 2 + isPut){count}
 *             | (position - basePosition){count} | (key | value){count}                    (numbers are varints)
 *
 * A length that is not 0 without `isPut` is that of a put that expires: its value starts with a u48, when it does.
 *
 * Columns, because lengths that repeat compress to nothing and numbers between keys and values would keep LZ4 from
 * seeing that these repeat: 5 % smaller files on 16 + 100 byte entries than with a header before each entry.
 * Where the entries stand is worked out, and every number checked, once when a block is loaded; a hash index over
 * its keys is built when the first point lookup comes. Both cost less than reading them from the file would.
 */
import type { CacheItem } from '../cache/weighted-cache.js'
import { EXPIRY_BYTES, KIND_DEL, KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareRanges, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { Scratch } from '../util/scratch.js'

const WORD_MAX = 0xffff_ffff
/** Longest number: 2^53 in sevens of bits. */
export const VARINT_BYTES_MAX = 8

export function writeVarint(into: Bytes, at: number, value: number): number {
  let rest = value
  let offset = at
  while (rest >= 128) {
    into[offset++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  into[offset++] = rest
  return offset
}

/** Reads numbers one after another; `isSound` turns false for good when one is cut off or too large. */
class Varints {
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

/** The fields of one entry, filled anew by `Block.read`. */
export class EntryFields {
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0
  /** Whether the block is not in the cache: the next reader will not find it there. */
  isFleeting = false
}

/** Memory for one block at a time: each one that is read into it ends the one before. */
export class BlockScratch {
  /** For what is read of the file, where the block may stay as it is. */
  readonly file = new Scratch()
  readonly bytes = new Scratch()
  #words = new Uint32Array(0)

  words(count: number): Uint32Array {
    if (count > this.#words.length) this.#words = new Uint32Array(count * 2)
    return this.#words
  }
}

/** Words of an entry: where its key starts, twice where its key ends (and 1 if it is a put), its distance. */
const ENTRY_WORDS = 3
/** What the objects of a block take beside its memory. */
const OBJECT_BYTES = 400

/**
 * A block in memory: its bytes, and where each entry stands in them. What is kept for a while has all of it in one
 * piece of memory, so that a read meets as few cache lines as can be; it is an item of the cache by itself.
 */
export class Block implements CacheItem {
  readonly bytes: Bytes
  readonly count: number
  readonly #base: Position
  /**
   * `ENTRY_WORDS` for each entry, side by side: a read of one touches one cache line; then the end of the last; then
   * the slots of a hash index over the keys.
   */
  readonly #words: Words
  readonly #firstSlot: number
  readonly #slotMask: number
  #hasSlots = false
  /** It has no room for slots: it is looked into once or twice. */
  readonly isFleeting: boolean
  readonly weight: number
  isTouched = false
  slot = -1
  #owner: (Block | undefined)[] | undefined
  #number = 0

  private constructor(bytes: Bytes, base: Position, count: number, words: Words, isFleeting = false) {
    this.isFleeting = isFleeting
    this.bytes = bytes
    this.#base = base
    this.count = count
    this.#words = words
    this.#firstSlot = count * ENTRY_WORDS + 1
    this.#slotMask = slotCountOf(count) - 1
    this.weight = bytes.length + words.byteLength + OBJECT_BYTES
  }

  /**
   * Undefined if the bytes are not a sound block of at least one entry.
   * @param isCopied whether the block gets memory of its own; else it keeps `bytes`.
   * @param scratch where the words of a block go that lives until the next one; it is not copied.
   */
  static parse(bytes: Bytes, isCopied = false, scratch?: BlockScratch): Block | undefined {
    const numbers = new Varints(bytes)
    const base = numbers.next()
    const count = numbers.next()
    // Three numbers of at least one byte for each entry: what claims more must not make us allocate.
    if (!numbers.isSound || count === 0 || count * 3 > bytes.length || bytes.length > 2 ** 31 - 1)
      return undefined
    if (scratch) {
      const words = readWords(numbers, bytes, count, scratch.words(count * ENTRY_WORDS + 1))
      return words && new Block(bytes, base, count, words, true)
    }
    const wordCount = count * ENTRY_WORDS + 1 + 2 * slotCountOf(count)
    const memory = new ArrayBuffer(wordCount * 4 + (isCopied ? bytes.length : 0))
    const words = readWords(numbers, bytes, count, new Uint32Array(memory, 0, wordCount))
    if (!words) return undefined
    if (!isCopied) return new Block(bytes, base, count, words)
    const own = Buffer.from(memory, wordCount * 4)
    own.set(bytes)
    return new Block(own, base, count, words)
  }

  /** The cache keeps it: entry `number` of `owner` is cleared when it is dropped. */
  keepIn(owner: (Block | undefined)[], number: number): void {
    this.#owner = owner
    this.#number = number
    owner[number] = this
  }

  drop(): void {
    if (this.#owner) this.#owner[this.#number] = undefined
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  read(entry: number, fields: EntryFields): void {
    const words = this.#words
    const word = entry * ENTRY_WORDS
    const keyEnd = words[word + 1]!
    fields.keyStart = words[word]!
    fields.keyEnd = keyEnd >>> 1
    fields.position = this.#base + words[word + 2]!
    const valueEnd = words[word + ENTRY_WORDS]!
    fields.valueEnd = valueEnd
    if (keyEnd & 1) {
      fields.kind = KIND_PUT
      fields.valueStart = keyEnd >>> 1
    } else if (valueEnd > keyEnd >>> 1) {
      fields.kind = KIND_PUT
      fields.valueStart = (keyEnd >>> 1) + EXPIRY_BYTES
    } else {
      fields.kind = KIND_DEL
      fields.valueStart = valueEnd
    }
  }

  // Hot: every seek (bench/scan.bench.js).
  /** The first entry at or after `key`; `count` if none. */
  lowerBound(key: Bytes, keyStart: number, keyEnd: number): number {
    const words = this.#words
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      const word = middle * ENTRY_WORDS
      if (compareRanges(this.bytes, words[word]!, words[word + 1]! >>> 1, key, keyStart, keyEnd) < 0)
        low = middle + 1
      else high = middle
    }
    return low
  }

  // Hot: every point read of a segment (bench/read.bench.js).
  /** The first (newest) entry of the key; -1 if the block does not hold it. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    if (this.isFleeting) return this.#search(key, keyStart, keyEnd)
    if (!this.#hasSlots) this.#buildSlots()
    const words = this.#words
    const first = this.#firstSlot
    const mask = this.#slotMask
    const length = keyEnd - keyStart
    for (let slot = hash & mask; words[first + 2 * slot] !== 0; slot = (slot + 1) & mask) {
      const entry = words[first + 2 * slot]! - 1
      const start = words[first + 2 * slot + 1]!
      const end = words[entry * ENTRY_WORDS + 1]! >>> 1
      if (end - start === length && equalRange(this.bytes, start, key, keyStart, length)) return entry
    }
    return -1
  }

  #search(key: Bytes, keyStart: number, keyEnd: number): number {
    const entry = this.lowerBound(key, keyStart, keyEnd)
    if (entry === this.count) return -1
    const words = this.#words
    const start = words[entry * ENTRY_WORDS]!
    const end = words[entry * ENTRY_WORDS + 1]! >>> 1
    return compareRanges(this.bytes, start, end, key, keyStart, keyEnd) === 0 ? entry : -1
  }

  /**
   * Maps each key to its first entry + 1, by linear probing. Beside that stands where the key starts: so its line and
   * that of the entry's words are fetched together, not one after the other.
   */
  #buildSlots(): void {
    const { bytes } = this
    const words = this.#words
    const first = this.#firstSlot
    const mask = this.#slotMask
    let previousStart = 0
    let previousEnd = -1
    for (let entry = 0; entry < this.count; entry++) {
      const start = words[entry * ENTRY_WORDS]!
      const end = words[entry * ENTRY_WORDS + 1]! >>> 1
      const isSame =
        previousEnd >= 0 && compareRanges(bytes, start, end, bytes, previousStart, previousEnd) === 0
      previousStart = start
      previousEnd = end
      if (isSame) continue
      let slot = hashKey(bytes, start, end) & mask
      while (words[first + 2 * slot] !== 0) slot = (slot + 1) & mask
      words[first + 2 * slot] = entry + 1
      words[first + 2 * slot + 1] = start
    }
    this.#hasSlots = true
  }
}

/** Doubles only for segments that span four thousand million positions. */
type Words = Uint32Array | Float64Array

/** A power of two, so that two in three are used at most. */
function slotCountOf(count: number): number {
  let slots = 4
  while (slots < count * 1.5) slots *= 2
  return slots
}

/** Fills in the words of the entries, or larger ones where they do not fit; undefined if the block is not sound. */
function readWords(numbers: Varints, bytes: Bytes, count: number, small: Uint32Array): Words | undefined {
  const end = count * ENTRY_WORDS
  if (!readColumn(numbers, bytes, small, 1, end) || !readColumn(numbers, bytes, small, 0, end))
    return undefined
  const words = readDistances(numbers, bytes, small, end)
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
  return numbers.isSound && at === bytes.length ? words : undefined
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

function readDistances(numbers: Varints, bytes: Bytes, words: Uint32Array, end: number): Words {
  const start = numbers.at
  if (readColumn(numbers, bytes, words, 2, end)) return words
  numbers.at = start
  const large = Float64Array.from(words)
  for (let word = 2; word < end; word += ENTRY_WORDS) large[word] = numbers.next()
  return large
}
