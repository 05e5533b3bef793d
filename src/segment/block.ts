/**
 * Data blocks: entries by columns.
 *
 *   block  := basePosition | count | keyLength{count} | (valueLength * 2 + isPut){count}
 *             | (position - basePosition){count} | (key | value){count}                    (numbers are varints)
 *
 * Columns, because lengths that repeat compress to nothing and numbers between keys and values would keep LZ4 from
 * seeing that these repeat: 5 % smaller files on 16 + 100 byte entries than with a header before each entry.
 * Where the entries stand is worked out, and every number checked, once when a block is loaded; a hash index over
 * its keys is built when the first point lookup comes. Both cost less than reading them from the file would.
 */
import { KIND_DEL, KIND_PUT } from '../key/batch-format.js'
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
  valueEnd = 0
}

/** A block in memory: its bytes, and where each entry stands in them. */
export class Block {
  readonly bytes: Bytes
  readonly count: number
  readonly #base: Position
  /** Where each key starts; one more for the end of the last value. */
  readonly #starts: Uint32Array
  /** Where each key ends; the complement for an entry that deletes. */
  readonly #keyEnds: Int32Array
  readonly #distances: Uint32Array | Float64Array
  #slots: Uint16Array | Uint32Array | undefined

  private constructor(
    bytes: Bytes,
    base: Position,
    starts: Uint32Array,
    keyEnds: Int32Array,
    distances: Uint32Array | Float64Array,
  ) {
    this.bytes = bytes
    this.#base = base
    this.#starts = starts
    this.#keyEnds = keyEnds
    this.#distances = distances
    this.count = keyEnds.length
  }

  /** Undefined if the bytes are not a sound block of at least one entry. They are kept, not copied. */
  static parse(bytes: Bytes): Block | undefined {
    const numbers = new Varints(bytes)
    const base = numbers.next()
    const count = numbers.next()
    // Three numbers of at least one byte for each entry: what claims more must not make us allocate.
    if (!numbers.isSound || count === 0 || count * 3 > bytes.length || bytes.length > 2 ** 31 - 1)
      return undefined
    const starts = new Uint32Array(count + 1)
    const keyEnds = new Int32Array(count)
    // In a double, where a length cut to 32 bits below still shows: then the sum does not fit the block.
    let dataBytes = 0
    for (let i = 0; i < count; i++) dataBytes += keyEnds[i] = numbers.next()
    for (let i = 0; i < count; i++) {
      const value = numbers.next()
      starts[i] = value
      dataBytes += Math.floor(value / 2)
    }
    if (dataBytes > bytes.length) return undefined
    const distances = readDistances(numbers, count)
    let at = numbers.at
    for (let i = 0; i < count; i++) {
      const value = starts[i]!
      const keyEnd = at + keyEnds[i]!
      starts[i] = at
      keyEnds[i] = value & 1 ? keyEnd : ~keyEnd
      at = keyEnd + (value >>> 1)
      if (at > bytes.length) return undefined
    }
    starts[count] = at
    if (!numbers.isSound || at !== bytes.length) return undefined
    return new Block(bytes, base, starts, keyEnds, distances)
  }

  /** Bytes of memory, the indexes included. */
  get weight(): number {
    return this.bytes.length + this.count * (8 + this.#distances.BYTES_PER_ELEMENT + 4) + 400
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  read(entry: number, fields: EntryFields): void {
    const keyEnd = this.#keyEnds[entry]!
    fields.keyStart = this.#starts[entry]!
    fields.valueEnd = this.#starts[entry + 1]!
    fields.position = this.#base + this.#distances[entry]!
    if (keyEnd >= 0) {
      fields.keyEnd = keyEnd
      fields.kind = KIND_PUT
    } else {
      fields.keyEnd = ~keyEnd
      fields.kind = KIND_DEL
    }
  }

  // Hot: every seek (bench/scan.bench.js).
  /** The first entry at or after `key`; `count` if none. */
  lowerBound(key: Bytes, keyStart: number, keyEnd: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      const end = this.#keyEnds[middle]!
      const start = this.#starts[middle]!
      if (compareRanges(this.bytes, start, end < 0 ? ~end : end, key, keyStart, keyEnd) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  // Hot: every point read of a segment (bench/read.bench.js).
  /** The first (newest) entry of the key; -1 if the block does not hold it. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    const slots = this.#slots ?? this.#buildSlots()
    const mask = slots.length - 1
    const length = keyEnd - keyStart
    for (let slot = hash & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1
      const end = this.#keyEnds[entry]!
      const start = this.#starts[entry]!
      if ((end < 0 ? ~end : end) - start === length && equalRange(this.bytes, start, key, keyStart, length))
        return entry
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
      const start = this.#starts[entry]!
      const end = this.#keyEnds[entry]! < 0 ? ~this.#keyEnds[entry]! : this.#keyEnds[entry]!
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
function readDistances(numbers: Varints, count: number): Uint32Array | Float64Array {
  const small = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    const distance = numbers.next()
    if (distance <= 0xffff_ffff) {
      small[i] = distance
      continue
    }
    const large = Float64Array.from(small)
    large[i] = distance
    for (let j = i + 1; j < count; j++) large[j] = numbers.next()
    return large
  }
  return small
}
