import { KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, copyBytes } from '../util/bytes.js'
import { COPY_MARGIN_BYTES, WordCopy } from '../util/word-copy.js'
import { VARINT_BYTES_MAX, writeVarint } from './block-columns.js'

/** Bytes that grow, kept from block to block. */
class Column {
  bytes: Buffer
  length = 0

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
  }

  /** Whether that took other memory. */
  reserve(size: number): boolean {
    if (this.length + size <= this.bytes.length) return false
    const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + size))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
    return true
  }

  addVarint(value: number): void {
    this.reserve(VARINT_BYTES_MAX)
    this.length = writeVarint(this.bytes, this.length, value)
  }
}

/** Where the data of a block starts: what stands before it is put there when it is known how much that is. */
const FRONT_BYTES = 1024

/** Gathers the columns of one data block after another; see `block.ts` for the format. */
export class BlockBuilder {
  readonly #base: Position
  readonly #capacity: number
  readonly #keyLengths = new Column(256)
  readonly #valueLengths = new Column(256)
  readonly #distances = new Column(256)
  readonly #copier = new WordCopy()
  #front = FRONT_BYTES
  /** Keys and values, after room for all that the block has before them. */
  #data: Column
  /** The memory of the data. */
  #words: Int32Array
  #lastKeyStart = 0
  #lastKeyEnd = 0
  #count = 0

  /** @param base at or below every position. @param sizeBytes about how large blocks get. */
  constructor(base: Position, sizeBytes: number) {
    this.#base = base
    this.#capacity = sizeBytes * 2
    this.#data = this.#newData()
    this.#words = wordsOf(this.#data)
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  get sizeBytes(): number {
    const dataBytes = this.#data.length - this.#front
    return this.#keyLengths.length + this.#valueLengths.length + this.#distances.length + dataBytes
  }

  /** A copy of the key that was added last; a piece of Node's pool, which is no matter for as short as it lives. */
  cloneLastKey(): Buffer {
    return Buffer.from(this.#data.bytes.subarray(this.#lastKeyStart, this.#lastKeyEnd))
  }

  /** The value follows the key, or when it expires and then the value do. */
  // Hot: once an entry of every flush and compaction (bench/write.bench.js).
  add(
    bytes: Bytes,
    keyStart: number,
    keyEnd: number,
    kind: number,
    position: Position,
    valueStart: number,
    valueEnd: number,
  ): void {
    const keyLength = keyEnd - keyStart
    // What expires has when it does before its value.
    const valueLength = valueEnd - keyEnd
    this.#keyLengths.addVarint(keyLength)
    this.#valueLengths.addVarint(valueLength * 2 + (kind === KIND_PUT && valueStart === keyEnd ? 1 : 0))
    this.#distances.addVarint(position - this.#base)
    const data = this.#data
    if (data.reserve(keyLength + valueLength + COPY_MARGIN_BYTES)) this.#words = wordsOf(data)
    const at = data.length
    this.#copier.copy(bytes, keyStart, valueEnd, data.bytes, this.#words, at)
    data.length = at + keyLength + valueLength
    this.#lastKeyStart = at
    this.#lastKeyEnd = at + keyLength
    this.#count++
  }

  /** The block's bytes, borrowed until the next `add`; the builder is empty afterwards. */
  finish(): Buffer {
    const columns = [this.#keyLengths, this.#valueLengths, this.#distances]
    const numberBytes = writeVarint(NUMBERS, writeVarint(NUMBERS, 0, this.#base), this.#count)
    const frontBytes = columns.reduce((sum, { length }) => sum + length, numberBytes)
    if (frontBytes > this.#front) this.#growFront(frontBytes * 2)
    const { bytes, length } = this.#data
    const start = this.#front - frontBytes
    copyBytes(NUMBERS, 0, numberBytes, bytes, start)
    let at = start + numberBytes
    for (const column of columns) {
      copyBytes(column.bytes, 0, column.length, bytes, at)
      at += column.length
      column.length = 0
    }
    this.#data.length = this.#front
    this.#count = 0
    // A block of one huge value must not make all later ones carry its memory.
    if (bytes.length > this.#capacity * 4 + this.#front) {
      this.#data = this.#newData()
      this.#words = wordsOf(this.#data)
    }
    return bytes.subarray(start, length)
  }

  #growFront(front: number): void {
    const { bytes, length } = this.#data
    const from = this.#front
    this.#front = front
    this.#data = this.#newData()
    this.#data.reserve(length - from)
    copyBytes(bytes, from, length, this.#data.bytes, front)
    this.#data.length += length - from
    this.#words = wordsOf(this.#data)
  }

  #newData(): Column {
    const data = new Column(this.#front + this.#capacity)
    data.length = this.#front
    return data
  }
}

function wordsOf({ bytes }: Column): Int32Array {
  return new Int32Array(bytes.buffer, 0, bytes.buffer.byteLength >>> 2)
}

/** The two numbers that a block starts with. */
const NUMBERS = Buffer.alloc(2 * VARINT_BYTES_MAX)
