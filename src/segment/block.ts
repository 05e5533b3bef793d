/**
 * Entries of a data block.
 *
 *   block := basePosition:varint | entry*
 *   entry := keyLength:varint | valueLength * 2 + isPut:varint | position - basePosition:varint | key | value
 *
 * Nothing else: the places of the entries are found, and every length checked, once when a block is loaded, and
 * a hash index over its keys is built when the first point lookup comes; both cost less than reading them would.
 */
import { KIND_DEL, KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareRanges, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'

/** Longest header of an entry: three varints of at most 3, 5 and 8 bytes. */
export const ENTRY_HEADER_BYTES_MAX = 16

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

/** The fields of one entry, filled anew by `readEntry`. */
export class EntryFields {
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueEnd = 0
}

// Hot: every step of a scan (bench/scan.bench.js). The varints are read in place: most have one byte.
/** Reads the entry at `at`; false if it does not fit before `end`. */
export function readEntry(
  bytes: Bytes,
  at: number,
  end: number,
  base: Position,
  fields: EntryFields,
): boolean {
  let offset = at
  let byte = bytes[offset++]!
  let keyLength = byte & 127
  for (let scale = 128; byte >= 128 && offset < end && scale <= 2 ** 21; scale *= 128) {
    byte = bytes[offset++]!
    keyLength += (byte & 127) * scale
  }
  if (offset >= end) return false
  byte = bytes[offset++]!
  let value = byte & 127
  for (let scale = 128; byte >= 128 && offset < end && scale <= 2 ** 28; scale *= 128) {
    byte = bytes[offset++]!
    value += (byte & 127) * scale
  }
  if (offset >= end) return false
  byte = bytes[offset++]!
  let distance = byte & 127
  for (let scale = 128; byte >= 128 && offset < end && scale <= 2 ** 49; scale *= 128) {
    byte = bytes[offset++]!
    distance += (byte & 127) * scale
  }
  fields.keyStart = offset
  fields.keyEnd = offset + keyLength
  fields.kind = value & 1 ? KIND_PUT : KIND_DEL
  fields.valueEnd = fields.keyEnd + (value >>> 1)
  fields.position = base + distance
  return fields.valueEnd <= end
}

const scratch = new EntryFields()

/** A block as it is read: its bytes, and where each entry starts. */
export class Block {
  readonly bytes: Bytes
  readonly base: Position
  readonly count: number
  readonly #starts: Uint32Array
  #slots: Uint16Array | Uint32Array | undefined
  /** For the cache: used since it last looked. */
  isTouched = false

  private constructor(bytes: Bytes, base: Position, starts: Uint32Array) {
    this.bytes = bytes
    this.base = base
    this.#starts = starts
    this.count = starts.length
  }

  /** Undefined if the bytes are not a sound block. They are kept, not copied. */
  static parse(bytes: Bytes): Block | undefined {
    let base = 0
    let at = 0
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length || scale > 2 ** 49) return undefined
      const byte = bytes[at++]!
      base += (byte & 127) * scale
      if (byte < 128) break
    }
    const starts: number[] = []
    while (at < bytes.length) {
      starts.push(at)
      if (!readEntry(bytes, at, bytes.length, base, scratch)) return undefined
      at = scratch.valueEnd
    }
    return new Block(bytes, base, Uint32Array.from(starts))
  }

  /** Bytes of memory, the indexes included. */
  get weight(): number {
    return this.bytes.length + this.count * 8 + 256
  }

  read(entry: number, fields: EntryFields): void {
    readEntry(this.bytes, this.#starts[entry]!, this.bytes.length, this.base, fields)
  }

  /** The first entry at or after `key`; `count` if none. */
  lowerBound(key: Bytes, keyStart: number, keyEnd: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      this.read(middle, scratch)
      const order = compareRanges(this.bytes, scratch.keyStart, scratch.keyEnd, key, keyStart, keyEnd)
      if (order < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  // Hot: every point read of a segment (bench/read.bench.js).
  /** The first (newest) entry of the key; -1 if the block does not hold it. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    this.#slots ??= this.#buildSlots()
    const slots = this.#slots
    const mask = slots.length - 1
    for (let slot = hash & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1
      this.read(entry, scratch)
      if (scratch.keyEnd - scratch.keyStart !== keyEnd - keyStart) continue
      if (equalRange(this.bytes, scratch.keyStart, key, keyStart, keyEnd - keyStart)) return entry
    }
    return -1
  }

  /** Maps each key to its first entry + 1, by linear probing. */
  #buildSlots(): Uint16Array | Uint32Array {
    let size = 4
    while (size < this.count * 1.5) size *= 2
    const slots = this.count < 0xffff ? new Uint16Array(size) : new Uint32Array(size)
    let previousStart = -1
    let previousEnd = -1
    for (let entry = 0; entry < this.count; entry++) {
      this.read(entry, scratch)
      const { keyStart, keyEnd } = scratch
      const isSame =
        previousStart >= 0 &&
        compareRanges(this.bytes, keyStart, keyEnd, this.bytes, previousStart, previousEnd) === 0
      previousStart = keyStart
      previousEnd = keyEnd
      if (isSame) continue
      let slot = hashKey(this.bytes, keyStart, keyEnd) & (size - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (size - 1)
      slots[slot] = entry + 1
    }
    return slots
  }
}
