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
import { EXPIRY_BYTES, KIND_DEL, KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareRanges, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'

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
}

/** Words of an entry: where its key starts, twice where its key ends (and 1 if it is a put), its distance. */
const ENTRY_WORDS = 3

/** A block in memory: its bytes, and where each entry stands in them. */
export class Block {
  readonly bytes: Bytes
  readonly count: number
  readonly #base: Position
  /** `ENTRY_WORDS` for each entry, side by side: a read of one touches one cache line; then the end of the last. */
  readonly #entries: Uint32Array | Float64Array
  #slots: Uint16Array | Uint32Array | undefined

  private constructor(bytes: Bytes, base: Position, count: number, entries: Uint32Array | Float64Array) {
    this.bytes = bytes
    this.#base = base
    this.count = count
    this.#entries = entries
  }

  /** Undefined if the bytes are not a sound block of at least one entry. They are kept, not copied. */
  static parse(bytes: Bytes): Block | undefined {
    const numbers = new Varints(bytes)
    const base = numbers.next()
    const count = numbers.next()
    // Three numbers of at least one byte for each entry: what claims more must not make us allocate.
    if (!numbers.isSound || count === 0 || count * 3 > bytes.length || bytes.length > 2 ** 31 - 1)
      return undefined
    const words = count * ENTRY_WORDS
    const small = new Uint32Array(words + 1)
    // In a double, where a length cut to 32 bits below still shows: then the sum does not fit the block.
    let dataBytes = 0
    for (let word = 1; word < words; word += ENTRY_WORDS) dataBytes += small[word] = numbers.next()
    for (let word = 0; word < words; word += ENTRY_WORDS) {
      const value = numbers.next()
      small[word] = value
      dataBytes += Math.floor(value / 2)
    }
    if (dataBytes > bytes.length) return undefined
    const entries = readDistances(numbers, small)
    let at = numbers.at
    for (let word = 0; word < words; word += ENTRY_WORDS) {
      const value = entries[word]!
      const keyEnd = at + entries[word + 1]!
      entries[word] = at
      entries[word + 1] = keyEnd * 2 + (value & 1)
      at = keyEnd + (value >>> 1)
      if (value > 0 && value < EXPIRY_BYTES * 2 && (value & 1) === 0) return undefined
      if (at > bytes.length) return undefined
    }
    entries[words] = at
    if (!numbers.isSound || at !== bytes.length) return undefined
    return new Block(bytes, base, count, entries)
  }

  /** Bytes of memory, the indexes included. */
  get weight(): number {
    return this.bytes.length + this.#entries.byteLength + this.count * 4 + 400
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  read(entry: number, fields: EntryFields): void {
    const entries = this.#entries
    const word = entry * ENTRY_WORDS
    const keyEnd = entries[word + 1]!
    fields.keyStart = entries[word]!
    fields.keyEnd = keyEnd >>> 1
    fields.position = this.#base + entries[word + 2]!
    const valueEnd = entries[word + ENTRY_WORDS]!
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
    const entries = this.#entries
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      const word = middle * ENTRY_WORDS
      if (compareRanges(this.bytes, entries[word]!, entries[word + 1]! >>> 1, key, keyStart, keyEnd) < 0)
        low = middle + 1
      else high = middle
    }
    return low
  }

  // Hot: every point read of a segment (bench/read.bench.js).
  /** The first (newest) entry of the key; -1 if the block does not hold it. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    const slots = this.#slots ?? this.#buildSlots()
    const entries = this.#entries
    const mask = slots.length - 1
    const length = keyEnd - keyStart
    for (let slot = hash & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1
      const start = entries[entry * ENTRY_WORDS]!
      const end = entries[entry * ENTRY_WORDS + 1]! >>> 1
      if (end - start === length && equalRange(this.bytes, start, key, keyStart, length)) return entry
    }
    return -1
  }

  /** Maps each key to its first entry + 1, by linear probing. */
  #buildSlots(): Uint16Array | Uint32Array {
    let size = 4
    while (size < this.count * 1.5) size *= 2
    const slots = this.count < 0xffff ? new Uint16Array(size) : new Uint32Array(size)
    let previousStart = 0
    let previousEnd = -1
    for (let entry = 0; entry < this.count; entry++) {
      const start = this.#entries[entry * ENTRY_WORDS]!
      const end = this.#entries[entry * ENTRY_WORDS + 1]! >>> 1
      const isSame =
        previousEnd >= 0 &&
        compareRanges(this.bytes, start, end, this.bytes, previousStart, previousEnd) === 0
      previousStart = start
      previousEnd = end
      if (isSame) continue
      let slot = hashKey(this.bytes, start, end) & (size - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (size - 1)
      slots[slot] = entry + 1
    }
    this.#slots = slots
    return slots
  }
}

/** In 32 bits where they fit, which is always but for segments that span four thousand million positions. */
function readDistances(numbers: Varints, entries: Uint32Array): Uint32Array | Float64Array {
  for (let word = 2; word < entries.length; word += ENTRY_WORDS) {
    const distance = numbers.next()
    if (distance <= 0xffff_ffff) {
      entries[word] = distance
      continue
    }
    const large = Float64Array.from(entries)
    large[word] = distance
    for (let next = word + ENTRY_WORDS; next < large.length; next += ENTRY_WORDS) large[next] = numbers.next()
    return large
  }
  return entries
}
