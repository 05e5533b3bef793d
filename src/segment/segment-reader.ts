import type { BlockCache } from '../cache/block-cache.js'
import type { RecentlyMissed } from '../cache/recently-missed.js'
import type { Env, File } from '../env/env.js'
import type { FileDecryptor } from '../env/file-cipher.js'
import { joinPath, segmentFileName } from '../env/file-names.js'
import { openData } from '../env/open-data.js'
import { readFully, readFullyAsync } from '../env/write-fully.js'
import { corruption } from '../errors.js'
import type { Position } from '../key/position.js'
import { RangeTombstones } from '../key/range-tombstones.js'
import type { Bytes } from '../util/bytes.js'
import { compareRanges, equalRange } from '../util/bytes.js'
import type { Scratch } from '../util/scratch.js'
import type { BlobFiles } from './blob-files.js'
import { blobBytesOf } from './blob-uses.js'
import { Block, BlockScratch, EntryFields } from './block.js'
import { decodeSection } from './block-codec.js'
import { IN_PLACE } from './compression.js'
import type { BlockMemory } from './cursor-memory.js'
import { Filter } from './filter.js'
import { IndexBlock } from './index-block.js'
import { BlockNeeded, type BlockSource, type ReadContext } from './read-context.js'
import type { ReadPacer } from './read-pacer.js'
import {
  decodeFooter,
  decodeProperties,
  decodeTombstones,
  FOOTER_BYTES,
  type Footer,
  type SectionHandle,
  type SegmentProperties,
} from './segment-format.js'
import type { SegmentMeta } from './segment-meta.js'

/** What segments share: where they are, who keeps their blocks, how they read. */
export interface SegmentHost {
  readonly env: Env
  readonly directory: string
  readonly cache: BlockCache
  /** Blocks that point reads missed, while the cache is full. */
  readonly missed: RecentlyMissed
  readonly pacer: ReadPacer
  /** The values that stand apart. */
  readonly blobs: BlobFiles
  /** How often a block was in the cache, or not. */
  readonly blockReads: { hits: number; misses: number }
}

/** Blocks that a slow disk is asked for at once when a scan runs out. */
const LOAD_AHEAD_BLOCKS = 16

/** Sections up to this are read into memory that is used again, and copied from there once. */
const SCRATCH_SECTION_MAX = 64 * 1024
/** Segments have fewer blocks as a rule, so that numbers of blocks tell them apart. */
const BLOCK_NUMBERS = 2 ** 20
/** For blocks that are on their way to the cache, or to memory of their own, before another one is unpacked. */
const loadScratch = new BlockScratch(IN_PLACE)
/** Before another one is unpacked the value is copied. */
const pointScratch = new BlockScratch(IN_PLACE)
const pointView = new Block()
/** Borrows what is never given back. */
const FOR_GOOD = {}
/** For point reads: until the next one, or until any block is unpacked. */
const POINT_MEMORY: BlockMemory = { take: () => pointScratch, borrow: () => undefined }

/** What of a segment stays in memory. */
interface Tables {
  readonly properties: SegmentProperties
  readonly index: IndexBlock
  readonly filter: Filter
  readonly tombstones: RangeTombstones
}

/** Reads one segment. Index, filter and range tombstones stay in memory; data blocks come through the cache. */
export class SegmentReader implements BlockSource<Block> {
  readonly meta: SegmentMeta
  readonly properties: SegmentProperties
  readonly tombstones: RangeTombstones
  readonly index: IndexBlock
  readonly #filter: Filter
  readonly #host: SegmentHost
  readonly #file: File
  readonly #decryptor: FileDecryptor | undefined
  /** Where each block is in the cache; 0: it is not. */
  readonly #places: Uint32Array
  readonly #owner: number
  readonly #fields = new EntryFields()
  #isClosed = false

  /** @throws VarveError `VARVE_CORRUPTION` if the file is not the one that `meta` describes, `VARVE_KEY`. */
  static open(host: SegmentHost, meta: SegmentMeta): SegmentReader {
    const opening = SegmentReader.openInSteps(host, meta)
    for (;;) {
      const { done, value } = opening.next()
      if (done) return value
    }
  }

  /** As `open`, with places where others may have their turn: index and filter are a megabyte, and new to the compiler. */
  static *openInSteps(host: SegmentHost, meta: SegmentMeta): Generator<void, SegmentReader> {
    const file = openData(host.env, joinPath(host.directory, segmentFileName(meta.number)))
    let reader: SegmentReader | undefined
    try {
      const decryptor = host.env.vault?.decryptor('segment')
      const tables = yield* readTables(file, meta, decryptor)
      reader = new SegmentReader(host, meta, file, decryptor, tables)
      return reader
    } finally {
      if (!reader) file.close()
    }
  }

  private constructor(
    host: SegmentHost,
    meta: SegmentMeta,
    file: File,
    decryptor: FileDecryptor | undefined,
    { properties, index, filter, tombstones }: Tables,
  ) {
    this.meta = meta
    this.#host = host
    this.#file = file
    this.#decryptor = decryptor
    this.properties = properties
    this.index = index
    this.#filter = filter
    this.tombstones = tombstones
    this.#places = new Uint32Array(index.count)
    this.#owner = host.cache.register(this.#places)
  }

  get path(): string {
    return this.#file.path
  }

  /** Bytes that stay in memory while the segment is open. */
  get tableBytes(): number {
    return this.index.sizeBytes + this.#filter.sizeBytes + this.#places.byteLength
  }

  // Hot: every point read that the memtables don't answer (bench/read.bench.js).
  /**
   * The newest entry of the key at or below `atMost`, in `fields`; returns the bytes that hold it, or undefined.
   * May throw `BlockNeeded`.
   * @param isBorrowed whether the bytes need to live until the next call only.
   */
  find(
    key: Bytes,
    keyStart: number,
    keyEnd: number,
    hash: number,
    atMost: Position,
    context: ReadContext,
    fields: EntryFields,
    isBorrowed: boolean,
  ): Bytes | undefined {
    if (!this.#filter.mayHold(hash)) return undefined
    const number = this.index.find(key, keyStart, keyEnd)
    if (number === this.index.count) return undefined
    const memory = isBorrowed ? POINT_MEMORY : undefined
    const block =
      this.#inMemory(number, context, number, pointView) ?? this.#readOne(number, pointView, memory)
    let entry = block.find(key, keyStart, keyEnd, hash)
    if (entry < 0) return undefined
    fields.isFleeting = block.isFleeting
    block.read(entry, fields)
    while (fields.position > atMost) {
      if (++entry === block.count) return undefined
      block.read(entry, fields)
      const length = fields.keyEnd - fields.keyStart
      if (length !== keyEnd - keyStart || !equalRange(block.bytes, fields.keyStart, key, keyStart, length)) {
        return undefined
      }
    }
    return isBorrowed ? block.bytes : fields.cloneEntry(block.bytes)
  }

  /**
   * A block from the cache or the file. May throw `BlockNeeded`.
   * @param view what is placed on it, if it is in the cache.
   * @param memory who looks at it; left out: what was looked at stays as it is for good.
   * @param isGlimpse whether it may be read to where only `memory` has it, if the cache has no place for it.
   */
  block(number: number, context: ReadContext, view: Block, memory?: BlockMemory, isGlimpse = false): Block {
    const last = Math.min(number + LOAD_AHEAD_BLOCKS, this.index.count) - 1
    const block =
      this.#inMemory(number, context, last, view) ??
      this.#readOne(number, view, isGlimpse ? memory : undefined)
    if (block === view) this.#borrow(number, memory)
    return block
  }

  #borrow(number: number, memory: BlockMemory | undefined): void {
    const region = this.#host.cache.regionOf(this.#places[number]!)
    if (memory) memory.borrow(region)
    else region.borrow(FOR_GOOD)
  }

  /**
   * A block that is in memory, or undefined if it may be read at once.
   * @throws BlockNeeded blocks up to `last`, where the disk is slow.
   */
  #inMemory(number: number, context: ReadContext, last: number, view: Block): Block | undefined {
    const place = this.#places[number]!
    const { cache, blockReads, pacer } = this.#host
    if (place !== 0) {
      const region = cache.regionOf(place)
      const at = cache.payloadAt(place)
      cache.touch(region, at)
      view.placeIn(region, at)
      blockReads.hits++
      return view
    }
    blockReads.misses++
    const loaded = context.loaded(this, number)
    if (!loaded && !context.mayBlock && !pacer.isQuick) throw new BlockNeeded(this, number, last)
    return loaded
  }

  #readOne(number: number, view: Block, glimpse: BlockMemory | undefined): Block {
    const { cache, missed } = this.#host
    const isLetGo = glimpse !== undefined && !cache.hasRoom && this.#sizeOf(number) <= SCRATCH_SECTION_MAX
    if (!isLetGo) return this.#load(number, view)
    if (!missed.note(this.meta.number * BLOCK_NUMBERS + number + 1)) {
      cache.onLack?.()
      const scratch = glimpse.take()
      return this.#decode(this.#readInto(scratch.file.take(this.#sizeOf(number)), number), 0, number, scratch)
    }
    const block = this.#load(number, view)
    // It came again: others that come once must not push it out.
    const place = this.#places[number]!
    if (place !== 0) cache.touch(cache.regionOf(place), cache.payloadAt(place))
    return block
  }

  /** Reads a block for the cache: `view` there, or where it has no room for it, one in memory of its own. */
  #load(number: number, view: Block): Block {
    const sizeBytes = this.#sizeOf(number)
    const isSmall = sizeBytes <= SCRATCH_SECTION_MAX
    const bytes = isSmall ? loadScratch.file.take(sizeBytes) : Buffer.allocUnsafeSlow(sizeBytes)
    return this.#keep(number, this.#decodeForCache(this.#readInto(bytes, number), 0, number), view)
  }

  #readInto(bytes: Buffer, number: number): Buffer {
    this.#host.pacer.time(() => readFully(this.#file, bytes, this.index.offsetOf(number)))
    return bytes
  }

  #sizeOf(number: number): number {
    return this.index.endOf(number) - this.index.offsetOf(number)
  }

  /** Whether a block is in the cache: a scan reads several at once if not. */
  isCached(number: number): boolean {
    return this.#places[number] !== 0
  }

  /** The file's bytes of the blocks [first, last], read at once. For scans and for compaction. */
  readRaw(first: number, last: number, scratch: Scratch): Buffer {
    const start = this.index.offsetOf(first)
    const bytes = scratch.take(this.index.endOf(last) - start)
    readFully(this.#file, bytes, start)
    return bytes
  }

  /** A block out of `readRaw(first, …)`, in `scratch` and alive as long as `raw`. */
  decodeRaw(raw: Buffer, first: number, number: number, scratch: BlockScratch): Block {
    return this.#decode(raw, this.index.offsetOf(number) - this.index.offsetOf(first), number, scratch)
  }

  /** As `decodeRaw`, with bytes that nobody else has; the block itself lives until the next one in `scratch`. */
  decodeOwn(raw: Buffer, first: number, number: number, scratch: BlockScratch): Block {
    return this.#decode(raw, this.index.offsetOf(number) - this.index.offsetOf(first), number, scratch, true)
  }

  /** A block out of `readRaw(first, …)` that goes into the cache, as by `block`. */
  keepRaw(raw: Buffer, first: number, number: number, view: Block, memory?: BlockMemory): Block {
    const at = this.index.offsetOf(number) - this.index.offsetOf(first)
    const block = this.#keep(number, this.#decodeForCache(raw, at, number), view)
    if (block === view) this.#borrow(number, memory)
    return block
  }

  /** Whether the cache takes a block without letting go of another. */
  get cacheHasRoom(): boolean {
    return this.#host.cache.hasRoom
  }

  /** Whether a synchronous read would be welcome now. */
  get isQuick(): boolean {
    return this.#host.pacer.isQuick
  }

  async loadAsync(first: number, last: number): Promise<Map<number, Block>> {
    const start = this.index.offsetOf(first)
    const bytes = Buffer.allocUnsafeSlow(this.index.endOf(last) - start)
    await readFullyAsync(this.#file, bytes, start)
    const blocks = new Map<number, Block>()
    for (let number = first; number <= last; number++) {
      const block = this.#decodeForCache(bytes, this.index.offsetOf(number) - start, number)
      if (!this.#isClosed && this.#places[number] === 0)
        block.keepIn(this.#host.cache, this.#owner, number, pointView)
      blocks.set(number, asOwn(block))
    }
    return blocks
  }

  /** Entries' bytes between two keys, by the index alone: as exact as a block. Values that stand apart count evenly. */
  approximateSize(start: Bytes, end: Bytes | undefined): number {
    const first = this.index.find(start, 0, start.length)
    const last = end ? this.index.find(end, 0, end.length) : this.index.count
    const fileBytes = this.index.count === 0 ? 0 : this.index.endOf(this.index.count - 1)
    const from = first === this.index.count ? fileBytes : this.index.offsetOf(first)
    const bytes = (last === this.index.count ? fileBytes : this.index.endOf(last)) - from
    const apartBytes = blobBytesOf(this.meta)
    return apartBytes === 0 ? bytes : Math.round(bytes * (1 + apartBytes / fileBytes))
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#host.cache.release(this.#owner)
    this.#file.close()
  }

  #keep(number: number, block: Block, view: Block): Block {
    const isKept = !this.#isClosed && block.keepIn(this.#host.cache, this.#owner, number, view)
    return isKept ? view : asOwn(block)
  }

  #decodeForCache(bytes: Buffer, at: number, number: number): Block {
    const isSmall = this.#sizeOf(number) <= SCRATCH_SECTION_MAX
    return this.#decode(bytes, at, number, isSmall ? loadScratch : undefined)
  }

  /**
   * @param scratch where the block goes, which keeps `bytes` if it may; left out: into memory of its own.
   * @param isOwn whether its bytes, at least, get memory of their own.
   */
  #decode(
    bytes: Buffer,
    at: number,
    number: number,
    scratch?: BlockScratch,
    isOwn = scratch === undefined,
  ): Block {
    const offset = this.index.offsetOf(number)
    const sizeBytes = this.index.endOf(number) - offset
    const into = isOwn ? undefined : scratch?.bytes
    const payload = decodeSection(bytes, at, at + sizeBytes, this.path, offset, this.#decryptor, into)
    const block = Block.parse(payload, scratch)
    if (!block) throw corruption(this.path, offset, 'a block that is not sound')
    block.read(0, this.#fields)
    const { keyStart, keyEnd } = this.#fields
    // The right bytes of another place have a right checksum too.
    if (!this.#mayStartWith(number, payload, keyStart, keyEnd))
      throw corruption(this.path, offset, 'a block of keys of another one')
    return block
  }

  #mayStartWith(number: number, bytes: Bytes, keyStart: number, keyEnd: number): boolean {
    if (number > 0) return this.index.mayStartWith(number, bytes, keyStart, keyEnd)
    const { start } = this.meta.range
    return (
      compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) <= 0 &&
      this.index.mayStartWith(0, bytes, keyStart, keyEnd)
    )
  }
}

/** The same block, for good. */
function asOwn(block: Block): Block {
  return block === loadScratch.block ? block.clone() : block
}

function* readTables(
  file: File,
  meta: SegmentMeta,
  decryptor: FileDecryptor | undefined,
): Generator<void, Tables> {
  const { path } = file
  const footer = readFooter(file, meta)
  const section = (handle: SectionHandle) => readSection(file, handle, decryptor)
  const properties = decodeProperties(section(footer.properties), path, footer.properties.offset)
  const tombstones = new RangeTombstones()
  const { offset } = footer.tombstones
  for (const each of decodeTombstones(section(footer.tombstones), path, offset)) tombstones.add(each)
  yield
  const payload = section(footer.index)
  yield
  const index = yield* IndexBlock.parseInSteps(payload, path, footer.index.offset, offset)
  yield
  const filter = new Filter(section(footer.filter), path, footer.filter.offset)
  yield
  return { properties, index, filter, tombstones }
}

function readFooter(file: File, meta: SegmentMeta): Footer {
  const sizeBytes = file.sizeBytes()
  if (sizeBytes !== meta.sizeBytes)
    throw corruption(file.path, 0, `${sizeBytes} bytes instead of ${meta.sizeBytes}`)
  const bytes = Buffer.alloc(FOOTER_BYTES)
  readFully(file, bytes, sizeBytes - FOOTER_BYTES)
  return decodeFooter(bytes, file.path, sizeBytes)
}

function readSection(file: File, handle: SectionHandle, decryptor: FileDecryptor | undefined): Buffer {
  const bytes = Buffer.allocUnsafe(handle.sizeBytes)
  readFully(file, bytes, handle.offset)
  return decodeSection(bytes, 0, bytes.length, file.path, handle.offset, decryptor)
}
