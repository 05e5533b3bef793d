/**
 * Segment files: sorted, immutable.
 *
 *   segment := data block* | tombstones | filter | index | properties | footer
 *   footer  := magic:8 | version:u32 | fileBytes:u64 | (offset:u64 | sizeBytes:u32) × 4 | crc:u32       72 bytes
 *
 * `properties` are numbers, one after another, and after them how much of which blob file the segment refers to.
 * Every part but the footer is a section (`block-codec.ts`): checksummed, data blocks compressed where it gains,
 * encrypted where the store is. The footer never is.
 * Entries are in the order of `EntryIterator`; all entries of one key stand in one block.
 * Source: LevelDB's table_format.md; differs in leaving out restarts and prefix compression, which LZ4 replaces.
 */
import { corruption, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { type Bytes, cloneBytes, readU32, readU64, writeU32, writeU64 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'

const MAGIC = Buffer.from('VARVESEG')
export const SEGMENT_FORMAT_VERSION = 1
export const FOOTER_BYTES = 72

export interface SectionHandle {
  readonly offset: number
  readonly sizeBytes: number
}

export interface Footer {
  readonly tombstones: SectionHandle
  readonly filter: SectionHandle
  readonly index: SectionHandle
  readonly properties: SectionHandle
}

const SECTIONS = ['tombstones', 'filter', 'index', 'properties'] as const

/** How much of a blob file a segment refers to. */
export interface BlobUse {
  readonly blobId: number
  /** Values, the bytes of their sections, and their own. */
  readonly count: number
  readonly sizeBytes: number
  readonly valueBytes: number
}

export interface SegmentProperties {
  readonly entryCount: number
  /** Entries that delete. */
  readonly delCount: number
  readonly rangeTombstoneCount: number
  readonly positionMin: Position
  readonly positionMax: Position
  readonly keyBytes: number
  /** Those that stand apart included. */
  readonly valueBytes: number
  /** By ascending id. */
  readonly blobs: readonly BlobUse[]
}

const PROPERTY_NAMES = [
  'entryCount',
  'delCount',
  'rangeTombstoneCount',
  'positionMin',
  'positionMax',
  'keyBytes',
  'valueBytes',
] as const

export function encodeFooter(footer: Footer, fileBytes: number): Buffer {
  const bytes = Buffer.alloc(FOOTER_BYTES)
  bytes.set(MAGIC)
  writeU32(bytes, 8, SEGMENT_FORMAT_VERSION)
  writeU64(bytes, 12, fileBytes)
  SECTIONS.forEach((name, i) => {
    writeU64(bytes, 20 + i * 12, footer[name].offset)
    writeU32(bytes, 28 + i * 12, footer[name].sizeBytes)
  })
  writeU32(bytes, FOOTER_BYTES - 4, crc32(bytes, 0, FOOTER_BYTES - 4))
  return bytes
}

export function decodeFooter(bytes: Bytes, file: string, fileBytes: number): Footer {
  const offset = fileBytes - FOOTER_BYTES
  if (readU32(bytes, FOOTER_BYTES - 4) !== crc32(bytes, 0, FOOTER_BYTES - 4)) {
    throw corruption(file, offset, 'footer checksum mismatch')
  }
  if (MAGIC.compare(bytes, 0, MAGIC.length) !== 0) throw corruption(file, offset, 'not a segment file')
  const version = readU32(bytes, 8)
  if (version !== SEGMENT_FORMAT_VERSION) {
    throw new VarveError('VARVE_FORMAT_VERSION', `${file}: segment format ${version}`, { file })
  }
  if (readU64(bytes, 12) !== fileBytes)
    throw corruption(file, offset, 'the file is not as long as it was written')
  const handles = SECTIONS.map((_, i) => ({
    offset: readU64(bytes, 20 + i * 12),
    sizeBytes: readU32(bytes, 28 + i * 12),
  }))
  let end = handles[0]!.offset
  for (const handle of handles) {
    if (handle.offset !== end) throw corruption(file, offset, 'sections that do not follow one another')
    end = handle.offset + handle.sizeBytes
  }
  if (end !== offset) throw corruption(file, offset, 'sections that do not reach the footer')
  const [tombstones, filter, index, properties] = handles as [
    SectionHandle,
    SectionHandle,
    SectionHandle,
    SectionHandle,
  ]
  return { tombstones, filter, index, properties }
}

export function encodeProperties(properties: SegmentProperties): Buffer {
  const writer = new ByteWriter()
  for (const name of PROPERTY_NAMES) writer.varint(properties[name])
  for (const use of properties.blobs) writeBlobUse(writer, use)
  return cloneBytes(writer.view())
}

export function decodeProperties(payload: Bytes, file: string, offset: number): SegmentProperties {
  const reader = new ByteReader(payload, file, offset)
  const values = PROPERTY_NAMES.map((name) => [name, reader.varint()] as const)
  const blobs: BlobUse[] = []
  while (reader.remaining > 0) blobs.push(readBlobUse(reader))
  return { ...(Object.fromEntries(values) as unknown as Omit<SegmentProperties, 'blobs'>), blobs }
}

export function writeBlobUse(writer: ByteWriter, { blobId, count, sizeBytes, valueBytes }: BlobUse): void {
  writer.varint(blobId).varint(count).varint(sizeBytes).varint(valueBytes)
}

export function readBlobUse(reader: ByteReader): BlobUse {
  const [blobId, count, sizeBytes] = [reader.varint(), reader.varint(), reader.varint()]
  return { blobId, count, sizeBytes, valueBytes: reader.varint() }
}

/** tombstones := (start:bytes | hasEnd:u8 | end:bytes? | position:varint)* */
export function encodeTombstones(tombstones: readonly RangeTombstone[]): Buffer {
  const writer = new ByteWriter()
  for (const { start, end, position } of tombstones) {
    writer.bytes(start).u8(end ? 1 : 0)
    if (end) writer.bytes(end)
    writer.varint(position)
  }
  return cloneBytes(writer.view())
}

export function decodeTombstones(payload: Bytes, file: string, offset: number): RangeTombstone[] {
  const reader = new ByteReader(payload, file, offset)
  const tombstones: RangeTombstone[] = []
  while (reader.remaining > 0) {
    const start = reader.bytes()
    const end = reader.u8() === 1 ? reader.bytes() : undefined
    tombstones.push({ start, end, position: reader.varint() })
  }
  return tombstones
}
