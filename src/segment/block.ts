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
 * Where the entries stand is worked out, and every number checked, once when a block is loaded; a tag of each key,
 * eight bits of its hash, when the second point lookup comes. Both cost less than reading them from the file would.
 * Tags are looked through four at a time, in the lines that follow the header: a hash table of the keys finds one no
 * sooner, but took a tenth of the cache.
 *
 * In the cache, a record of words that are followed by the bytes:
 *
 *   record := count | basePositionLow | basePositionHigh | flags | tag:u8{count, up to a whole word}
 *             | (keyStart | keyEnd * 2 + isPut | distance){count} | end | distanceHigh{count, if wide} | the block's bytes
 */
import type { BlockCache } from '../cache/block-cache.js'
import type { CacheRegion } from '../cache/cache-region.js'
import { EXPIRY_BYTES, KIND_DEL, KIND_PUT } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, cloneBytes, compareRanges, copyBytes, EMPTY_BYTES, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { Scratch } from '../util/scratch.js'
import { ENTRY_WORDS, entryWordsMax, readEntryWords, Varints } from './block-columns.js'
import type { PlainMemory } from './compression.js'

const HIGH = 2 ** 32
/** Of a record, before the words of its entries. */
const HEADER_WORDS = 4
const FLAGS_WORD = 3
const HAS_TAGS = 1
const IS_WIDE = 2
const WAS_ASKED = 4
/** Where there are more entries a binary search is sooner at its end; there are no tags then. */
const TAGGED_MAX = 512
/** In each byte of a word. */
const ONES = 0x0101_0101
const HIGH_BITS = 0x8080_8080
const NO_WORDS = new Uint32Array(0)

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

  /** The entry in memory of its own, where it stands from now on. */
  cloneEntry(bytes: Bytes): Bytes {
    const start = this.keyStart
    const clone = cloneBytes(bytes, start, this.valueEnd)
    this.keyStart = 0
    this.keyEnd -= start
    this.valueStart -= start
    this.valueEnd -= start
    return clone
  }
}

/** Memory for one block at a time: each one that is read into it ends the one before. */
export class BlockScratch {
  /** For what is read of the file, where the block may stay as it is. */
  readonly file = new Scratch()
  /** For the plain bytes of one that was packed. */
  readonly bytes: PlainMemory
  readonly block = new Block()
  #words: Uint32Array = NO_WORDS

  constructor(bytes: PlainMemory = new Scratch()) {
    this.bytes = bytes
  }

  words(count: number): Uint32Array {
    if (count > this.#words.length) this.#words = new Uint32Array(count * 2)
    return this.#words
  }
}

/**
 * A look at one block: its bytes, and where each entry stands in them. The memory is a record of the cache, a scratch,
 * or the block's own; the same `Block` may be placed on one after another.
 */
export class Block {
  /** Hold the block; other blocks too, where it stands in the cache. */
  bytes: Bytes = EMPTY_BYTES
  count = 0
  /** Whether it is not in the cache. */
  isFleeting = true
  /** Where the block starts in `bytes`. */
  #start = 0
  #base: Position = 0
  #words: Uint32Array = NO_WORDS
  /** The first word of the entries: a read of one touches one cache line. */
  #first = 0
  /** The first word of the tags, which only records of the cache have. */
  #tags = 0
  /** The first high word of the distances; 0 where they have none. */
  #highs = 0

  /**
   * Undefined if the bytes are not a sound block of at least one entry. The block keeps `bytes`.
   * @param scratch whose block it is then; left out: a new one.
   */
  static parse(bytes: Bytes, scratch?: BlockScratch): Block | undefined {
    const numbers = new Varints(bytes)
    const base = numbers.next()
    const count = numbers.next()
    // Three numbers of at least one byte for each entry: what claims more must not make us allocate.
    if (!numbers.isSound || count === 0 || count * 3 > bytes.length || bytes.length > 2 ** 31 - 1)
      return undefined
    const words = scratch ? scratch.words(entryWordsMax(count)) : new Uint32Array(entryWordsMax(count))
    const isWide = readEntryWords(numbers, bytes, count, words)
    if (isWide === undefined) return undefined
    const block = scratch ? scratch.block : new Block()
    block.bytes = bytes
    block.count = count
    block.#base = base
    block.#words = words
    block.#highs = isWide ? count * ENTRY_WORDS + 1 : 0
    return block
  }

  // Hot: every read that finds its block in the cache (bench/read.bench.js).
  /** @param at where the record starts in the region, in bytes. */
  placeIn(region: CacheRegion, at: number): void {
    const { words } = region
    const word = at >>> 2
    const count = words[word]!
    this.bytes = region.bytes
    this.#words = words
    this.count = count
    this.isFleeting = false
    this.#base = words[word + 1]! + words[word + 2]! * HIGH
    this.#tags = word + HEADER_WORDS
    this.#first = this.#tags + tagWordsOf(count)
    const end = this.#first + count * ENTRY_WORDS + 1
    const isWide = (words[word + FLAGS_WORD]! & IS_WIDE) !== 0
    this.#highs = isWide ? end : 0
    this.#start = (isWide ? end + count : end) * 4
  }

  /** Places `view` on a copy in the cache; false if there is no room for it. */
  keepIn(cache: BlockCache, owner: number, number: number, view: Block): boolean {
    const { count, sizeBytes } = this
    const entriesAt = HEADER_WORDS + tagWordsOf(count)
    const entriesEnd = entriesAt + count * ENTRY_WORDS + 1
    const bytesAt = this.#highs > 0 ? entriesEnd + count : entriesEnd
    const place = cache.add(owner, number, bytesAt * 4 + sizeBytes)
    if (place === 0) return false
    const region = cache.regionOf(place)
    const at = cache.payloadAt(place)
    const word = at >>> 2
    const { words } = region
    words[word] = count
    words[word + 1] = this.#base >>> 0
    words[word + 2] = Math.floor(this.#base / HIGH)
    words[word + FLAGS_WORD] = this.#highs > 0 ? IS_WIDE : 0
    this.#copyWords(words, word + entriesAt, word + entriesEnd)
    region.bytes.set(this.bytes.subarray(this.#start, this.#start + sizeBytes), at + bytesAt * 4)
    view.placeIn(region, at)
    return true
  }

  /** The same block in memory that nobody else has. */
  clone(): Block {
    const clone = new Block()
    const end = this.count * ENTRY_WORDS + 1
    const words = new Uint32Array(this.#highs > 0 ? end + this.count : end)
    this.#copyWords(words, 0, end)
    const bytes = Buffer.allocUnsafeSlow(this.sizeBytes)
    this.copyBytes(bytes, 0)
    clone.placeOn(this, bytes, 0)
    clone.#words = words
    clone.#first = 0
    clone.#highs = this.#highs > 0 ? end : 0
    return clone
  }

  /** Copies its bytes alone. */
  copyBytes(into: Bytes, at: number): void {
    copyBytes(this.bytes, this.#start, this.#start + this.sizeBytes, into, at)
  }

  /** The entries of `block`, in a copy of its bytes at `start` of `bytes`. The rest of it is borrowed. */
  placeOn(block: Block, bytes: Bytes, start: number): void {
    this.bytes = bytes
    this.count = block.count
    this.#start = start
    this.#base = block.#base
    this.#words = block.#words
    this.#first = block.#first
    this.#highs = block.#highs
  }

  /** Of the block alone. */
  get sizeBytes(): number {
    return this.#words[this.#first + this.count * ENTRY_WORDS]!
  }

  /** Where the entry ends in `bytes`. */
  endOf(entry: number): number {
    return this.#start + this.#words[this.#first + (entry + 1) * ENTRY_WORDS]!
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  read(entry: number, fields: EntryFields): void {
    const words = this.#words
    const start = this.#start
    const word = this.#first + entry * ENTRY_WORDS
    const endAndKind = words[word + 1]!
    const keyEnd = start + (endAndKind >>> 1)
    const valueEnd = start + words[word + ENTRY_WORDS]!
    fields.keyStart = start + words[word]!
    fields.keyEnd = keyEnd
    fields.position = this.#base + words[word + 2]!
    if (this.#highs > 0) fields.position += words[this.#highs + entry]! * HIGH
    fields.valueEnd = valueEnd
    if (endAndKind & 1) {
      fields.kind = KIND_PUT
      fields.valueStart = keyEnd
    } else if (valueEnd > keyEnd) {
      fields.kind = KIND_PUT
      fields.valueStart = keyEnd + EXPIRY_BYTES
    } else {
      fields.kind = KIND_DEL
      fields.valueStart = valueEnd
    }
  }

  // Hot: every seek (bench/scan.bench.js).
  /** The first entry at or after `key`; `count` if none. */
  lowerBound(key: Bytes, keyStart: number, keyEnd: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compareKey(middle, key, keyStart, keyEnd) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  // Hot: every point read of a segment (bench/read.bench.js).
  /** The first (newest) entry of the key; -1 if the block does not hold it. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    const { count } = this
    if (this.isFleeting || count > TAGGED_MAX) return this.#search(key, keyStart, keyEnd)
    const words = this.#words
    const tags = this.#tags
    const first = this.#first
    const flagsAt = tags - HEADER_WORDS + FLAGS_WORD
    const flags = words[flagsAt]!
    if (!(flags & HAS_TAGS)) {
      // Hashing all of its keys costs three searches, and many blocks are asked for one key only while they are here.
      if (!(flags & WAS_ASKED)) {
        words[flagsAt] = flags | WAS_ASKED
        return this.#search(key, keyStart, keyEnd)
      }
      this.#writeTags()
    }
    const length = keyEnd - keyStart
    const wanted = Math.imul(tagOf(hash), ONES)
    for (let at = tags; at < first; at++) {
      const difference = words[at]! ^ wanted
      // The high bit of each byte that is 0, and perhaps of some above one that is.
      let zeros = (difference - ONES) & ~difference & HIGH_BITS
      while (zeros !== 0) {
        const entry = (at - tags) * 4 + ((31 - Math.clz32(zeros & -zeros)) >>> 3)
        if (entry >= count) return -1
        const word = first + entry * ENTRY_WORDS
        const start = words[word]!
        const end = words[word + 1]! >>> 1
        if (end - start === length && equalRange(this.bytes, this.#start + start, key, keyStart, length))
          return entry
        zeros &= zeros - 1
      }
    }
    return -1
  }

  #search(key: Bytes, keyStart: number, keyEnd: number): number {
    const entry = this.lowerBound(key, keyStart, keyEnd)
    return entry < this.count && this.#compareKey(entry, key, keyStart, keyEnd) === 0 ? entry : -1
  }

  #compareKey(entry: number, key: Bytes, keyStart: number, keyEnd: number): number {
    const word = this.#first + entry * ENTRY_WORDS
    const from = this.#start + this.#words[word]!
    const to = this.#start + (this.#words[word + 1]! >>> 1)
    return compareRanges(this.bytes, from, to, key, keyStart, keyEnd)
  }

  #writeTags(): void {
    const words = this.#words
    const start = this.#start
    let at = this.#tags
    let tags = 0
    for (let entry = 0; entry < this.count; entry++) {
      const word = this.#first + entry * ENTRY_WORDS
      const hash = hashKey(this.bytes, start + words[word]!, start + (words[word + 1]! >>> 1))
      const shift = (entry & 3) * 8
      tags |= tagOf(hash) << shift
      if (shift < 24 && entry + 1 < this.count) continue
      words[at++] = tags
      tags = 0
    }
    words[this.#tags - HEADER_WORDS + FLAGS_WORD]! |= HAS_TAGS
  }

  /** The words of the entries, and the high words of their distances. */
  #copyWords(into: Uint32Array, at: number, highsAt: number): void {
    const words = this.#words
    const first = this.#first
    const length = this.count * ENTRY_WORDS + 1
    for (let i = 0; i < length; i++) into[at + i] = words[first + i]!
    const highs = this.#highs
    if (highs > 0) for (let i = 0; i < this.count; i++) into[highsAt + i] = words[highs + i]!
  }
}

function tagWordsOf(count: number): number {
  return count > TAGGED_MAX ? 0 : (count + 3) >>> 2
}

function tagOf(hash: number): number {
  return hash & 255
}
