import type { Env, File } from '../env/env.js'
import { decryptorFor } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFully } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import { batchSizeBytes, findBatchFault } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { decryptFrame } from '../log/frame-cipher.js'
import {
  FRAME_BATCHES,
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from '../log/log-format.js'
import { isFrame } from '../log/log-scan.js'
import { isZero, readU32 } from '../util/bytes.js'

const ZEROS_STEP_BYTES = 64 * 1024

/** One batch in a log file. `bytes` holds it from `batchOffset` on; borrowed until the next step. */
export interface LogPiece {
  readonly path: string
  /** Where the batch's frame stands in the file. */
  readonly frameOffset: number
  readonly position: Position
  readonly timestampMs: number
  readonly bytes: Buffer
  readonly batchOffset: number
}

/**
 * The batches of one log file, read frame by frame: memory is bounded by one frame.
 * @param endOffset where the file ends for this reader; undefined: the file is complete, and must be whole.
 */
export function* logPieces(
  env: Env,
  directory: string,
  number: number,
  endOffset: number | undefined,
): Generator<LogPiece> {
  const path = joinPath(directory, logFileName(number))
  const file = attempt(path, () => env.fs.open(path, 'read'))
  try {
    const end = endOffset ?? file.sizeBytes()
    const headerBytes = Buffer.alloc(LOG_HEADER_BYTES)
    readFully(file, headerBytes, 0)
    const header = readLogHeader(headerBytes, path)
    if (!header) throw corruption(path, 0, 'a damaged header')
    const decryptor = decryptorFor(env.vault, header.isEncrypted, 'log', number, path)
    const seed = logSeed(header.storeId, number)
    for (let at = LOG_HEADER_BYTES; at < end; ) {
      const frameHeader = Buffer.alloc(Math.min(FRAME_HEADER_BYTES, end - at))
      readFully(file, frameHeader, at)
      if (isZero(frameHeader, 0, frameHeader.length) && isZeroFrom(file, at, end)) return
      if (frameHeader.length < FRAME_HEADER_BYTES)
        throw corruption(path, at, 'a frame without a whole header')
      const frameBytes = FRAME_HEADER_BYTES + readU32(frameHeader, 4)
      if (at + frameBytes > end) throw corruption(path, at, 'a frame beyond the end of the file')
      const bytes = Buffer.allocUnsafeSlow(frameBytes)
      readFully(file, bytes, at)
      if (!isFrame(bytes, 0, seed)) throw corruption(path, at, 'a damaged frame')
      decryptFrame(bytes, 0, decryptor, path, at)
      yield* framePieces(path, at, bytes)
      at += frameBytes
    }
  } finally {
    file.close()
  }
}

/** Whether the file is zeros from `at` to `end`: room that was made for frames to come. */
function isZeroFrom(file: File, at: number, end: number): boolean {
  const bytes = Buffer.alloc(Math.min(ZEROS_STEP_BYTES, end - at))
  for (let offset = at; offset < end; offset += bytes.length) {
    const piece = bytes.subarray(0, Math.min(bytes.length, end - offset))
    readFully(file, piece, offset)
    if (!isZero(piece, 0, piece.length)) return false
  }
  return true
}

function* framePieces(path: string, frameOffset: number, bytes: Buffer): Generator<LogPiece> {
  const frame = readFrameHeader(bytes, 0)
  if (frame.kind !== FRAME_BATCHES) return
  let batchOffset = FRAME_HEADER_BYTES + frame.cipherBytes
  for (let i = 0; i < frame.batchCount; i++) {
    const fault = findBatchFault(bytes, batchOffset, bytes.length)
    if (fault) throw corruption(path, frameOffset + batchOffset, fault)
    const { timestampMs } = frame
    yield { path, frameOffset, position: frame.firstPosition + i, timestampMs, bytes, batchOffset }
    batchOffset += batchSizeBytes(bytes, batchOffset)
  }
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}
