import { BufferCutter } from '../util/buffer-cutter.js'
import { type Bytes, COPY_LOOP_MAX, copyBytes, equalRange } from '../util/bytes.js'

/** Larger rows gain little: finding them costs less than copying them. */
const ROW_BYTES_MAX = 2048
/** row := hash:u32 | valueLength:u32 | keyLength:u16 positionHigh:u16 | positionLow:u32 | key | value, padded to 8 */
const ROW_HEADER_BYTES = 16
const ALIGNMENT = 8
/** A bucket is half a cache line: four times hash and row + 1 (0: free), in units of 8 bytes. */
const BUCKET_SLOTS = 4
const BUCKET_WORDS = BUCKET_SLOTS * 2
/** What a row takes when there is one for each slot: about half of them are used. */
const ROW_BYTES_TYPICAL = 80
const POSITION_HIGH = 2 ** 32
/** A row has 48 bits for its position. */
const POSITION_END = 2 ** 48

/** Where a row stands: what `RowCache.find` fills in. */
export interface RowPlace {
  bytes: Bytes
  valueStart: number
  valueEnd: number
  position: number
}

/**
 * The newest values of keys that were read from segments lately, row by row: a point read of one of them costs two
 * cache lines where a block costs ten, and a store larger than its memory keeps rows that are read and not their
 * neighbours too. First in, first out, in one ring of memory that is taken when the first row comes.
 *
 * A row is good until a newer version of its key reaches the segments: whoever flushes forgets those keys before.
 * What is found is borrowed until the next `add`.
 */
export class RowCache {
  readonly #capacity: number
  readonly #bucketMask: number
  readonly #cutter = new BufferCutter()
  #ring: Buffer = Buffer.alloc(0)
  #words: Uint32Array = new Uint32Array(0)
  #slots: Uint32Array = new Uint32Array(0)
  /** Rows stand from `tail` to `head`; once around, from `tail` to `end` and from 0 to `head`. */
  #head = 0
  #tail = 0
  #end = 0
  #isWrapped = false
  #count = 0

  /** @param capacity bytes of the ring; below a few rows nothing is kept. */
  constructor(capacity: number) {
    this.#capacity = capacity < ROW_BYTES_MAX * 4 ? 0 : capacity - (capacity % ALIGNMENT)
    let buckets = 16
    while (buckets * BUCKET_SLOTS * ROW_BYTES_TYPICAL < this.#capacity) buckets *= 2
    this.#bucketMask = buckets - 1
  }

  /** Rows in the ring. */
  get count(): number {
    return this.#count
  }

  /** Bytes of memory that it takes once it holds a row, and may be counted on to take. */
  get sizeBytes(): number {
    return this.#capacity === 0 ? 0 : this.#capacity + (this.#bucketMask + 1) * BUCKET_WORDS * 4
  }

  // Hot: every point read that no memtable answers (bench/read.bench.js).
  /** Fills `place` with the row of the key if it is here and not above `atMost`. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number, atMost: number, place: RowPlace): boolean {
    const slots = this.#slots
    if (slots.length === 0) return false
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2) {
      const row = slots[slot + 1]!
      if (slots[slot] !== hash || row === 0) continue
      const at = (row - 1) * ALIGNMENT
      const word = at >>> 2
      const lengthAndHigh = this.#words[word + 2]!
      const keyLength = lengthAndHigh & 0xffff
      const keyAt = at + ROW_HEADER_BYTES
      if (keyLength !== keyEnd - keyStart || !equalRange(this.#ring, keyAt, key, keyStart, keyLength))
        continue
      const position = (lengthAndHigh >>> 16) * POSITION_HIGH + this.#words[word + 3]!
      if (position > atMost) return false
      place.bytes = this.#ring
      place.valueStart = keyAt + keyLength
      place.valueEnd = keyAt + keyLength + this.#words[word + 1]!
      place.position = position
      return true
    }
    return false
  }

  /**
   * Keeps a row that was found in a segment, and sets `place` to where it stands now: it is hot there, and readers go
   * on with the memory that the rows before were read from. `key` is never in the ring.
   */
  add(key: Bytes, keyStart: number, keyEnd: number, hash: number, place: RowPlace): void {
    const { valueStart, valueEnd, position } = place
    const keyLength = keyEnd - keyStart
    const valueLength = valueEnd - valueStart
    const size = alignedSize(keyLength, valueLength)
    if (size > ROW_BYTES_MAX || this.#capacity === 0 || position >= POSITION_END) return
    if (this.#ring.length === 0) this.#allocate()
    const at = this.#reserve(size)
    const word = at >>> 2
    this.#words[word] = hash
    this.#words[word + 1] = valueLength
    this.#words[word + 2] = keyLength | (Math.floor(position / POSITION_HIGH) << 16)
    this.#words[word + 3] = position >>> 0
    const valueAt = at + ROW_HEADER_BYTES + keyLength
    copyBytes(key, keyStart, keyEnd, this.#ring, at + ROW_HEADER_BYTES)
    if (valueLength <= COPY_LOOP_MAX) copyBytes(place.bytes, valueStart, valueEnd, this.#ring, valueAt)
    else this.#ring.set(this.#cutter.view(place.bytes, valueStart, valueEnd), valueAt)
    this.#count++
    const slot = this.#slotFor(hash, at)
    this.#slots[slot] = hash
    this.#slots[slot + 1] = at / ALIGNMENT + 1
    place.bytes = this.#ring
    place.valueStart = valueAt
    place.valueEnd = valueAt + valueLength
  }

  /** Forgets every key with this hash. */
  forget(hash: number): void {
    const slots = this.#slots
    if (slots.length === 0) return
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2)
      if (slots[slot] === hash) slots[slot + 1] = 0
  }

  clear(): void {
    this.#slots.fill(0)
    this.#head = 0
    this.#tail = 0
    this.#isWrapped = false
    this.#count = 0
  }

  #allocate(): void {
    this.#ring = Buffer.allocUnsafeSlow(this.#capacity)
    this.#words = new Uint32Array(this.#ring.buffer, 0, this.#capacity >>> 2)
    this.#slots = new Uint32Array((this.#bucketMask + 1) * BUCKET_WORDS)
  }

  /** A place for a new row: the one of an older row of the key, a free one, or any. */
  #slotFor(hash: number, at: number): number {
    const slots = this.#slots
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    let free = -1
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2) {
      if (slots[slot + 1] === 0) free = slot
      else if (slots[slot] === hash) return slot
    }
    return free >= 0 ? free : bucket + ((at / ALIGNMENT) % BUCKET_SLOTS) * 2
  }

  /** Where `size` bytes may be written; the oldest rows make room. */
  #reserve(size: number): number {
    for (;;) {
      if (!this.#isWrapped) {
        if (this.#head + size <= this.#capacity) break
        this.#end = this.#head
        this.#head = 0
        this.#isWrapped = true
      } else if (this.#head + size <= this.#tail) {
        break
      } else {
        this.#dropOldest()
      }
    }
    const at = this.#head
    this.#head += size
    return at
  }

  #dropOldest(): void {
    const at = this.#tail
    const word = at >>> 2
    const hash = this.#words[word]!
    const slots = this.#slots
    const row = at / ALIGNMENT + 1
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2) {
      if (slots[slot + 1] === row) slots[slot + 1] = 0
    }
    this.#tail += alignedSize(this.#words[word + 2]! & 0xffff, this.#words[word + 1]!)
    this.#count--
    if (this.#tail < this.#end) return
    this.#tail = 0
    this.#isWrapped = false
  }
}

function alignedSize(keyLength: number, valueLength: number): number {
  return (ROW_HEADER_BYTES + keyLength + valueLength + ALIGNMENT - 1) & -ALIGNMENT
}
