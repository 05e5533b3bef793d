import { BufferCutter } from '../util/buffer-cutter.js'
import { type Bytes, COPY_LOOP_MAX, copyBytes, equalRange } from '../util/bytes.js'
import type { BlockCache } from './block-cache.js'

/** Larger rows gain little: finding them costs less than copying them. */
const ROW_BYTES_MAX = 2048
/** row := valueLength:u32 | keyLength:u16 positionHigh:u16 | positionLow:u32 | key | value */
const ROW_HEADER_BYTES = 12
/** A bucket is half a cache line: four times hash and place (0: free). */
const BUCKET_SLOTS = 4
const BUCKET_WORDS = BUCKET_SLOTS * 2
/** Words of a new table that are written at a time. */
const WRITTEN_WORDS = 16 * 1024
/** Words of a table that are gone through at a time when all rows are forgotten: well under a millisecond. */
const CLEARED_WORDS = 8 * 1024
/** Of the memory that rows may be thought to take, for each slot: about half of them are used. */
const ROW_BYTES_TYPICAL = 80
const POSITION_HIGH = 2 ** 32
/** A row has 48 bits for its position. */
const POSITION_END = 2 ** 48
/** Of a cache line. */
const LINE_WORDS = 16
const NOTHING = new Uint32Array(0)
/** Where what was fetched goes, since what is of no use to anybody need not be read. */
const FETCHED = new Uint32Array(1)

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
 * neighbours too. Rows are records of the block cache, which drops what is not used, row or block: how much of it
 * either gets follows from what is read.
 *
 * A row is good until a newer version of its key reaches the segments: whoever flushes forgets those keys before.
 * What is found is borrowed until something is added to the cache.
 */
export class RowCache {
  readonly #cache: BlockCache
  readonly #bucketMask: number
  readonly #isOff: boolean
  readonly #cutter = new BufferCutter()
  /** Taken when the first row comes. The cache writes the places. */
  #slots: Uint32Array = NOTHING
  #owner = 0
  /** A table that is not all written yet, and how far it is. */
  #unwritten: Uint32Array | undefined
  #written = 0

  /** @param bytes of `cache` that rows may be thought to take; below a few rows nothing is kept. */
  constructor(cache: BlockCache, bytes: number) {
    this.#cache = cache
    this.#isOff = bytes < ROW_BYTES_MAX * 4
    let buckets = 16
    while (buckets * BUCKET_SLOTS * ROW_BYTES_TYPICAL < bytes) buckets *= 2
    this.#bucketMask = buckets - 1
  }

  /** Whether no row was ever kept. */
  get isUnused(): boolean {
    return this.#slots.length === 0
  }

  /** Bytes of memory that the table takes once there is a row, and may be counted on to take. */
  get sizeBytes(): number {
    return this.#isOff ? 0 : (this.#bucketMask + 1) * BUCKET_WORDS * 4
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
      const region = this.#cache.regionOf(row)
      const at = this.#cache.payloadAt(row)
      const { bytes, words } = region
      const word = at >>> 2
      const lengthAndHigh = words[word + 1]!
      const keyLength = lengthAndHigh & 0xffff
      const keyAt = at + ROW_HEADER_BYTES
      if (keyLength !== keyEnd - keyStart || !equalRange(bytes, keyAt, key, keyStart, keyLength)) continue
      const position = (lengthAndHigh >>> 16) * POSITION_HIGH + words[word + 2]!
      if (position > atMost) return false
      this.#cache.touch(region, at)
      place.bytes = bytes
      place.valueStart = keyAt + keyLength
      place.valueEnd = keyAt + keyLength + words[word]!
      place.position = position
      return true
    }
    return false
  }

  // Hot: every key of a `getMany` (bench/read.bench.js).
  /**
   * Reads what `find` is going to wait for, for the first `count` of these hashes. One after another such keys wait for a
   * line of the table each and for one of their row; here no read waits for the one before, and a dozen are under way.
   */
  fetch(hashes: Uint32Array, count: number): void {
    const slots = this.#slots
    if (slots.length === 0) return
    let lines = 0
    for (let i = 0; i < count; i++) lines ^= slots[(hashes[i]! & this.#bucketMask) * BUCKET_WORDS]!
    for (let i = 0; i < count; i++) {
      const hash = hashes[i]!
      const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
      for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2) {
        const row = slots[slot + 1]!
        if (slots[slot] !== hash || row === 0) continue
        const word = this.#cache.payloadAt(row) >>> 2
        const { words } = this.#cache.regionOf(row)
        lines ^= words[word]!
        if (word + LINE_WORDS < words.length) lines ^= words[word + LINE_WORDS]!
      }
    }
    FETCHED[0] = lines
  }

  /**
   * Keeps a row that was found in a segment, and sets `place` to where it stands now: it is hot there, and readers go
   * on with the memory that the rows before were read from.
   * @param isInCache whether `place` is memory of the cache, of which nothing may be dropped then to make room.
   */
  add(key: Bytes, keyStart: number, keyEnd: number, hash: number, place: RowPlace, isInCache: boolean): void {
    const { valueStart, valueEnd, position } = place
    const keyLength = keyEnd - keyStart
    const valueLength = valueEnd - valueStart
    const sizeBytes = ROW_HEADER_BYTES + keyLength + valueLength
    if (sizeBytes > ROW_BYTES_MAX || this.#isOff || position >= POSITION_END) return
    if (this.#slots.length === 0 && !this.#allocateSome()) return
    const cache = this.#cache
    if (isInCache && !cache.hasRoomFor(sizeBytes)) return
    const slot = this.#slotFor(hash)
    const row = cache.add(this.#owner, slot + 1, sizeBytes)
    if (row === 0) return
    this.#slots[slot] = hash
    const { bytes, words } = cache.regionOf(row)
    const at = cache.payloadAt(row)
    const word = at >>> 2
    words[word] = valueLength
    words[word + 1] = keyLength | (Math.floor(position / POSITION_HIGH) << 16)
    words[word + 2] = position >>> 0
    const valueAt = at + ROW_HEADER_BYTES + keyLength
    copyBytes(key, keyStart, keyEnd, bytes, at + ROW_HEADER_BYTES)
    if (valueLength <= COPY_LOOP_MAX) copyBytes(place.bytes, valueStart, valueEnd, bytes, valueAt)
    else bytes.set(this.#cutter.view(place.bytes, valueStart, valueEnd), valueAt)
    place.bytes = bytes
    place.valueStart = valueAt
    place.valueEnd = valueAt + valueLength
  }

  /** Forgets every key with this hash. */
  forget(hash: number): void {
    const slots = this.#slots
    if (slots.length === 0) return
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2)
      if (slots[slot] === hash) this.#cache.drop(this.#owner, slot + 1)
  }

  /** Forgets every row, with places where others may have their turn: a full table takes 14 ms. */
  *clear(): Generator<void> {
    for (let slot = 0; slot < this.#slots.length; slot += 2) {
      if (slot > 0 && slot % CLEARED_WORDS === 0) yield
      this.#cache.drop(this.#owner, slot + 1)
    }
  }

  /**
   * Writes one more part of the table; true once it is all there. Memory that is read before it was ever written is
   * mapped twice, the second time with an interrupt of the process's other cores: 14 µs a page instead of 1.6.
   */
  #allocateSome(): boolean {
    this.#unwritten ??= new Uint32Array((this.#bucketMask + 1) * BUCKET_WORDS)
    const table = this.#unwritten
    const from = this.#written
    this.#written = from + WRITTEN_WORDS
    table.fill(0, from, this.#written)
    if (this.#written < table.length) return false
    this.#unwritten = undefined
    this.#slots = table
    this.#owner = this.#cache.register(table)
    return true
  }

  /** A slot for a new row: the one of an older row of the key, which is dropped, a free one, or any. */
  #slotFor(hash: number): number {
    const slots = this.#slots
    const bucket = (hash & this.#bucketMask) * BUCKET_WORDS
    let chosen = -1
    for (let slot = bucket; slot < bucket + BUCKET_WORDS; slot += 2) {
      if (slots[slot + 1] === 0) {
        if (chosen < 0) chosen = slot
      } else if (slots[slot] === hash) {
        chosen = slot
        break
      }
    }
    // The bits above those that chose the bucket are as good as random.
    if (chosen < 0) chosen = bucket + (hash >>> 30) * 2
    this.#cache.drop(this.#owner, chosen + 1)
    return chosen
  }
}
