import type { RecentlyMissed } from '../cache/recently-missed.js'
import type { WeightedCache } from '../cache/weighted-cache.js'
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
import { Scratch } from '../util/scratch.js'
import type { BlobFiles } from './blob-files.js'
import { blobBytesOf } from './blob-uses.js'
import { Block, BlockScratch, EntryFields } from './block.js'
import { decodeSection } from './block-codec.js'
import { Filter } from './filter.js'
import type { GlimpseMemory } from './glimpses.js'
import { IndexBlock } from './index-block.js'
import { BlockNeeded, type BlockSource, type ReadContext } from './read-context.js'
import type { ReadPacer } from './read-pacer.js'
import {
  decodeFooter,
  decodeProperties,
  decodeTombstones,
  FOOTER_BYTES,
  type SectionHandle,
  type SegmentProperties,
} from './segment-format.js'
import type { SegmentMeta } from './segment-meta.js'

/** What segments share: where they are, who keeps their blocks, how they read. */
export interface SegmentHost {
  readonly env: Env
  readonly directory: string
  readonly cache: WeightedCache
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

/** Sections up to this are decompressed into memory that is used again, and copied from there once. */
const SCRATCH_SECTION_MAX = 64 * 1024
/** Segments have fewer blocks as a rule, so that numbers of blocks tell them apart. */
const BLOCK_NUMBERS = 2 ** 20
const plainScratch = new Scratch()
const fileScratch = new Scratch()
const pointScratch = new BlockScratch()
/** For point reads: until the next one. */
const POINT_GLIMPSE: GlimpseMemory = { take: () => pointScratch }

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
  readonly #blocks: (Block | undefined)[]
  readonly #fields = new EntryFields()
  #isClosed = false

  /** @throws VarveError `VARVE_CORRUPTION` if the file is not the one that `meta` describes, `VARVE_KEY`. */
  constructor(host: SegmentHost, meta: SegmentMeta) {
    this.meta = meta
    this.#host = host
    this.#file = openData(host.env, joinPath(host.directory, segmentFileName(meta.number)))
    this.#decryptor = host.env.vault?.decryptor('segment')
    try {
      const { path } = this.#file
      const sizeBytes = this.#file.sizeBytes()
      if (sizeBytes !== meta.sizeBytes)
        throw corruption(path, 0, `${sizeBytes} bytes instead of ${meta.sizeBytes}`)
      const footerBytes = Buffer.alloc(FOOTER_BYTES)
      readFully(this.#file, footerBytes, sizeBytes - FOOTER_BYTES)
      const footer = decodeFooter(footerBytes, path, sizeBytes)
      this.properties = decodeProperties(this.#section(footer.properties), path, footer.properties.offset)
      this.index = IndexBlock.parse(
        this.#section(footer.index),
        path,
        footer.index.offset,
        footer.tombstones.offset,
      )
      this.#filter = new Filter(this.#section(footer.filter), path, footer.filter.offset)
      this.tombstones = new RangeTombstones()
      for (const tombstone of decodeTombstones(
        this.#section(footer.tombstones),
        path,
        footer.tombstones.offset,
      )) {
        this.tombstones.add(tombstone)
      }
    } catch (error) {
      this.#file.close()
      throw error
    }
    this.#blocks = new Array(this.index.count).fill(undefined)
  }

  get path(): string {
    return this.#file.path
  }

  /** Bytes that stay in memory while the segment is open. */
  get tableBytes(): number {
    return this.index.sizeBytes + this.#filter.sizeBytes + this.#blocks.length * 8
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
    const glimpse = isBorrowed ? POINT_GLIMPSE : undefined
    const block = this.#inMemory(number, context, number) ?? this.#readOne(number, glimpse)
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
    return block.bytes
  }

  /**
   * A block from the cache or the file. May throw `BlockNeeded`.
   * @param glimpse where it may be read to if the cache has no place for it; left out: into memory of its own.
   */
  block(number: number, context: ReadContext, glimpse?: GlimpseMemory): Block {
    const last = Math.min(number + LOAD_AHEAD_BLOCKS, this.index.count) - 1
    return this.#inMemory(number, context, last) ?? this.#readOne(number, glimpse)
  }

  /**
   * A block that is in memory, or undefined if it may be read at once.
   * @throws BlockNeeded blocks up to `last`, where the disk is slow.
   */
  #inMemory(number: number, context: ReadContext, last: number): Block | undefined {
    const cached = this.#blocks[number]
    if (cached !== undefined) {
      cached.isTouched = true
      this.#host.blockReads.hits++
      return cached
    }
    this.#host.blockReads.misses++
    const loaded = context.loaded(this, number)
    if (!loaded && !context.mayBlock && !this.#host.pacer.isQuick) throw new BlockNeeded(this, number, last)
    return loaded
  }

  #readOne(number: number, glimpse: GlimpseMemory | undefined): Block {
    const { cache, missed } = this.#host
    const isLetGo = glimpse !== undefined && !cache.hasRoom && this.#sizeOf(number) <= SCRATCH_SECTION_MAX
    if (!isLetGo) return this.#keep(number, this.#readInto(fileScratch, number))
    if (!missed.note(this.meta.number * BLOCK_NUMBERS + number + 1)) {
      const scratch = glimpse.take()
      return this.#readInto(scratch.file, number, scratch)
    }
    const block = this.#readInto(fileScratch, number)
    // It came again: others that come once must not push it out.
    block.isTouched = true
    return this.#keep(number, block)
  }

  /** @param scratch for a block that lives until the next one there; left out: in memory of its own. */
  #readInto(file: Scratch, number: number, scratch?: BlockScratch): Block {
    const sizeBytes = this.#sizeOf(number)
    const bytes = sizeBytes <= SCRATCH_SECTION_MAX ? file.take(sizeBytes) : Buffer.allocUnsafeSlow(sizeBytes)
    this.#host.pacer.time(() => readFully(this.#file, bytes, this.index.offsetOf(number)))
    return this.#decode(bytes, 0, number, scratch)
  }

  #sizeOf(number: number): number {
    return this.index.endOf(number) - this.index.offsetOf(number)
  }

  /** Blocks [first, last] that are in the cache already, or undefined: a scan reads several at once then. */
  isCached(number: number): boolean {
    return this.#blocks[number] !== undefined
  }

  /** The file's bytes of the blocks [first, last], read at once. For scans and for compaction. */
  readRaw(first: number, last: number, scratch: Scratch): Buffer {
    const start = this.index.offsetOf(first)
    const bytes = scratch.take(this.index.endOf(last) - start)
    readFully(this.#file, bytes, start)
    return bytes
  }

  /** A block out of `readRaw(first, …)`: for the cache, or in `scratch` and alive as long as `raw`. */
  decodeRaw(raw: Buffer, first: number, number: number, scratch: BlockScratch | undefined): Block {
    const at = this.index.offsetOf(number) - this.index.offsetOf(first)
    if (scratch) return this.#decode(raw, at, number, scratch)
    return this.#keep(number, this.#decode(raw, at, number))
  }

  /** As `decodeRaw`, with bytes that nobody else has; the block itself lives until the next one in `scratch`. */
  decodeOwn(raw: Buffer, first: number, number: number, scratch: BlockScratch): Block {
    const at = this.index.offsetOf(number) - this.index.offsetOf(first)
    return this.#decode(raw, at, number, scratch, true)
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
      const cached = this.#blocks[number]
      blocks.set(
        number,
        cached ?? this.#keep(number, this.#decode(bytes, this.index.offsetOf(number) - start, number)),
      )
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
    for (const cached of this.#blocks) if (cached) this.#host.cache.remove(cached)
    this.#blocks.length = 0
    this.#file.close()
  }

  #keep(number: number, block: Block): Block {
    if (this.#isClosed) return block
    if (this.#host.cache.add(block) && block.slot >= 0) block.keepIn(this.#blocks, number)
    return block
  }

  #decode(bytes: Buffer, at: number, number: number, scratch?: BlockScratch, isOwn = false): Block {
    const offset = this.index.offsetOf(number)
    const sizeBytes = this.index.endOf(number) - offset
    const isCopied = !scratch && sizeBytes <= SCRATCH_SECTION_MAX
    const into = isCopied ? plainScratch : isOwn ? undefined : scratch?.bytes
    const payload = decodeSection(bytes, at, at + sizeBytes, this.path, offset, this.#decryptor, into)
    const block = Block.parse(payload, isCopied, scratch)
    if (!block) throw corruption(this.path, offset, 'a block that is not sound')
    block.read(0, this.#fields)
    const { range } = this.meta
    if (
      compareRanges(range.start, 0, range.start.length, payload, this.#fields.keyStart, this.#fields.keyEnd) >
      0
    ) {
      throw corruption(this.path, offset, 'a block of keys below those of the segment')
    }
    return block
  }

  #section(handle: SectionHandle): Buffer {
    const bytes = Buffer.allocUnsafe(handle.sizeBytes)
    readFully(this.#file, bytes, handle.offset)
    return decodeSection(bytes, 0, bytes.length, this.path, handle.offset, this.#decryptor)
  }
}
