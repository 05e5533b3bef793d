import type { Env } from '../env/env.js'
import type { FileDecryptor } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readWhole } from '../env/write-fully.js'
import { VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  batchSizeBytes,
  findBatchFault,
  KIND_CURSOR,
  opSizeBytes,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { decryptFrame } from '../log/frame-cipher.js'
import {
  FRAME_BATCHES,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
  STORE_ID_BYTES,
  writeFrameHeader,
  writeLogHeader,
} from '../log/log-format.js'
import { isFrame } from '../log/log-scan.js'
import { readCursor } from '../memtable/log-entries.js'
import type { Bytes } from '../util/bytes.js'
import { RangeCrc } from '../util/range-crc.js'
import type { RepairLoss } from './repair-report.js'

/** The sound frames of a log file, as a log file of their own in memory that a flush can take. */
export interface SavedLog {
  readonly memory: SharedArrayBuffer
  readonly logBytes: number
  /** Below the first position in it. */
  readonly basePosition: Position
  readonly lastPosition: Position
  readonly batchCount: number
  readonly cursors: ReadonlyMap<string, Bytes>
  readonly lost: readonly RepairLoss[]
}

/** The id of the store that a log file belongs to; undefined where its header is damaged. */
export function storeIdOfLog(env: Env, directory: string, number: number): Bytes | undefined {
  try {
    return readLogHeader(readWhole(env, joinPath(directory, logFileName(number))), 'log')?.storeId
  } catch (error) {
    if (error instanceof VarveError) return undefined
    throw error
  }
}

/**
 * Reads a log file up to damage and past it: every frame whose checksum is right and whose batches are sound, in
 * the order of positions, from anywhere in the file.
 */
export function* saveLog(
  env: Env,
  directory: string,
  number: number,
  storeId: Bytes,
  after: Position,
): Generator<void, SavedLog> {
  const path = joinPath(directory, logFileName(number))
  const bytes = readWhole(env, path)
  const memory = new SharedArrayBuffer(bytes.length + LOG_HEADER_BYTES)
  const saved = Buffer.from(memory)
  const seed = logSeed(storeId, number)
  const decryptor = env.vault?.decryptor('log', number)
  const checksums = new RangeCrc(bytes)
  const cursors = new Map<string, Bytes>()
  const lost: RepairLoss[] = []
  let end = LOG_HEADER_BYTES
  let basePosition: Position | undefined
  let lastPosition = after
  let batchCount = 0
  let skipped = 0
  for (let at = LOG_HEADER_BYTES; at < bytes.length; ) {
    const frame = isFrame(bytes, at, seed, checksums) ? readFrameHeader(bytes, at) : undefined
    if (!frame) {
      // Zeros are room made ahead, or what a crash left of a write: nothing that was promised.
      if (bytes[at++] !== 0) skipped++
      if (at % 4096 === 0) yield
      continue
    }
    const frameEnd = at + FRAME_HEADER_BYTES + frame.bodyBytes
    const isReadable = frame.firstPosition > lastPosition && isDecrypted(bytes, at, decryptor, path)
    if (isReadable && isSound(bytes, at, frame)) {
      if (frame.firstPosition > lastPosition + 1 && (basePosition !== undefined || after > 0))
        lost.push(lossOf(path, lastPosition, frame.firstPosition, skipped))
      basePosition ??= frame.firstPosition - 1
      bytes.copy(saved, end, at, frameEnd)
      noteCursors(bytes, at, frame, cursors)
      end += frameEnd - at
      lastPosition = frame.firstPosition + frame.batchCount - 1
      batchCount += frame.batchCount
    }
    at = frameEnd
    yield
  }
  if (skipped > 0 && lost.length === 0)
    lost.push({ file: path, kind: 'log', positionMin: lastPosition + 1, sizeBytes: skipped })
  reseal(saved, end, number, storeId, basePosition ?? after)
  return {
    memory,
    logBytes: end,
    basePosition: basePosition ?? after,
    lastPosition,
    batchCount,
    cursors,
    lost,
  }
}

function lossOf(file: string, before: Position, next: Position, sizeBytes: number): RepairLoss {
  return { file, kind: 'log', positionMin: before + 1, positionMax: next - 1, sizeBytes }
}

/** @throws VarveError `VARVE_KEY`. */
function isDecrypted(bytes: Buffer, at: number, decryptor: FileDecryptor | undefined, path: string): boolean {
  try {
    decryptFrame(bytes, at, decryptor, path, at)
    return true
  } catch (error) {
    if (error instanceof VarveError && error.code !== 'VARVE_KEY') return false
    throw error
  }
}

function isSound(bytes: Buffer, at: number, frame: FrameHeader): boolean {
  if (frame.kind !== FRAME_BATCHES || frame.batchCount === 0) return false
  const end = at + FRAME_HEADER_BYTES + frame.bodyBytes
  let batch = at + FRAME_HEADER_BYTES + frame.cipherBytes
  for (let i = 0; i < frame.batchCount; i++) {
    if (findBatchFault(bytes, batch, end) !== undefined) return false
    batch += batchSizeBytes(bytes, batch)
  }
  return batch === end
}

function noteCursors(bytes: Buffer, at: number, frame: FrameHeader, cursors: Map<string, Bytes>): void {
  let batch = at + FRAME_HEADER_BYTES + frame.cipherBytes
  for (let i = 0; i < frame.batchCount; i++) {
    let op = batch + BATCH_HEADER_BYTES
    for (let n = batchOpCount(bytes, batch); n > 0; n--) {
      if (bytes[op] === KIND_CURSOR) readCursor(bytes, op, cursors)
      op += opSizeBytes(bytes, op)
    }
    batch += batchSizeBytes(bytes, batch)
  }
}

/** A header before the frames, as a flush expects it. */
function reseal(saved: Buffer, end: number, number: number, storeId: Bytes, basePosition: Position): void {
  writeLogHeader(saved, {
    ...{ number, basePosition, previousNumber: 0, previousBytes: 0, previousChain: 0, createdMs: 0 },
    storeId: storeId.subarray(0, STORE_ID_BYTES),
    isEncrypted: false,
  })
  const seed = logSeed(storeId, number)
  for (let at = LOG_HEADER_BYTES; at < end; ) {
    const frame = readFrameHeader(saved, at)
    writeFrameHeader(saved, at, { ...frame, syncedUpTo: 0 }, seed)
    at += FRAME_HEADER_BYTES + frame.bodyBytes
  }
}
