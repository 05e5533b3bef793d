/**
 * One record of the manifest: a version edit as tagged fields.
 *
 *   edit  := field*
 *   field := tag:u8 | value        1 added: level | meta      2 removed: number      3 flushedPosition
 *                                  4 logNumber                5 nextFileNumber       6 durablePosition
 *                                  7 flushedBytes             8 compactedBytes
 *                                  9 cursor: name:bytes | state:bytes
 *                                  20 lineage: bytes          21 leader: text
 *                                  22 fencedEpoch             23 flushedChecksum
 *                                  24 firstLogNumber
 *                                 12 tombstoneHorizon
 *                                 13 blob file: id | sizeBytes | checksum
 *                                 14 of the segment added last: blobId | count | sizeBytes | valueBytes
 *                                 40 keyEncoding: text       41 valueEncoding: text
 *   meta  := number | sizeBytes | checksum | range | entryCount | delCount | rangeTombstoneCount
 *            | positionMin | positionMax | keyBytes | valueBytes
 *   range := start:bytes | hasEnd:u8 | end:bytes?                                     (numbers are varints)
 */
import type { KeyRange } from '../key/key-range.js'
import { type BlobUse, readBlobUse, writeBlobUse } from '../segment/segment-format.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import type { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { type Bytes, cloneBytes } from '../util/bytes.js'
import { LEVEL_COUNT, type VersionEdit } from './version.js'

const ADDED = 1
const REMOVED = 2
const CURSOR = 9
const BLOB = 13
const BLOB_USE = 14
const LINEAGE = 20
const LEADER = 21
const KEY_ENCODING = 40
const VALUE_ENCODING = 41
const NUMBER_TAGS = {
  flushedPosition: 3,
  logNumber: 4,
  nextFileNumber: 5,
  durablePosition: 6,
  flushedBytes: 7,
  compactedBytes: 8,
  fencedEpoch: 22,
  flushedChecksum: 23,
  firstLogNumber: 24,
  tombstoneHorizon: 12,
} as const
type NumberField = keyof typeof NUMBER_TAGS
const NUMBER_FIELDS = Object.entries(NUMBER_TAGS) as [NumberField, number][]

export function encodeEdit(edit: VersionEdit): Bytes {
  const writer = new ByteWriter()
  for (const [name, tag] of NUMBER_FIELDS) {
    const value = edit[name]
    if (value !== undefined) writer.u8(tag).varint(value)
  }
  for (const number of edit.removed ?? []) writer.u8(REMOVED).varint(number)
  if (edit.lineage !== undefined) writer.u8(LINEAGE).bytes(edit.lineage)
  if (edit.leader !== undefined) writer.u8(LEADER).text(edit.leader)
  if (edit.keyEncoding !== undefined) writer.u8(KEY_ENCODING).text(edit.keyEncoding)
  if (edit.valueEncoding !== undefined) writer.u8(VALUE_ENCODING).text(edit.valueEncoding)
  for (const [name, state] of edit.cursors ?? []) writer.u8(CURSOR).text(name).bytes(state)
  for (const { id, sizeBytes, checksum } of edit.blobs ?? [])
    writer.u8(BLOB).varint(id).varint(sizeBytes).u32(checksum)
  for (const { level, meta } of edit.added ?? []) {
    writer.u8(ADDED).u8(level)
    writeMeta(writer, meta)
    for (const use of meta.blobs) writeBlobUse(writer.u8(BLOB_USE), use)
  }
  return cloneBytes(writer.view())
}

export function decodeEdit(reader: ByteReader): VersionEdit {
  const added: { level: number; meta: SegmentMeta & { blobs: BlobUse[] } }[] = []
  const blobs: BlobMeta[] = []
  const removed: number[] = []
  const cursors = new Map<string, Bytes>()
  const numbers: { [Name in NumberField]?: number } = {}
  const facts: { lineage?: Bytes; leader?: string; keyEncoding?: string; valueEncoding?: string } = {}
  while (reader.remaining > 0) {
    const tag = reader.u8()
    if (tag === REMOVED) {
      removed.push(reader.varint())
    } else if (tag === CURSOR) {
      cursors.set(reader.text(), reader.bytes())
    } else if (tag === LINEAGE) {
      facts.lineage = reader.bytes()
    } else if (tag === LEADER) {
      facts.leader = reader.text()
    } else if (tag === KEY_ENCODING) {
      facts.keyEncoding = reader.text()
    } else if (tag === VALUE_ENCODING) {
      facts.valueEncoding = reader.text()
    } else if (tag === BLOB) {
      blobs.push({ id: reader.varint(), sizeBytes: reader.varint(), checksum: reader.u32() })
    } else if (tag === BLOB_USE) {
      const last = added.at(-1)
      if (!last) throw reader.fail('values of no segment')
      last.meta.blobs.push(readBlobUse(reader))
    } else if (tag === ADDED) {
      const level = reader.u8()
      if (level >= LEVEL_COUNT) throw reader.fail(`level ${level}`)
      added.push({ level, meta: readMeta(reader) })
    } else {
      const field = NUMBER_FIELDS.find(([, known]) => known === tag)
      if (!field) throw reader.fail(`a field of tag ${tag}`)
      numbers[field[0]] = reader.varint()
    }
  }
  return { added, removed, cursors, blobs, ...facts, ...numbers }
}

function writeMeta(writer: ByteWriter, meta: SegmentMeta): void {
  writer.varint(meta.number).varint(meta.sizeBytes).u32(meta.checksum)
  writeRange(writer, meta.range)
  writer.varint(meta.entryCount).varint(meta.delCount).varint(meta.rangeTombstoneCount)
  writer.varint(meta.positionMin).varint(meta.positionMax).varint(meta.keyBytes).varint(meta.valueBytes)
}

function readMeta(reader: ByteReader): SegmentMeta & { blobs: BlobUse[] } {
  return {
    number: reader.varint(),
    sizeBytes: reader.varint(),
    checksum: reader.u32(),
    range: readRange(reader),
    entryCount: reader.varint(),
    delCount: reader.varint(),
    rangeTombstoneCount: reader.varint(),
    positionMin: reader.varint(),
    positionMax: reader.varint(),
    keyBytes: reader.varint(),
    valueBytes: reader.varint(),
    blobs: [],
  }
}

function writeRange(writer: ByteWriter, range: KeyRange): void {
  writer.bytes(range.start).u8(range.end ? 1 : 0)
  if (range.end) writer.bytes(range.end)
}

function readRange(reader: ByteReader): KeyRange {
  const start = reader.bytes()
  return { start, end: reader.u8() === 1 ? reader.bytes() : undefined }
}
