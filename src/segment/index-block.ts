import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { type Bytes, cloneBytes, compareRanges, readWord } from '../util/bytes.js'

/** Bytes that the arrays of the index take for each block, beside its separator. */
const ENTRY_BYTES = 16

/**
 * Where the data blocks stand. index := count:varint | (separator:bytes | sizeBytes:varint)*
 * The blocks follow one another from byte 0; a separator is at or after the last key of its block and before the
 * first of the next.
 */
export class IndexBlock {
  readonly count: number
  readonly #separators: Bytes
  /** End of separator i in `separators`; it starts at the end of the one before. */
  readonly #ends: Uint32Array
  readonly #offsets: Uint32Array
  /** All separators start with so many bytes alike. */
  readonly #sharedBytes: number
  /** The first bytes of each separator after those: most comparisons end with them. */
  readonly #words: Uint32Array

  private constructor(separators: Bytes, ends: Uint32Array, offsets: Uint32Array) {
    this.count = ends.length
    this.#separators = separators
    this.#ends = ends
    this.#offsets = offsets
    this.#sharedBytes = sharedBytesOf(separators, ends)
    this.#words = new Uint32Array(this.count)
    for (let i = 0; i < this.count; i++)
      this.#words[i] = readWord(separators, this.#startOf(i) + this.#sharedBytes, ends[i]!)
  }

  /** @param dataBytes where the blocks must end. */
  static parse(payload: Bytes, file: string, offset: number, dataBytes: number): IndexBlock {
    const reader = new ByteReader(payload, file, offset)
    const count = reader.varint()
    if (count > payload.length) throw reader.fail('an index of more blocks than bytes')
    const separators = new ByteWriter(payload.length)
    const ends = new Uint32Array(count)
    const offsets = new Uint32Array(count + 1)
    for (let i = 0; i < count; i++) {
      separators.raw(reader.bytes(65_535))
      ends[i] = separators.length
      const end = offsets[i]! + reader.varint()
      if (end > dataBytes) throw reader.fail('a block beyond the data')
      offsets[i + 1] = end
    }
    if (reader.remaining > 0 || offsets[count] !== dataBytes)
      throw reader.fail('an index that does not fit the data')
    return new IndexBlock(cloneBytes(separators.view()), ends, offsets)
  }

  get sizeBytes(): number {
    return this.#separators.length + this.count * ENTRY_BYTES
  }

  offsetOf(block: number): number {
    return this.#offsets[block]!
  }

  endOf(block: number): number {
    return this.#offsets[block + 1]!
  }

  /** At or after the last key of the block, before the first of the next; a copy. */
  separatorOf(block: number): Bytes {
    return cloneBytes(this.#separators, this.#startOf(block), this.#ends[block])
  }

  // Hot: once a segment and lookup.
  /** The only block that can hold the key, or its successor if none does; `count` if beyond the last. */
  find(key: Bytes, keyStart: number, keyEnd: number): number {
    const shared = this.#sharedBytes
    if (shared > 0) {
      const order = compareRanges(
        this.#separators,
        0,
        shared,
        key,
        keyStart,
        Math.min(keyStart + shared, keyEnd),
      )
      if (order !== 0) return order > 0 ? 0 : this.count
    }
    const word = readWord(key, keyStart + shared, keyEnd)
    let low = firstFrom(this.#words, word)
    if (low === this.count || this.#words[low] !== word) return low
    let high = firstFrom(this.#words, word + 1)
    while (low < high) {
      const middle = (low + high) >>> 1
      const start = this.#startOf(middle)
      if (compareRanges(this.#separators, start, this.#ends[middle]!, key, keyStart, keyEnd) < 0)
        low = middle + 1
      else high = middle
    }
    return low
  }

  #startOf(separator: number): number {
    return separator === 0 ? 0 : this.#ends[separator - 1]!
  }
}

/** The first place in ascending numbers that is not below `number`. */
function firstFrom(numbers: Uint32Array, number: number): number {
  let low = 0
  let high = numbers.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (numbers[middle]! < number) low = middle + 1
    else high = middle
  }
  return low
}

/** What the first and the last of sorted separators start with alike, and so do all between them. */
function sharedBytesOf(separators: Bytes, ends: Uint32Array): number {
  if (ends.length === 0) return 0
  const last = ends.length === 1 ? 0 : ends[ends.length - 2]!
  const most = Math.min(ends[0]!, separators.length - last)
  let shared = 0
  while (shared < most && separators[shared] === separators[last + shared]) shared++
  return shared
}

export class IndexBuilder {
  readonly #entries = new ByteWriter(4096)
  #count = 0

  add(separator: Bytes, sizeBytes: number): void {
    this.#entries.bytes(separator).varint(sizeBytes)
    this.#count++
  }

  build(): Buffer {
    return cloneBytes(
      new ByteWriter(this.#entries.length + 8).varint(this.#count).raw(this.#entries.view()).view(),
    )
  }
}

/** The shortest key with last ≤ key < next. */
export function separatorBetween(last: Bytes, next: Bytes): Bytes {
  let shared = 0
  while (shared < last.length && shared < next.length && last[shared] === next[shared]) shared++
  if (shared + 1 >= last.length || shared >= next.length) return last
  if (last[shared]! + 1 >= next[shared]!) return last
  const separator = cloneBytes(last, 0, shared + 1)
  separator[shared]!++
  return separator
}
