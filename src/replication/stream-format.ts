/**
 * What a leader sends: frames, one after another, for as long as the follower listens.
 *
 *   frame := headerCrc:u32 | bodyCrc:u32 | bodyBytes:u32 | kind:u16 | zeros:2 | batchCount:u32
 *            | firstPosition:u48 | timestampMs:u48 | epoch:u48 | zeros:2 | body        40 bytes + body, little-endian
 *   body  := batch*                                       of kind 1: the bytes of the log (`key/batch-format.ts`)
 *          | headPosition:u48 | oldestPosition:u48 | wallMs:u48                of kind 2: how far the leader is
 *
 * Both checksums start from the crc of the lineage, so that frames of another store are never valid here. The header
 * has its own, so that a damaged length is known before a byte of the body is waited for.
 *
 * Invariants
 *  R1 Positions are dense from frame to frame; the first one follows the position that was asked for.
 *  R2 All batches of a frame have one epoch. Epochs never go back; a higher one begins with the batch that says so.
 */
import type { Position } from '../key/position.js'
import { type Bytes, readU16, readU32, readU48, writeU16, writeU32, writeU48 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'

export const STREAM_HEADER_BYTES = 40
export const STREAM_BATCHES = 1
export const STREAM_HEAD = 2
export const HEAD_BODY_BYTES = 18

export interface StreamHeader {
  readonly bodyBytes: number
  readonly kind: number
  readonly batchCount: number
  readonly firstPosition: Position
  readonly timestampMs: number
  readonly epoch: number
}

/** How far the leader is. */
export interface Head {
  readonly position: Position
  readonly oldestPosition: Position
  readonly wallMs: number
}

export function streamSeed(lineage: Bytes): number {
  return crc32(lineage, 0, lineage.length)
}

/** Completes the frame whose body stands after `at + STREAM_HEADER_BYTES`. */
export function writeStreamHeader(into: Bytes, at: number, header: StreamHeader, seed: number): void {
  const body = at + STREAM_HEADER_BYTES
  into.fill(0, at, body)
  writeU32(into, at + 4, crc32(into, body, body + header.bodyBytes, seed))
  writeU32(into, at + 8, header.bodyBytes)
  writeU16(into, at + 12, header.kind)
  writeU32(into, at + 16, header.batchCount)
  writeU48(into, at + 20, header.firstPosition)
  writeU48(into, at + 26, header.timestampMs)
  writeU48(into, at + 32, header.epoch)
  writeU32(into, at, crc32(into, at + 4, body, seed))
}

/** Undefined: this is no header of that lineage. */
export function readStreamHeader(bytes: Bytes, at: number, seed: number): StreamHeader | undefined {
  if (crc32(bytes, at + 4, at + STREAM_HEADER_BYTES, seed) !== readU32(bytes, at)) return undefined
  return {
    bodyBytes: readU32(bytes, at + 8),
    kind: readU16(bytes, at + 12),
    batchCount: readU32(bytes, at + 16),
    firstPosition: readU48(bytes, at + 20),
    timestampMs: readU48(bytes, at + 26),
    epoch: readU48(bytes, at + 32),
  }
}

export function isBodyWhole(bytes: Bytes, at: number, bodyBytes: number, seed: number): boolean {
  const body = at + STREAM_HEADER_BYTES
  return crc32(bytes, body, body + bodyBytes, seed) === readU32(bytes, at + 4)
}

export function encodeHead(head: Head, epoch: number, seed: number): Buffer {
  const frame = Buffer.alloc(STREAM_HEADER_BYTES + HEAD_BODY_BYTES)
  writeU48(frame, STREAM_HEADER_BYTES, head.position)
  writeU48(frame, STREAM_HEADER_BYTES + 6, head.oldestPosition)
  writeU48(frame, STREAM_HEADER_BYTES + 12, head.wallMs)
  const { position: firstPosition, wallMs: timestampMs } = head
  const header = {
    bodyBytes: HEAD_BODY_BYTES,
    kind: STREAM_HEAD,
    batchCount: 0,
    firstPosition,
    timestampMs,
    epoch,
  }
  writeStreamHeader(frame, 0, header, seed)
  return frame
}

export function decodeHead(bytes: Bytes, at: number): Head {
  const body = at + STREAM_HEADER_BYTES
  return {
    position: readU48(bytes, body),
    oldestPosition: readU48(bytes, body + 6),
    wallMs: readU48(bytes, body + 12),
  }
}
