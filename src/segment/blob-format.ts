/**
 * Blob files: values that stand apart from their keys, so that merges do not copy them.
 *
 *   file      := magic:8 | version:u32 | id:u48 | crc:u32 (of what is before it) | section*       (`block-codec.ts`)
 *   reference := mark:u48 | expiresAt:u48 (0: never) | blobId:u48 | offset:u48 | sizeBytes:u32 | valueBytes:u32
 *
 * One section holds one value. In the segment the reference takes the value's place: it is written as a put that
 * expires, at a time that no put has, so that blocks and merges that do not care need not know.
 *
 * A blob file has an id drawn at random instead of a number: segments get other numbers in copies of a store, and
 * what they refer to must not change with them. Sections of a file are never rewritten; a file goes as a whole, once
 * no segment refers to it.
 * Sources: Lu et al., "WiscKey: Separating Keys from Values in SSD-conscious Storage", FAST 2016; RocksDB's BlobDB,
 * for files written by flushes and values moved on by merges. Rejected: references into the log, whose files would
 * then have to stay for the sake of their largest values.
 */
import { corruption, VarveError } from '../errors.js'
import { EXPIRY_MAX } from '../key/batch-format.js'
import { type Bytes, readU32, readU48, writeU32, writeU48 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'

const MAGIC = Buffer.from('VARVEBLB')
const BLOB_FORMAT_VERSION = 1
export const BLOB_HEADER_BYTES = 22
/** The time at which no put expires. */
const MARK = EXPIRY_MAX + 1
export const REFERENCE_BYTES = 32

/** The files that one job writes have ids in a row. */
const IDS_OF_JOB = 2 ** 12
export const BLOB_ID_MAX = 2 ** 48 - 1
const JOBS = 2 ** 36

/** Where a value is that does not stand beside its key. */
export interface BlobReference {
  /** Undefined: it does not expire. */
  readonly expiresAt: number | undefined
  readonly blobId: number
  /** Of the value's section in the file. */
  readonly offset: number
  readonly sizeBytes: number
  readonly valueBytes: number
}

/**
 * The id of the first blob file of a new job: no file of `taken` is of the same. `fileNumber`, which no other job of the
 * store has, keeps ids from coming again where randomness does.
 */
export function newBlobId(
  fill: (bytes: Uint8Array) => void,
  taken: Iterable<number>,
  fileNumber: number,
): number {
  const jobs = new Set([...taken].map(blobJobOf))
  const bytes = Buffer.alloc(6)
  fill(bytes)
  let job = (blobJobOf(readU48(bytes, 0)) + fileNumber) % JOBS
  while (job === 0 || jobs.has(job)) job = (job + 1) % JOBS
  return job * IDS_OF_JOB
}

/** The same for all files of one job. */
export function blobJobOf(id: number): number {
  return Math.floor(id / IDS_OF_JOB)
}

export function encodeBlobHeader(id: number): Buffer {
  const bytes = Buffer.alloc(BLOB_HEADER_BYTES)
  bytes.set(MAGIC)
  writeU32(bytes, 8, BLOB_FORMAT_VERSION)
  writeU48(bytes, 12, id)
  writeU32(bytes, 18, crc32(bytes, 0, 18))
  return bytes
}

/** @throws VarveError `VARVE_CORRUPTION`, `VARVE_FORMAT_VERSION`. */
export function checkBlobHeader(bytes: Bytes, file: string, id: number): void {
  if (readU32(bytes, 18) !== crc32(bytes, 0, 18)) throw corruption(file, 0, 'header checksum mismatch')
  if (MAGIC.compare(bytes, 0, MAGIC.length) !== 0) throw corruption(file, 0, 'not a blob file')
  const version = readU32(bytes, 8)
  if (version !== BLOB_FORMAT_VERSION)
    throw new VarveError('VARVE_FORMAT_VERSION', `${file}: blob format ${version}`, { file })
  if (readU48(bytes, 12) !== id) throw corruption(file, 0, 'the file of another id')
}

/** Whether the value of an entry in a segment stands apart. */
export function isApart(bytes: Bytes, keyEnd: number, valueStart: number, valueEnd: number): boolean {
  return valueStart !== keyEnd && valueEnd - keyEnd === REFERENCE_BYTES && readU48(bytes, keyEnd) === MARK
}

export function readReference(bytes: Bytes, keyEnd: number): BlobReference {
  const expiresAt = readU48(bytes, keyEnd + 6)
  return {
    expiresAt: expiresAt === 0 ? undefined : expiresAt,
    blobId: readU48(bytes, keyEnd + 12),
    offset: readU48(bytes, keyEnd + 18),
    sizeBytes: readU32(bytes, keyEnd + 24),
    valueBytes: readU32(bytes, keyEnd + 28),
  }
}

/** Bytes of an entry's value, wherever it stands. */
export function valueBytesOf(bytes: Bytes, keyEnd: number, valueStart: number, valueEnd: number): number {
  if (isApart(bytes, keyEnd, valueStart, valueEnd)) return readReference(bytes, keyEnd).valueBytes
  return valueEnd - valueStart
}

export function writeReference(into: Bytes, keyEnd: number, reference: BlobReference): void {
  writeU48(into, keyEnd, MARK)
  writeU48(into, keyEnd + 6, reference.expiresAt ?? 0)
  writeU48(into, keyEnd + 12, reference.blobId)
  writeU48(into, keyEnd + 18, reference.offset)
  writeU32(into, keyEnd + 24, reference.sizeBytes)
  writeU32(into, keyEnd + 28, reference.valueBytes)
}
