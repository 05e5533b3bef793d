import type { Env, File } from '../env/env.js'
import type { FileEncryptor } from '../env/file-cipher.js'
import { joinPath, segmentFileName } from '../env/file-names.js'
import { writeFully } from '../env/write-fully.js'
import { ioError } from '../errors.js'
import { KIND_DEL } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { type Bytes, cloneBytes, compareBytes, successor } from '../util/bytes.js'
import { CRC_RESIDUE } from '../util/crc.js'
import { shiftCrc } from '../util/crc-shift.js'
import { hashKey } from '../util/hash.js'
import { letGo } from '../util/let-go.js'
import { settleShape } from '../util/settle-shape.js'
import { isApart, readReference } from './blob-format.js'
import { BlobUses } from './blob-uses.js'
import { BlockBuilder } from './block-builder.js'
import { sectionSizeMax, writeSection } from './block-codec.js'
import { FilterBuilder } from './filter-builder.js'
import type { FilterColumn } from './filter-column.js'
import { IndexBuilder, separatorBetween } from './index-block.js'
import {
  encodeFooter,
  encodeProperties,
  encodeTombstones,
  FOOTER_BYTES,
  type SectionHandle,
} from './segment-format.js'
import type { SegmentMeta } from './segment-meta.js'

export interface SegmentBuilderOptions {
  readonly env: Env
  readonly directory: string
  readonly number: number
  readonly blockBytes: number
  readonly isCompressed: boolean
  /** At or below the position of every entry: what positions are counted from. */
  readonly basePosition: Position
  /** What the keys are noted in, beside the segment's own filter. */
  readonly column?: FilterColumn | undefined
}

/** File bytes gathered before one write(2). */
const WRITE_BYTES = 256 * 1024

/** Writes one segment from entries that come in order. Nothing is durable before `finish` returned. */
export class SegmentBuilder {
  readonly #options: SegmentBuilderOptions
  readonly #file: File
  readonly #index = new IndexBuilder()
  readonly #filter: FilterBuilder
  readonly #tombstones: RangeTombstone[] = []
  readonly #block: BlockBuilder
  readonly #encryptor: FileEncryptor | undefined
  /** File bytes gathered for the next write(2). */
  #pending: Buffer
  #pendingBytes = 0
  #fileBytes = 0
  #checksum = 0
  #firstKey: Buffer | undefined
  /** Of all blocks but the one that is being built. */
  #lastKey: Buffer | undefined
  /** The last key and size of a block whose separator needs the key after it. */
  #closedBlock: { readonly lastKey: Buffer; readonly sizeBytes: number } | undefined
  #entryCount = 0
  #delCount = 0
  #positionMin: Position = Number.MAX_SAFE_INTEGER
  #positionMax: Position = 0
  #keyBytes = 0
  #valueBytes = 0
  readonly #blobs = new BlobUses()

  constructor(options: SegmentBuilderOptions) {
    this.#options = options
    const path = joinPath(options.directory, segmentFileName(options.number))
    try {
      this.#file = options.env.fs.open(path, 'create')
    } catch (error) {
      throw ioError(error, 'creating', path)
    }
    this.#encryptor = options.env.vault?.encryptor('segment')
    this.#pending = Buffer.allocUnsafeSlow(WRITE_BYTES * 1.25)
    this.#filter = new FilterBuilder(options.column)
    this.#block = new BlockBuilder(options.basePosition, options.blockBytes)
  }

  /** Bytes written and about to be. */
  get sizeBytes(): number {
    return this.#fileBytes + this.#pendingBytes + this.#block.sizeBytes
  }

  get isEmpty(): boolean {
    return this.#entryCount === 0 && this.#tombstones.length === 0
  }

  // Hot: once an entry of every flush and compaction (bench/write.bench.js).
  /**
   * Entries come in the order of `EntryIterator`, which is the caller's to see to; `bytes` may change afterwards.
   * @param isNewKey whether the entry before has another key.
   */
  add(
    bytes: Bytes,
    keyStart: number,
    keyEnd: number,
    kind: number,
    position: Position,
    valueStart: number,
    valueEnd: number,
    isNewKey: boolean,
  ): void {
    if (isNewKey) {
      if (this.#block.sizeBytes >= this.#options.blockBytes) this.#closeBlock()
      if (this.#block.isEmpty) this.#startBlock(bytes, keyStart, keyEnd)
      this.#filter.add(hashKey(bytes, keyStart, keyEnd))
    }
    this.#block.add(bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd)
    this.#entryCount++
    if (kind === KIND_DEL) this.#delCount++
    this.#notePosition(position)
    this.#keyBytes += keyEnd - keyStart
    if (isApart(bytes, keyEnd, valueStart, valueEnd)) this.#noteApart(bytes, keyEnd)
    else this.#valueBytes += valueEnd - valueStart
  }

  addTombstone(tombstone: RangeTombstone): void {
    this.#tombstones.push(tombstone)
    this.#notePosition(tombstone.position)
  }

  /** Completes the file and makes its bytes durable; its name is not until the directory is synced. */
  finish(): SegmentMeta {
    this.#closeBlock()
    if (this.#closedBlock) this.#index.add(this.#closedBlock.lastKey, this.#closedBlock.sizeBytes)
    const properties = {
      entryCount: this.#entryCount,
      delCount: this.#delCount,
      rangeTombstoneCount: this.#tombstones.length,
      positionMin: this.isEmpty ? 0 : this.#positionMin,
      positionMax: this.#positionMax,
      keyBytes: this.#keyBytes,
      valueBytes: this.#valueBytes,
      blobs: this.#blobs.list(),
    }
    const tombstones = this.#append(encodeTombstones(this.#tombstones), false)
    const filter = this.#appendOwn(this.#filter.build(), false)
    const index = this.#appendOwn(this.#index.build(), this.#options.isCompressed)
    const propertiesHandle = this.#append(encodeProperties(properties), false)
    const footer = { tombstones, filter, index, properties: propertiesHandle }
    const sizeBytes = this.#fileBytes + this.#pendingBytes + FOOTER_BYTES
    this.#reserve(FOOTER_BYTES)
    this.#pending.set(encodeFooter(footer, sizeBytes), this.#pendingBytes)
    this.#pendingBytes += FOOTER_BYTES
    this.#noteChecked(FOOTER_BYTES)
    this.#writePending()
    letGo(this.#pending)
    this.#syncAndClose()
    const { number } = this.#options
    return { ...properties, number, sizeBytes, checksum: this.#checksum, range: this.#range() }
  }

  /** Gives the file up; its bytes are garbage that the caller removes. */
  abandon(): void {
    this.#file.close()
  }

  #startBlock(bytes: Bytes, keyStart: number, keyEnd: number): void {
    if (this.#closedBlock) {
      const next = bytes.subarray(keyStart, keyEnd)
      this.#index.add(separatorBetween(this.#closedBlock.lastKey, next), this.#closedBlock.sizeBytes)
      this.#closedBlock = undefined
    }
    // A copy, not a view: a view would keep the whole log memory alive for as long as the segment lives.
    this.#firstKey ??= cloneBytes(bytes, keyStart, keyEnd)
  }

  #notePosition(position: Position): void {
    if (position < this.#positionMin) this.#positionMin = position
    if (position > this.#positionMax) this.#positionMax = position
  }

  #noteApart(bytes: Bytes, keyEnd: number): void {
    const reference = readReference(bytes, keyEnd)
    this.#blobs.add(reference)
    this.#valueBytes += reference.valueBytes
  }

  #closeBlock(): void {
    if (this.#block.isEmpty) return
    const lastKey = this.#block.cloneLastKey()
    const { sizeBytes } = this.#append(this.#block.finish(), this.#options.isCompressed)
    this.#closedBlock = { lastKey, sizeBytes }
    this.#lastKey = lastKey
  }

  /** Appends a payload as a section. */
  #append(payload: Buffer, isCompressed: boolean): SectionHandle {
    if (this.#pendingBytes >= WRITE_BYTES) this.#writePending()
    this.#reserve(sectionSizeMax(payload.length))
    const start = this.#pendingBytes
    const offset = this.#fileBytes + start
    const place = this.#encryptor && { encryptor: this.#encryptor, offset }
    this.#pendingBytes = writeSection(payload, isCompressed, this.#pending, start, place)
    const sizeBytes = this.#pendingBytes - start
    this.#noteChecked(sizeBytes)
    return { offset, sizeBytes }
  }

  /** As `append`, of a payload that nobody else has. */
  #appendOwn(payload: Buffer, isCompressed: boolean): SectionHandle {
    const handle = this.#append(payload, isCompressed)
    letGo(payload)
    return handle
  }

  /** So many bytes follow that end with their own checksum: that of the file goes on without another look at them. */
  #noteChecked(sizeBytes: number): void {
    this.#checksum = (shiftCrc(this.#checksum, sizeBytes) ^ CRC_RESIDUE) >>> 0
  }

  #reserve(size: number): void {
    if (this.#pendingBytes + size <= this.#pending.length) return
    this.#writePending()
    if (size > this.#pending.length) this.#pending = Buffer.allocUnsafeSlow(size)
  }

  #writePending(): void {
    const bytes = this.#pending.subarray(0, this.#pendingBytes)
    writeFully(this.#file, bytes, this.#fileBytes)
    this.#fileBytes += bytes.length
    this.#pendingBytes = 0
    if (this.#pending.length > WRITE_BYTES * 4) this.#pending = Buffer.allocUnsafeSlow(WRITE_BYTES * 1.25)
  }

  #syncAndClose(): void {
    try {
      this.#file.sync()
      this.#file.close()
    } catch (error) {
      throw ioError(error, 'syncing', this.#file.path)
    }
  }

  #range(): SegmentMeta['range'] {
    let start: Bytes | undefined = this.#firstKey
    let end: Bytes | undefined = this.#lastKey && successor(this.#lastKey)
    let isUnbounded = false
    for (const tombstone of this.#tombstones) {
      if (!start || compareBytes(tombstone.start, start) < 0) start = tombstone.start
      if (!tombstone.end) isUnbounded = true
      else if (!end || compareBytes(tombstone.end, end) > 0) end = tombstone.end
    }
    return { start: start ?? Buffer.alloc(0), end: isUnbounded ? undefined : end }
  }
}

settleShape(() => new SegmentBuilder(undefined as never))
