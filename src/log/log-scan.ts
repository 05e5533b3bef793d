import type { FileDecryptor } from '../env/file-cipher.js'
import { corruption } from '../errors.js'
import { batchSizeBytes, findBatchFault } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, isZero, readU32, readU48, writeU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { RangeCrc } from '../util/range-crc.js'
import { decryptFrame } from './frame-cipher.js'
import {
  extendChain,
  FRAME_END,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  isFrameKind,
  LOG_HEADER_BYTES,
  type LogHeader,
  readFrameHeader,
} from './log-format.js'

export interface LogScan {
  readonly lastPosition: Position
  /** Offset after the last whole frame. */
  readonly endOffset: number
  /** Offset after the last frame that holds batches, and the chain up to there. */
  readonly batchesEnd: number
  readonly chain: number
  /** Closed by an end frame. */
  readonly isEnded: boolean
  /** Bytes follow `endOffset` that are neither a frame nor zeros to the end of the file. */
  readonly isTorn: boolean
  /** A frame says that part of this file was synced, and so all of every older file. */
  readonly provesOlderSynced: boolean
}

/** What a scan reports of each batch: where it stands in the file, and its place in the order. */
export type BatchVisitor = (batchOffset: number, position: Position, timestampMs: number) => void

/** Bytes of frames between two chances to pause: under a millisecond, with an index of what is in them. */
const STEP_BYTES = 128 * 1024

/** As `scanLogInSteps`, at once. */
export function scanLog(...log: Parameters<typeof scanLogInSteps>): LogScan {
  const steps = scanLogInSteps(...log)
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/**
 * Walks the frames of a whole log file in memory and checks every byte. Frames that are encrypted are decrypted where
 * they stand. A generator, so that it can run in slices.
 * @throws VarveError `VARVE_CORRUPTION` where synced data is damaged, or a valid frame breaks the order.
 */
export function* scanLogInSteps(
  bytes: Bytes,
  header: LogHeader,
  seed: number,
  file: string,
  visit: BatchVisitor,
  decryptor?: FileDecryptor,
): Generator<undefined, LogScan> {
  let at = LOG_HEADER_BYTES
  let pauseAt = at + STEP_BYTES
  let lastPosition = header.basePosition
  let batchesEnd = at
  let chain = 0
  let isEnded = false
  let provesOlderSynced = false
  while (at < bytes.length && !isEnded) {
    if (!isFrame(bytes, at, seed)) break
    const frame = readFrameHeader(bytes, at)
    if (frame.syncedUpTo > 0) provesOlderSynced = true
    const end = at + FRAME_HEADER_BYTES + frame.bodyBytes
    if (frame.kind === FRAME_END) {
      isEnded = true
    } else {
      chain = extendChain(chain, bytes, at)
      decryptFrame(bytes, at, decryptor, file, at)
      // What goes over this memory once more, such as the flush, checks its plain bytes.
      if (frame.cipherBytes > 0) writeU32(bytes, at, crc32(bytes, at + 4, end, seed))
      lastPosition = visitBatches(bytes, at, frame, lastPosition, file, visit)
      batchesEnd = end
    }
    at = end
    if (at < pauseAt) continue
    pauseAt = at + STEP_BYTES
    yield
  }
  const isTorn = !isZero(bytes, at, bytes.length)
  if (isTorn) {
    if (isEnded) throw corruption(file, at, 'bytes after the end of a closed log')
    const proof = findProofOfSync(bytes, at, seed)
    if (proof !== undefined) {
      throw corruption(file, at, `a damaged frame before byte ${proof}, where it was known to be on disk`)
    }
  }
  return { lastPosition, endOffset: at, batchesEnd, chain, isEnded, isTorn, provesOlderSynced }
}

/**
 * What the bytes of a log file without a sound header prove.
 * @throws VarveError `VARVE_CORRUPTION` where that header was whole once.
 */
export function checkHeaderless(bytes: Bytes, seed: number, file: string): void {
  // The header and the start of the first frame share a disk sector: one is not torn without the other. But a sync that
  // failed may have made the system forget the header, and read the sector anew when the frame was written to it.
  if (isFrame(bytes, LOG_HEADER_BYTES, seed) && !isZero(bytes, 0, LOG_HEADER_BYTES))
    throw corruption(file, 0, 'a damaged header before a whole frame')
  const proof = findProofOfSync(bytes, 0, seed)
  if (proof !== undefined)
    throw corruption(file, 0, `a damaged header before byte ${proof}, which was synced`)
}

function visitBatches(
  bytes: Bytes,
  frameAt: number,
  frame: FrameHeader,
  lastPosition: Position,
  file: string,
  visit: BatchVisitor,
): Position {
  if (frame.firstPosition !== lastPosition + 1) {
    throw corruption(file, frameAt, `position ${frame.firstPosition} follows ${lastPosition}`)
  }
  const end = frameAt + FRAME_HEADER_BYTES + frame.bodyBytes
  let batch = frameAt + FRAME_HEADER_BYTES + frame.cipherBytes
  for (let i = 0; i < frame.batchCount; i++) {
    const fault = findBatchFault(bytes, batch, end)
    if (fault) throw corruption(file, batch, fault)
    visit(batch, frame.firstPosition + i, frame.timestampMs)
    batch += batchSizeBytes(bytes, batch)
  }
  if (batch !== end) throw corruption(file, batch, 'a frame with bytes left over')
  return frame.firstPosition + frame.batchCount - 1
}

/** Whether a whole valid frame stands at `at`. */
export function isFrame(bytes: Bytes, at: number, seed: number, checksums?: RangeCrc): boolean {
  if (at + FRAME_HEADER_BYTES > bytes.length) return false
  const end = at + FRAME_HEADER_BYTES + readU32(bytes, at + 4)
  if (end > bytes.length) return false
  if (!isFrameKind(bytes, at)) return false
  const crc = checksums ? checksums.crc(at + 4, end, seed) : crc32(bytes, at + 4, end, seed)
  return crc === readU32(bytes, at)
}

/** The offset of a valid frame after `fault` that says bytes beyond `fault` had been synced. */
function findProofOfSync(bytes: Bytes, fault: number, seed: number): number | undefined {
  const checksums = new RangeCrc(bytes)
  for (let at = fault + 1; at + FRAME_HEADER_BYTES <= bytes.length; at++) {
    // The cheap test first: damage must not make a search of the square of the file's size.
    const syncedUpTo = readU48(bytes, at + 24)
    if (syncedUpTo <= fault || syncedUpTo > at) continue
    if (isFrame(bytes, at, seed, checksums)) return at
  }
  return undefined
}
