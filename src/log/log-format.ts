/**
 * Log files. A log file is a header and then frames; a frame holds the batches of one group commit, whole.
 *
 *   header := magic:8 | version:u32 | zeros:4 | number:u64 | basePosition:u64
 *             | previousNumber:u64 | previousBytes:u64 | previousChain:u32 | zeros:4
 *             | storeId:16 | createdMs:u64 | zeros:12 | crc:u32                                   96 bytes
 *   frame  := crc:u32 | bodyBytes:u32 | firstPosition:u48 | batchCount:u32 | timestampMs:u48
 *             | syncedUpTo:u48 | kind:u16 | batch*                                    32 bytes + body
 *
 * Of an encrypted log the version is 2 and the kind of frames with batches another one: their body is a piece of
 * `file-cipher.ts`, and the frame's header, but for its crc, is bound to it. The same frame in memory has plain batches
 * and room for what the piece adds, so that offsets are the same; its crc there is that of the plain bytes.
 *
 * After the last frame a file may go on with zeros, to its end: room that was made for frames to come.
 *
 * Little-endian. A frame's crc covers everything after itself and starts from the file's seed, the crc of the
 * store's id and the file's number, so that bytes of another file are never valid here, and frames can be told
 * from noise even where the header is damaged. `chain` is the crc of the crcs of all frames of a file that hold
 * batches, in order. `previous...` name the file that this one follows and where its batches end, also where a
 * recovery has read that file and starts this one; all 0: no file comes before it.
 *
 * Invariants
 *  L1 Positions are dense: a frame's first position follows the last one of the frame, or file, before it.
 *  L2 An invalid frame at X is a torn tail, unless a valid frame after it says that bytes beyond X were synced:
 *     then durable data is damaged.
 *  L3 A file is synced only after all older ones: a frame that says anything of its file was synced proves that
 *     every older file was whole on disk.
 *  L4 An end frame closes a file for good. It is written once all before it was synced.
 *  L5 A file that recovery can do without is history only if it was synced before, or written anew by the recovery
 *     that read it: where a sync had failed, the system may hold bytes that it takes for written and that are on no
 *     disk, and to sync them once more tells nothing. The manifest's `firstLogNumber` leaves the others out.
 *  L6 History has no hole: files go oldest first, and one counts only if the next one kept names it as the one it
 *     follows. Removals need not reach the disk in their order.
 * Source: LevelDB's log_format.md and Pebble's sync-offset chunks; differs in framing whole groups.
 */
import { CIPHER_HEADER_BYTES } from '../env/file-cipher.js'
import { corruption, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import {
  type Bytes,
  cloneBytes,
  readU16,
  readU32,
  readU48,
  readU64,
  writeU16,
  writeU32,
  writeU48,
  writeU64,
} from '../util/bytes.js'
import { crc32 } from '../util/crc.js'

const MAGIC = Buffer.from('VARVELOG')
export const LOG_FORMAT_VERSION = 1
/** The same, encrypted. */
const ENCRYPTED_LOG_VERSION = 2
export const LOG_HEADER_BYTES = 96
export const FRAME_HEADER_BYTES = 32
export const FRAME_BATCHES = 1
export const FRAME_END = 2
/** As `FRAME_BATCHES`, encrypted on disk. */
const FRAME_ENCRYPTED = 3
export const STORE_ID_BYTES = 16

export interface LogHeader {
  readonly number: number
  /** The position before the file's first one. */
  readonly basePosition: Position
  readonly previousNumber: number
  readonly previousBytes: number
  readonly previousChain: number
  readonly storeId: Bytes
  readonly createdMs: number
  /** Left out: it is not. */
  readonly isEncrypted?: boolean
}

export interface FrameHeader {
  readonly bodyBytes: number
  readonly firstPosition: Position
  readonly batchCount: number
  readonly timestampMs: number
  readonly syncedUpTo: number
  /** Of an encrypted frame that of a plain one. */
  readonly kind: number
  /** Bytes of the body before the batches. */
  readonly cipherBytes: number
}

/** What the checksums of a file's frames start from. Numbers are never used twice in a store. */
export function logSeed(storeId: Bytes, number: number): number {
  const bytes = Buffer.alloc(STORE_ID_BYTES + 8)
  bytes.set(storeId)
  writeU64(bytes, STORE_ID_BYTES, number)
  return crc32(bytes, 0, bytes.length)
}

export function writeLogHeader(into: Bytes, header: LogHeader): void {
  into.fill(0, 0, LOG_HEADER_BYTES)
  into.set(MAGIC, 0)
  writeU32(into, 8, header.isEncrypted ? ENCRYPTED_LOG_VERSION : LOG_FORMAT_VERSION)
  writeU64(into, 16, header.number)
  writeU64(into, 24, header.basePosition)
  writeU64(into, 32, header.previousNumber)
  writeU64(into, 40, header.previousBytes)
  writeU32(into, 48, header.previousChain)
  into.set(header.storeId, 56)
  writeU64(into, 72, header.createdMs)
  writeU32(into, LOG_HEADER_BYTES - 4, crc32(into, 0, LOG_HEADER_BYTES - 4))
}

/** Undefined when the header is not whole: a file that a crash cut short before anything in it was promised. */
export function readLogHeader(bytes: Bytes, file: string): LogHeader | undefined {
  if (bytes.length < LOG_HEADER_BYTES) return undefined
  if (readU32(bytes, LOG_HEADER_BYTES - 4) !== crc32(bytes, 0, LOG_HEADER_BYTES - 4)) return undefined
  if (MAGIC.compare(bytes, 0, MAGIC.length) !== 0) throw corruption(file, 0, 'not a log file')
  const version = readU32(bytes, 8)
  if (version !== LOG_FORMAT_VERSION && version !== ENCRYPTED_LOG_VERSION) {
    throw new VarveError('VARVE_FORMAT_VERSION', `${file}: log format ${version}`, { file })
  }
  return {
    number: readU64(bytes, 16),
    basePosition: readU64(bytes, 24),
    previousNumber: readU64(bytes, 32),
    previousBytes: readU64(bytes, 40),
    previousChain: readU32(bytes, 48),
    storeId: cloneBytes(bytes, 56, 56 + STORE_ID_BYTES),
    createdMs: readU64(bytes, 72),
    isEncrypted: version === ENCRYPTED_LOG_VERSION,
  }
}

/** Completes the frame whose body already stands in `bytes`; returns its crc. */
export function writeFrameHeader(bytes: Bytes, at: number, header: FrameHeader, seed: number): number {
  writeU32(bytes, at + 4, header.bodyBytes)
  writeU48(bytes, at + 8, header.firstPosition)
  writeU32(bytes, at + 14, header.batchCount)
  writeU48(bytes, at + 18, header.timestampMs)
  writeU48(bytes, at + 24, header.syncedUpTo)
  writeU16(bytes, at + 30, header.cipherBytes > 0 ? FRAME_ENCRYPTED : header.kind)
  const crc = crc32(bytes, at + 4, at + FRAME_HEADER_BYTES + header.bodyBytes, seed)
  writeU32(bytes, at, crc)
  return crc
}

export function readFrameHeader(bytes: Bytes, at: number): FrameHeader {
  const kind = readU16(bytes, at + 30)
  return {
    bodyBytes: readU32(bytes, at + 4),
    firstPosition: readU48(bytes, at + 8),
    batchCount: readU32(bytes, at + 14),
    timestampMs: readU48(bytes, at + 18),
    syncedUpTo: readU48(bytes, at + 24),
    kind: kind === FRAME_ENCRYPTED ? FRAME_BATCHES : kind,
    cipherBytes: kind === FRAME_ENCRYPTED ? CIPHER_HEADER_BYTES : 0,
  }
}

/** Where the header of a frame stands that encryption binds to its body. */
export function boundHeader(bytes: Bytes, frameAt: number): Bytes {
  return bytes.subarray(frameAt + 4, frameAt + FRAME_HEADER_BYTES)
}

export function isFrameKind(bytes: Bytes, frameAt: number): boolean {
  const kind = readU16(bytes, frameAt + 30)
  return kind === FRAME_BATCHES || kind === FRAME_END || kind === FRAME_ENCRYPTED
}

/** Goes on with a file's chain by the crc of one more frame. */
export function extendChain(chain: number, bytes: Bytes, frameAt: number): number {
  return crc32(bytes, frameAt, frameAt + 4, chain)
}
