import { KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, copyBytes } from '../util/bytes.js'
import { VARINT_BYTES_MAX, writeVarint } from './block.js'

/** Bytes that grow, kept from block to block. */
class Column {
  bytes: Buffer
  length = 0

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
  }

  reserve(size: number): void {
    if (this.length + size <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.length + size))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
  }

  addVarint(value: number): void {
    this.reserve(VARINT_BYTES_MAX)
    this.length = writeVarint(this.bytes, this.length, value)
  }
}

/** Gathers the columns of one data block after another; see `block.ts` for the format. */
export class BlockBuilder {
  readonly #base: Position
  readonly #capacity: number
  readonly #keyLengths = new Column(256)
  readonly #valueLengths = new Column(256)
  readonly #distances = new Column(256)
  #data: Column
  #block: Buffer
  #count = 0

  /** @param base at or below every position. @param sizeBytes about how large blocks get. */
  constructor(base: Position, sizeBytes: number) {
    this.#base = base
    this.#capacity = sizeBytes * 2
    this.#data = new Column(this.#capacity)
    this.#block = Buffer.allocUnsafeSlow(this.#capacity)
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  get sizeBytes(): number {
    return this.#keyLengths.length + this.#valueLengths.length + this.#distances.length + this.#data.length
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
    data.reserve(keyLength + valueLength)
    copyBytes(bytes, keyStart, valueEnd, data.bytes, data.length)
    data.length += keyLength + valueLength
    this.#count++
  }

  /** The block's bytes, borrowed until the next `finish`; the builder is empty afterwards. */
  finish(): Buffer {
    const sizeMax = this.sizeBytes + 2 * VARINT_BYTES_MAX
    if (sizeMax > this.#block.length) this.#block = Buffer.allocUnsafeSlow(sizeMax)
    const block = this.#block
    let at = writeVarint(block, 0, this.#base)
    at = writeVarint(block, at, this.#count)
    for (const column of [this.#keyLengths, this.#valueLengths, this.#distances, this.#data]) {
      copyBytes(column.bytes, 0, column.length, block, at)
      at += column.length
      column.length = 0
    }
    this.#count = 0
    // A block of one huge value must not make all later ones carry its memory.
    if (this.#data.bytes.length > this.#capacity * 4) {
      this.#data = new Column(this.#capacity)
      this.#block = Buffer.allocUnsafeSlow(this.#capacity)
    }
    return block.subarray(0, at)
  }
}
