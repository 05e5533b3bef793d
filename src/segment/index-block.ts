import { corruption } from '../errors.js'
import { KEY_BYTES_MAX } from '../key/batch-format.js'
import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { type Bytes, cloneBytes, compareRanges, readWord } from '../util/bytes.js'

/** Bytes that the arrays of the index take for each block, beside its separator. */
const ENTRY_BYTES = 20

/** Blocks that are looked at in one step: a third of a millisecond where the loop is not compiled yet. */
const STEP_BLOCKS = 256

/** What the eighth byte of a number counts, which is the last that it may have. */
const SCALE_MAX = 2 ** 49

/**
 * Where the data blocks stand. index := count:varint | (separator:bytes | sizeBytes:varint)*
 * The blocks follow one another from byte 0; a separator is at or after the last key of its block and before the
 * first of the next.
 */
export class IndexBlock {
  readonly count: number
  /** The whole payload. */
  readonly #bytes: Bytes
  /** Where separator i starts and ends in there. */
  readonly #starts: Uint32Array
  readonly #ends: Uint32Array
  readonly #offsets: Uint32Array
  /** All separators start with so many bytes alike. */
  readonly #sharedBytes: number
  /** The first bytes of each separator after those: most comparisons end with them. */
  readonly #words: Uint32Array
  /**
   * Words fall into as many buckets as there are blocks, by their distance from the first; here is the first block of
   * each bucket, and the end. Where keys spread evenly that leaves nothing to search: a binary search among thousands
   * takes a dozen steps, half of them mispredicted.
   */
  readonly #buckets: Uint32Array
  readonly #bucketShift: number

  private constructor({ payload, starts, ends, offsets, sharedBytes, words, buckets, bucketShift }: Parsed) {
    this.count = ends.length
    this.#bytes = payload
    this.#starts = starts
    this.#ends = ends
    this.#offsets = offsets
    this.#sharedBytes = sharedBytes
    this.#words = words
    this.#buckets = buckets
    this.#bucketShift = bucketShift
  }

  /**
   * Hot though it runs once a segment: on the main thread, thousands of times in one task, the first time before it is
   * compiled. So separators stay where they are in the payload, and no call is made for a number.
   * @param payload the index keeps it.
   * @param dataBytes where the blocks must end.
   */
  static parse(payload: Bytes, file: string, offset: number, dataBytes: number): IndexBlock {
    const parsing = IndexBlock.parseInSteps(payload, file, offset, dataBytes)
    for (;;) {
      const { done, value } = parsing.next()
      if (done) return value
    }
  }

  /** As `parse`, with places where others may have their turn: a segment of 64 MiB has 16,000 blocks. */
  static *parseInSteps(
    payload: Bytes,
    file: string,
    offset: number,
    dataBytes: number,
  ): Generator<void, IndexBlock> {
    const reader = new ByteReader(payload, file, offset)
    const count = reader.varint()
    if (count > payload.length) throw reader.fail('an index of more blocks than bytes')
    const starts = new Uint32Array(count)
    const ends = new Uint32Array(count)
    const offsets = new Uint32Array(count + 1)
    const parsing: Parsing = {
      ...{ payload, file, offset, dataBytes, starts, ends, offsets },
      at: payload.length - reader.remaining,
      blockEnd: 0,
    }
    for (let from = 0; from < count; from += STEP_BLOCKS) {
      if (from > 0) yield
      parseBlocks(parsing, from, Math.min(count, from + STEP_BLOCKS))
    }
    if (parsing.at !== payload.length || parsing.blockEnd !== dataBytes)
      throw corruption(file, offset + parsing.at, 'an index that does not fit the data')
    const sharedBytes = sharedBytesOf(payload, starts, ends)
    const words = new Uint32Array(count)
    for (let from = 0; from < count; from += STEP_BLOCKS) {
      yield
      readWords(parsing, sharedBytes, words, from, Math.min(count, from + STEP_BLOCKS))
    }
    const bucketShift = bucketShiftOf(words)
    const buckets = newBuckets(words, bucketShift)
    for (let from = 0; from < count; from += STEP_BLOCKS) {
      yield
      fillBuckets(buckets, bucketShift, words, from, Math.min(count, from + STEP_BLOCKS))
    }
    return new IndexBlock({ payload, starts, ends, offsets, sharedBytes, words, buckets, bucketShift })
  }

  get sizeBytes(): number {
    return this.#bytes.length + this.count * ENTRY_BYTES
  }

  offsetOf(block: number): number {
    return this.#offsets[block]!
  }

  endOf(block: number): number {
    return this.#offsets[block + 1]!
  }

  /** At or after the last key of the block, before the first of the next; a copy. */
  separatorOf(block: number): Bytes {
    return cloneBytes(this.#bytes, this.#starts[block], this.#ends[block])
  }

  /** Whether the block's first key may be this one, by the separators on both sides of it. */
  mayStartWith(block: number, key: Bytes, keyStart: number, keyEnd: number): boolean {
    const words = this.#words
    if (this.#orderOfShared(key, keyStart, keyEnd) === 0) {
      const word = readWord(key, keyStart + this.#sharedBytes, keyEnd)
      // Nearly always these tell, and were read a moment ago to find the block; the separators are lines of their own.
      if (words[block]! > word && (block === 0 || words[block - 1]! < word)) return true
    }
    return (
      this.#compare(block, key, keyStart, keyEnd) >= 0 &&
      (block === 0 || this.#compare(block - 1, key, keyStart, keyEnd) < 0)
    )
  }

  // Hot: once a segment and lookup.
  /** The only block that can hold the key, or its successor if none does; `count` if beyond the last. */
  find(key: Bytes, keyStart: number, keyEnd: number): number {
    const order = this.#orderOfShared(key, keyStart, keyEnd)
    if (order !== 0) return order > 0 ? 0 : this.count
    const words = this.#words
    const word = readWord(key, keyStart + this.#sharedBytes, keyEnd)
    if (this.count === 0 || word < words[0]!) return 0
    const bucket = (word - words[0]!) >>> this.#bucketShift
    const buckets = this.#buckets
    if (bucket >= buckets.length - 1) return this.count
    let low = firstFrom(words, word, buckets[bucket]!, buckets[bucket + 1]!)
    if (low === this.count || words[low] !== word) return low
    let high = low + 1
    if (words[high] === word) high = firstFrom(words, word + 1, high, this.count)
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compare(middle, key, keyStart, keyEnd) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The order of what all separators start with, and of as much of the key. */
  #orderOfShared(key: Bytes, keyStart: number, keyEnd: number): number {
    const shared = this.#sharedBytes
    if (shared === 0) return 0
    const first = this.#starts[0]!
    const sharedEnd = Math.min(keyStart + shared, keyEnd)
    return compareRanges(this.#bytes, first, first + shared, key, keyStart, sharedEnd)
  }

  #compare(block: number, key: Bytes, keyStart: number, keyEnd: number): number {
    return compareRanges(this.#bytes, this.#starts[block]!, this.#ends[block]!, key, keyStart, keyEnd)
  }
}

interface Places {
  readonly payload: Bytes
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  readonly offsets: Uint32Array
}

interface Parsed extends Places {
  readonly sharedBytes: number
  readonly words: Uint32Array
  readonly buckets: Uint32Array
  readonly bucketShift: number
}

interface Parsing extends Places {
  readonly file: string
  readonly offset: number
  readonly dataBytes: number
  /** Where the next block stands in the payload, and in the file. */
  at: number
  blockEnd: number
}

/** A function of its own: one that yields in its loop is seven times as slow once it is compiled. */
function parseBlocks(parsing: Parsing, from: number, to: number): void {
  const { payload, file, offset, dataBytes, starts, ends, offsets } = parsing
  let { at, blockEnd } = parsing
  for (let i = from; i < to; i++) {
    // Bytes beyond the end are undefined, which ends a number.
    let byte = payload[at++]!
    let length = byte & 127
    for (let scale = 128; byte >= 128 && scale <= SCALE_MAX; scale *= 128) {
      byte = payload[at++]!
      length += (byte & 127) * scale
    }
    if (byte >= 128 || length > Number.MAX_SAFE_INTEGER)
      throw corruption(file, offset + at, 'a number beyond 2^53')
    if (length > KEY_BYTES_MAX) throw corruption(file, offset + at, `a length of ${length}`)
    starts[i] = at
    at += length
    ends[i] = at
    byte = payload[at++]!
    let sizeBytes = byte & 127
    for (let scale = 128; byte >= 128 && scale <= SCALE_MAX; scale *= 128) {
      byte = payload[at++]!
      sizeBytes += (byte & 127) * scale
    }
    if (at > payload.length) throw corruption(file, offset + payload.length, 'ends in the middle of a field')
    if (byte >= 128 || sizeBytes > Number.MAX_SAFE_INTEGER)
      throw corruption(file, offset + at, 'a number beyond 2^53')
    blockEnd += sizeBytes
    if (blockEnd > dataBytes) throw corruption(file, offset + at, 'a block beyond the data')
    offsets[i + 1] = blockEnd
  }
  parsing.at = at
  parsing.blockEnd = blockEnd
}

function readWords(
  { payload, starts, ends }: Places,
  sharedBytes: number,
  words: Uint32Array,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) words[i] = readWord(payload, starts[i]! + sharedBytes, ends[i]!)
}

/** The first place in [low, high) of ascending numbers that is not below `number`; `high` if there is none. */
function firstFrom(numbers: Uint32Array, number: number, low: number, high: number): number {
  let from = low
  let to = high
  while (from < to) {
    const middle = (from + to) >>> 1
    if (numbers[middle]! < number) from = middle + 1
    else to = middle
  }
  return from
}

/** By how many bits to shift a distance from the first word, so that there are at most as many buckets as words. */
function bucketShiftOf(words: Uint32Array): number {
  if (words.length === 0) return 0
  const span = words[words.length - 1]! - words[0]!
  let shift = 0
  while (span >>> shift >= words.length) shift++
  return shift
}

function newBuckets(words: Uint32Array, shift: number): Uint32Array {
  const count = words.length
  const buckets = new Uint32Array(count === 0 ? 1 : ((words[count - 1]! - words[0]!) >>> shift) + 2)
  buckets[buckets.length - 1] = count
  return buckets
}

/** Enters the blocks [from, to): each is the first of its own bucket, and of those without any that come before. */
function fillBuckets(
  buckets: Uint32Array,
  shift: number,
  words: Uint32Array,
  from: number,
  to: number,
): void {
  const first = words[0]!
  // Separators out of order, which no checksum tells, must not lead beyond the end.
  const last = buckets.length - 2
  let bucket = from === 0 ? 0 : Math.min((words[from - 1]! - first) >>> shift, last)
  for (let i = from; i < to; i++) {
    const own = Math.min((words[i]! - first) >>> shift, last)
    while (bucket < own) buckets[++bucket] = i
  }
}

/** What the first and the last of sorted separators start with alike, and so do all between them. */
function sharedBytesOf(bytes: Bytes, starts: Uint32Array, ends: Uint32Array): number {
  const last = starts.length - 1
  if (last < 0) return 0
  const [a, b] = [starts[0]!, starts[last]!]
  const most = Math.min(ends[0]! - a, ends[last]! - b)
  let shared = 0
  while (shared < most && bytes[a + shared] === bytes[b + shared]) shared++
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

/** The shortest key with last ≤ key < next. Lives no longer than a step of a flush, and so may be of Node's pool. */
export function separatorBetween(last: Bytes, next: Bytes): Bytes {
  let shared = 0
  while (shared < last.length && shared < next.length && last[shared] === next[shared]) shared++
  if (shared + 1 >= last.length || shared >= next.length) return last
  if (last[shared]! + 1 >= next[shared]!) return last
  const separator = Buffer.from(last.subarray(0, shared + 1))
  separator[shared]!++
  return separator
}
