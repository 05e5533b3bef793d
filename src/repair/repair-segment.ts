import { checksumOf } from '../compaction/file-checksum.js'
import { jobHost } from '../compaction/job-host.js'
import { verifySegment } from '../compaction/verify-segment.js'
import type { Env, File } from '../env/env.js'
import type { FileDecryptor } from '../env/file-cipher.js'
import { joinPath, segmentFileName } from '../env/file-names.js'
import { readFully } from '../env/write-fully.js'
import { ioError, VarveError } from '../errors.js'
import type { KeyRange } from '../key/key-range.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { Block, EntryFields } from '../segment/block.js'
import { decodeSection, ENCODING_MAX, SECTION_TRAILER_BYTES } from '../segment/block-codec.js'
import { IndexBlock } from '../segment/index-block.js'
import { SegmentBuilder } from '../segment/segment-builder.js'
import { decodeFooter, decodeTombstones, FOOTER_BYTES, type Footer } from '../segment/segment-format.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { SegmentReader } from '../segment/segment-reader.js'
import { type Bytes, cloneBytes, compareRanges } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import type { DamagedFile, RepairLoss } from './repair-report.js'
import { SoundValues } from './sound-values.js'

/** As the default of stores. */
const BLOCK_BYTES = 8192
/** How far beyond a place a block is looked for where the index cannot say. */
const SCAN_BLOCK_BYTES_MAX = 256 * 1024
/** The same after damage, where a block is looked for at every byte. */
const RESYNC_BLOCK_BYTES_MAX = 16 * 1024

/** A segment file that is read past damage. */
interface Source {
  readonly file: File
  readonly decryptor: FileDecryptor | undefined
}

export interface SavedSegment {
  /** Undefined if nothing in it could be saved. */
  readonly meta: SegmentMeta | undefined
  readonly lost: readonly RepairLoss[]
}

/** What is wrong with a segment that the manifest describes; undefined: nothing. */
export function* findSegmentDamage(
  env: Env,
  directory: string,
  segment: SegmentMeta,
): Generator<void, DamagedFile | undefined> {
  try {
    yield* verifySegment(env, { kind: 'verify', directory, segment })
    return undefined
  } catch (error) {
    return damageOf(error, joinPath(directory, segmentFileName(segment.number)))
  }
}

export function damageOf(error: unknown, file: string): DamagedFile {
  const failure = ioError(error, 'reading', file)
  // A disk that is full, a lock, or another key, is no damage to repair.
  if (failure.code === 'VARVE_NO_SPACE' || failure.code === 'VARVE_LOCKED' || failure.code === 'VARVE_KEY')
    throw failure
  const { offset, message } = failure
  return { file: failure.file ?? file, what: message, ...(offset === undefined ? {} : { offset }) }
}

/** What the manifest would say of a whole segment file, read from the file itself; undefined: it is damaged. */
export function* describeSegment(
  env: Env,
  directory: string,
  number: number,
): Generator<void, SegmentMeta | undefined> {
  const path = joinPath(directory, segmentFileName(number))
  try {
    const { sizeBytes, checksum } = yield* checksumOf(env, path)
    const bare = { number, sizeBytes, checksum, range: { start: Buffer.alloc(0), end: undefined } }
    const counts = {
      entryCount: 0,
      delCount: 0,
      rangeTombstoneCount: 0,
      keyBytes: 0,
      valueBytes: 0,
      blobs: [],
    }
    const reader = SegmentReader.open(jobHost(env, directory), {
      ...bare,
      ...counts,
      positionMin: 0,
      positionMax: 0,
    })
    const meta = { ...bare, ...reader.properties }
    reader.close()
    yield* verifySegment(env, { kind: 'verify', directory, segment: meta })
    return meta
  } catch (error) {
    if (error instanceof VarveError && error.code !== 'VARVE_KEY') return undefined
    throw error
  }
}

/**
 * Writes what is sound in a damaged segment as segment `target`. By the index where that is sound, else block by
 * block from the start, by their checksums.
 * @param range keys outside are not this segment's: what the manifest says of it; undefined: not known.
 */
export function* saveSegment(
  env: Env,
  directory: string,
  number: number,
  target: number,
  range: KeyRange | undefined,
): Generator<void, SavedSegment> {
  const path = joinPath(directory, segmentFileName(number))
  const lost: RepairLoss[] = []
  const whole = { file: path, kind: 'segment' as const, ...rangeOfLoss(range) }
  let file: File
  try {
    file = openFile(env, path)
  } catch {
    return { meta: undefined, lost: [whole] }
  }
  try {
    const sizeBytes = file.sizeBytes()
    const source = { file, decryptor: env.vault?.decryptor('segment') }
    const footer = attempt(() => readFooter(file, sizeBytes))
    const index = footer && attempt(() => readIndex(source, footer))
    const tombstones = footer && attempt(() => readTombstones(source, footer))
    if (!tombstones) lost.push({ ...whole, kind: 'tombstones' })
    const blocks = index ? blocksByIndex(source, index, lost) : blocksByScan(source, sizeBytes, lost)
    const meta = yield* writeBlocks(env, directory, target, blocks, tombstones ?? [], lost, range)
    return { meta, lost: meta ? lost : [whole] }
  } finally {
    file.close()
  }
}

function* writeBlocks(
  env: Env,
  directory: string,
  number: number,
  blocks: Generator<Block | undefined>,
  tombstones: readonly RangeTombstone[],
  lost: RepairLoss[],
  range: KeyRange | undefined,
): Generator<void, SegmentMeta | undefined> {
  const options = { env, directory, number, blockBytes: BLOCK_BYTES, isCompressed: true, basePosition: 0 }
  const builder = new SegmentBuilder(options)
  const values = new SoundValues(env, directory)
  try {
    const writer = new OrderedWriter(builder, values, range)
    for (const block of blocks) {
      if (block && !writer.add(block))
        lost.push({ file: joinPath(directory, segmentFileName(number)), kind: 'block' })
      yield
    }
    lost.push(...values.lost)
    for (const tombstone of tombstones) builder.addTombstone(tombstone)
    if (builder.isEmpty) {
      builder.abandon()
      env.fs.remove(joinPath(directory, segmentFileName(number)))
      return undefined
    }
    return builder.finish()
  } catch (error) {
    builder.abandon()
    throw error
  } finally {
    values.close()
  }
}

/** Takes entries only in their order: a block that was misdirected, or is there twice, has a right checksum too. */
class OrderedWriter {
  readonly #builder: SegmentBuilder
  readonly #values: SoundValues
  readonly #range: KeyRange | undefined
  readonly #fields = new EntryFields()
  #lastKey: Bytes | undefined
  #lastPosition = 0
  /** Whether the builder has an entry of the last key. */
  #isKeyOpen = false

  constructor(builder: SegmentBuilder, values: SoundValues, range: KeyRange | undefined) {
    this.#builder = builder
    this.#values = values
    this.#range = range
  }

  /** False if an entry of the block had to be left out. */
  add(block: Block): boolean {
    const fields = this.#fields
    let isWhole = true
    for (let entry = 0; entry < block.count; entry++) {
      block.read(entry, fields)
      const { bytes } = block
      if (!this.#fits(bytes, fields)) {
        isWhole = false
        continue
      }
      const { keyStart, keyEnd, kind, position, valueStart, valueEnd } = fields
      if (this.#order(bytes, fields) !== 0) this.#isKeyOpen = false
      if (this.#values.isSound(bytes, fields)) {
        const isNewKey = !this.#isKeyOpen
        this.#builder.add(bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd, isNewKey)
        this.#isKeyOpen = true
      }
      this.#lastKey = cloneBytes(bytes, keyStart, keyEnd)
      this.#lastPosition = position
    }
    return isWhole
  }

  #fits(bytes: Bytes, fields: EntryFields): boolean {
    if (this.#range && compareKey(this.#range.start, bytes, fields) > 0) return false
    if (this.#range?.end && compareKey(this.#range.end, bytes, fields) <= 0) return false
    const order = this.#order(bytes, fields)
    return order < 0 || (order === 0 && fields.position < this.#lastPosition)
  }

  /** Of the last key and that of the entry. */
  #order(bytes: Bytes, fields: EntryFields): number {
    return this.#lastKey ? compareKey(this.#lastKey, bytes, fields) : -1
  }
}

function compareKey(key: Bytes, bytes: Bytes, { keyStart, keyEnd }: EntryFields): number {
  return compareRanges(key, 0, key.length, bytes, keyStart, keyEnd)
}

/** Undefined for each block that is damaged. */
function* blocksByIndex(source: Source, index: IndexBlock, lost: RepairLoss[]): Generator<Block | undefined> {
  for (let number = 0; number < index.count; number++) {
    const start = index.offsetOf(number)
    const sizeBytes = index.endOf(number) - start
    const block = attempt(() => readBlock(source, start, sizeBytes))
    if (!block) {
      const after = number === 0 ? undefined : index.separatorOf(number - 1)
      const upTo = index.separatorOf(number)
      lost.push({ file: source.file.path, kind: 'block', ...(after ? { after } : {}), upTo, sizeBytes })
    }
    yield block
  }
}

/** Blocks one after another, each found by a checksum that fits; what fits nowhere is stepped over. */
function* blocksByScan(source: Source, sizeBytes: number, lost: RepairLoss[]): Generator<Block | undefined> {
  const { file } = source
  let skipped = 0
  let isLost = false
  for (let at = 0; at + SECTION_TRAILER_BYTES < sizeBytes; ) {
    const windowMax = isLost ? RESYNC_BLOCK_BYTES_MAX : SCAN_BLOCK_BYTES_MAX
    const window = Buffer.allocUnsafeSlow(Math.min(windowMax, sizeBytes - at))
    readFully(file, window, at)
    const found = findSection(window, source, at)
    isLost = !found
    if (!found) {
      skipped++
      at++
      yield undefined
      continue
    }
    // Sections that are no blocks are the index and its like: not keys, but not lost keys either.
    yield found.block
    at += found.sizeBytes
  }
  if (skipped > FOOTER_BYTES) lost.push({ file: file.path, kind: 'block', sizeBytes: skipped - FOOTER_BYTES })
}

function findSection(
  window: Buffer,
  { file, decryptor }: Source,
  offset: number,
): { block: Block | undefined; sizeBytes: number } | undefined {
  let crc = 0
  let crcEnd = 0
  for (let body = 0; body + SECTION_TRAILER_BYTES <= window.length; body++) {
    if (window[body]! > ENCODING_MAX) continue
    crc = crc32(window, crcEnd, body + 1, crc)
    crcEnd = body + 1
    if (crc !== window.readUInt32LE(body + 1)) continue
    const sizeBytes = body + SECTION_TRAILER_BYTES
    const payload = attempt(() => decodeSection(window, 0, sizeBytes, file.path, offset, decryptor))
    return { block: payload && Block.parse(payload), sizeBytes }
  }
  return undefined
}

function readFooter(file: File, sizeBytes: number): Footer {
  const bytes = Buffer.alloc(FOOTER_BYTES)
  readFully(file, bytes, Math.max(0, sizeBytes - FOOTER_BYTES))
  return decodeFooter(bytes, file.path, sizeBytes)
}

function readIndex(source: Source, footer: Footer): IndexBlock {
  const payload = readPayload(source, footer.index.offset, footer.index.sizeBytes)
  return IndexBlock.parse(payload, source.file.path, footer.index.offset, footer.tombstones.offset)
}

function readTombstones(source: Source, { tombstones: { offset, sizeBytes } }: Footer): RangeTombstone[] {
  return decodeTombstones(readPayload(source, offset, sizeBytes), source.file.path, offset)
}

function readBlock(source: Source, start: number, sizeBytes: number): Block | undefined {
  return Block.parse(readPayload(source, start, sizeBytes))
}

function readPayload({ file, decryptor }: Source, offset: number, sizeBytes: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(sizeBytes)
  readFully(file, bytes, offset)
  return decodeSection(bytes, 0, sizeBytes, file.path, offset, decryptor)
}

function openFile(env: Env, path: string): File {
  try {
    return env.fs.open(path, 'read')
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}

/** Undefined where the bytes are damaged. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    // Also where they only look like a section: the key was found to be right where it is known what they are.
    if (error instanceof VarveError) return undefined
    throw error
  }
}

function rangeOfLoss(range: KeyRange | undefined): { after?: Bytes; upTo?: Bytes } {
  if (!range) return {}
  return { after: range.start, ...(range.end ? { upTo: range.end } : {}) }
}
