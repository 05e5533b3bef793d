import { type EntryIterator, isOfKey } from '../iterator/entry-iterator.js'
import type { Position } from '../key/position.js'
import { type Bytes, copyBytes, EMPTY_BYTES } from '../util/bytes.js'
import { ownCopies, POOLED_MAX } from '../util/copy-pool.js'
import { Scratch } from '../util/scratch.js'
import { settleShape } from '../util/settle-shape.js'
import { Block, BlockScratch, EntryFields } from './block.js'
import type { BlockMemory } from './cursor-memory.js'
import type { ReadContext } from './read-context.js'
import type { SegmentReader } from './segment-reader.js'

/** File bytes that a scan reads at once after its first few blocks: twice as many each time, up to the most. */
const READ_AHEAD_FIRST = 8 * 1024
const READ_AHEAD_MAX = 128 * 1024
/** Blocks in a row after which it is a scan. */
const SCAN_AFTER_BLOCKS = 4

/** Copies of blocks up to this share memory, two of them. */
const PAIR_BYTES_MAX = 6 * 1024

/** Entries that are copied together at most: a few after a seek, then twice as many each time. */
const COPIED_MAX = 64
const COPIED_FIRST = 10

export interface SegmentIteratorOptions {
  /** Whether blocks that a scan loads go into the cache. If not, an entry is gone with the step after it. */
  readonly fillsCache: boolean
  /** Who looks at the blocks; left out: what was looked at stays as it is for good. */
  readonly memory?: BlockMemory | undefined
  /** Whether the first blocks, those before it is a scan, may be in `memory` alone. */
  readonly mayGlimpse?: boolean
}

/** Walks one segment. Holds one block, and in a scan the raw bytes of the next few. */
export class SegmentIterator implements EntryIterator {
  readonly positionMax: Position
  readonly #reader: SegmentReader
  readonly #context: ReadContext
  /** For the blocks of a scan that does not fill the cache. */
  readonly #scratch: BlockScratch | undefined
  #rawScratch: Scratch | undefined
  readonly #memory: BlockMemory | undefined
  /** Blocks that may be in `memory` alone, which has them until the cursor is closed, however many others follow. */
  #glimpsesLeft: number
  readonly #fields = new EntryFields()
  /** On the block, where that is in the cache. */
  readonly #view = new Block()
  #block: Block | undefined
  #blockNumber = -1
  #entry = 0
  #blocksInRow = 0
  /** For the blocks of a scan that the cache has no room for. */
  #ownScratch: BlockScratch | undefined
  /** Memory of the copies, used up to `#piecesAt`. */
  #pieces: Bytes = EMPTY_BYTES
  #piecesAt = 0
  /** Whether nobody else has the bytes of the block. */
  #isOwn = false
  /** The entries of the block before `#copiedTo`, from the one that was copied first on, stand in `#copied` too. */
  #copied: Bytes = EMPTY_BYTES
  #copiedTo = 0
  #copySize = COPIED_FIRST
  #raw: Buffer | undefined
  #rawFirst = 0
  #rawLast = -1
  #aheadBytes = READ_AHEAD_FIRST
  isValid = false
  bytes: Bytes = EMPTY_BYTES
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0
  ownShift = 0

  constructor(reader: SegmentReader, context: ReadContext, options: SegmentIteratorOptions) {
    this.#reader = reader
    this.#context = context
    this.#scratch = options.fillsCache ? undefined : new BlockScratch()
    this.#memory = options.memory
    this.#glimpsesLeft = options.mayGlimpse ? SCAN_AFTER_BLOCKS : 0
    this.positionMax = reader.properties.positionMax
  }

  seekToFirst(): void {
    this.#enter(0, 0)
  }

  seekToLast(): void {
    this.#enterAtEnd(this.#reader.index.count - 1)
  }

  seekGE(key: Bytes, atMost?: Position): void {
    this.#seekFirst(key)
    // Few: of the versions of a key segments keep what snapshots need.
    if (atMost === undefined) return
    while (this.isValid && this.position > atMost && isOfKey(this, key, 0, key.length)) this.next()
  }

  seekLT(key: Bytes): void {
    const number = this.#reader.index.find(key, 0, key.length)
    if (number === this.#reader.index.count) {
      this.seekToLast()
      return
    }
    const block = this.#seekBlock(number)
    const entry = block.lowerBound(key, 0, key.length)
    if (entry > 0) this.#standOn(block, entry - 1)
    else this.#enterAtEnd(number - 1)
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  next(): void {
    const entry = this.#entry + 1
    if (entry < this.#block!.count) this.#standOn(this.#block!, entry)
    else this.#enter(this.#blockNumber + 1, 0)
  }

  prev(): void {
    if (this.#entry > 0) this.#standOn(this.#block!, this.#entry - 1)
    else this.#enterAtEnd(this.#blockNumber - 1)
  }

  ownBytes(): Bytes | undefined {
    if (this.#isOwn) return this.bytes
    if (this.#entry >= this.#copiedTo && !this.#copyAhead()) return undefined
    return this.#copied
  }

  #seekFirst(key: Bytes): void {
    const number = this.#reader.index.find(key, 0, key.length)
    if (number === this.#reader.index.count) {
      this.isValid = false
      return
    }
    const block = this.#seekBlock(number)
    const entry = block.lowerBound(key, 0, key.length)
    if (entry < block.count) this.#standOn(block, entry)
    else this.#enter(number + 1, 0)
  }

  #enter(number: number, entry: number): void {
    if (number < 0 || number >= this.#reader.index.count) this.isValid = false
    else this.#standOn(this.#load(number), entry)
  }

  #enterAtEnd(number: number): void {
    if (number < 0) {
      this.isValid = false
      return
    }
    const block = this.#load(number)
    this.#standOn(block, block.count - 1)
  }

  #standOn(block: Block, entry: number): void {
    const fields = this.#fields
    block.read(entry, fields)
    this.#entry = entry
    this.isValid = true
    this.bytes = block.bytes
    this.keyStart = fields.keyStart
    this.keyEnd = fields.keyEnd
    this.kind = fields.kind
    this.position = fields.position
    this.valueStart = fields.valueStart
    this.valueEnd = fields.valueEnd
  }

  #seekBlock(number: number): Block {
    this.#blocksInRow = 0
    this.#aheadBytes = READ_AHEAD_FIRST
    this.#copiedTo = 0
    return number === this.#blockNumber ? this.#block! : this.#take(number, this.#look(number))
  }

  #load(number: number): Block {
    if (number === this.#blockNumber) return this.#block!
    this.#blocksInRow = number === this.#blockNumber + 1 ? this.#blocksInRow + 1 : 0
    const isScan = this.#blocksInRow >= SCAN_AFTER_BLOCKS
    const reader = this.#reader
    const isCached = reader.isCached(number)
    if (!isScan || isCached || (!this.#context.mayBlock && !reader.isQuick))
      return this.#take(number, this.#look(number))
    if (!this.#raw || number < this.#rawFirst || number > this.#rawLast) this.#readAhead(number)
    const raw = this.#raw!
    if (this.#scratch) return this.#take(number, reader.decodeRaw(raw, this.#rawFirst, number, this.#scratch))
    if (reader.cacheHasRoom)
      return this.#take(number, reader.keepRaw(raw, this.#rawFirst, number, this.#view, this.#memory))
    // The next one would push it out of the cache again: its bytes are given away instead.
    this.#ownScratch ??= new BlockScratch()
    return this.#take(number, reader.decodeOwn(raw, this.#rawFirst, number, this.#ownScratch), true)
  }

  #look(number: number): Block {
    const mayGlimpse = this.#glimpsesLeft > 0
    const block = this.#reader.block(number, this.#context, this.#view, this.#memory, mayGlimpse)
    if (mayGlimpse && block.isFleeting) this.#glimpsesLeft--
    return block
  }

  /** Copies the current entry and a few after it; false where it is too large to stand beside others. */
  #copyAhead(): boolean {
    const block = this.#block!
    const entry = this.#entry
    const start = this.keyStart
    if (this.#blocksInRow >= SCAN_AFTER_BLOCKS) {
      this.#copyRest(block, start)
      return true
    }
    let to = Math.min(entry + this.#copySize, block.count)
    while (to > entry + 1 && block.endOf(to - 1) - start > POOLED_MAX) to = (entry + 1 + to) >>> 1
    const end = block.endOf(to - 1)
    if (end - start > POOLED_MAX) return false
    const at = ownCopies.take(end - start)
    copyBytes(block.bytes, start, end, ownCopies.bytes, at)
    this.#copied = ownCopies.bytes
    this.#copiedTo = to
    this.#copySize = Math.min(this.#copySize * 2, COPIED_MAX)
    this.ownShift = at - start
    return true
  }

  #copyRest(block: Block, start: number): void {
    const end = block.endOf(block.count - 1)
    const size = end - start
    if (this.#piecesAt + size > this.#pieces.length) {
      // Half as many allocations, and what is kept of it keeps as much alive as a piece of Node's pool does.
      const isSmall = size <= PAIR_BYTES_MAX
      this.#pieces = Buffer.allocUnsafeSlow(isSmall ? size * 2 + (size >>> 3) : size)
      this.#piecesAt = 0
    }
    copyBytes(block.bytes, start, end, this.#pieces, this.#piecesAt)
    this.#copied = this.#pieces
    this.#copiedTo = block.count
    this.ownShift = this.#piecesAt - start
    this.#piecesAt += size
  }

  #take(number: number, block: Block, isOwn = false): Block {
    this.#block = block
    this.#blockNumber = number
    this.#isOwn = isOwn
    this.#copiedTo = 0
    this.ownShift = 0
    return block
  }

  #readAhead(first: number): void {
    const { index } = this.#reader
    const limit = index.offsetOf(first) + this.#aheadBytes
    this.#aheadBytes = Math.min(this.#aheadBytes * 2, READ_AHEAD_MAX)
    let last = first
    while (last + 1 < index.count && index.endOf(last + 1) <= limit) last++
    this.#rawScratch ??= new Scratch()
    this.#raw = this.#reader.readRaw(first, last, this.#rawScratch)
    this.#rawFirst = first
    this.#rawLast = last
  }
}

settleShape(() => new SegmentIterator(undefined as never, undefined as never, undefined as never))
