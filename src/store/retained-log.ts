import type { Env } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFully } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import type { Position } from '../key/position.js'
import { type LogHeader, logSeed, readLogHeader } from '../log/log-format.js'
import { checkHeaderless } from '../log/log-scan.js'
import { logPieces } from './log-reader.js'

/** Of a file without a sound header: enough to find its first frames. */
const INSPECTED_BYTES = 1024 * 1024

/**
 * The header of a log file that recovery does not need; undefined for one that a crash cut short before anything in
 * it was promised.
 * @throws VarveError `VARVE_CORRUPTION` for one that was whole once, or is not of this store: it is evidence, and stays.
 */
export function readRetainedHeader(
  env: Env,
  directory: string,
  number: number,
  storeId: Uint8Array,
): LogHeader | undefined {
  const path = joinPath(directory, logFileName(number))
  try {
    const file = env.fs.open(path, 'read')
    try {
      const bytes = Buffer.alloc(Math.min(INSPECTED_BYTES, file.sizeBytes()))
      readFully(file, bytes, 0)
      const header = readLogHeader(bytes, path)
      if (!header) checkHeaderless(bytes, logSeed(storeId, number), path)
      else if (header.number !== number || !header.storeId.every((byte, i) => byte === storeId[i]))
        throw corruption(path, 0, 'a log file of another store, or under another name')
      return header
    } finally {
      file.close()
    }
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}

/** What a log file says of the one before it. */
export type NextLog = Pick<LogHeader, 'basePosition' | 'previousNumber' | 'previousBytes'>

/** The first log file that recovery needs, seen from those that it does not need; `position` is what those reach. */
export function firstNeededLog(
  env: Env,
  directory: string,
  number: number | undefined,
  storeId: Uint8Array,
  position: Position,
): NextLog {
  const header = number === undefined ? undefined : readRetainedHeader(env, directory, number, storeId)
  if (header?.basePosition === position) return header
  return { basePosition: position, previousNumber: 0, previousBytes: 0 }
}

/**
 * The header of a complete log file if `next` goes on where it ends; undefined for what trimming or a crash left
 * over: where the file between them is gone, it is no part of the log any more.
 * @throws VarveError `VARVE_CORRUPTION` where the file has lost what `next` says it had, or as `readRetainedHeader`.
 */
export function readRetained(
  env: Env,
  directory: string,
  number: number,
  storeId: Uint8Array,
  next: NextLog,
): LogHeader | undefined {
  const path = joinPath(directory, logFileName(number))
  const header = readRetainedHeader(env, directory, number, storeId)
  if (next.previousNumber === number) {
    if (!header) throw corruption(path, 0, 'a damaged header')
    const sizeBytes = env.fs.stat(path)?.sizeBytes ?? 0
    if (sizeBytes >= next.previousBytes) return header
    throw corruption(path, sizeBytes, `the file ends too early: it had ${next.previousBytes} bytes`)
  }
  if (next.previousNumber > 0 || !header) return undefined
  // The first file of a store that was created, repaired or copied names none: what comes before it has to reach it.
  return reaches(env, directory, number, header, next.basePosition) ? header : undefined
}

function reaches(
  env: Env,
  directory: string,
  number: number,
  { basePosition }: LogHeader,
  end: Position,
): boolean {
  if (basePosition >= end) return basePosition === end
  for (const { position } of logPieces(env, directory, number, undefined)) if (position === end) return true
  return false
}
