import type { Env } from '../env/env.js'
import { decryptorFor } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFully } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import type { Position } from '../key/position.js'
import { LOG_HEADER_BYTES, logSeed, readLogHeader } from '../log/log-format.js'
import { checkHeaderless, type LogScan, scanLogInSteps } from '../log/log-scan.js'
import type { LogEnd } from '../log/log-writer.js'
import { Memtable } from '../memtable/memtable.js'

export interface ReplayOptions {
  readonly env: Env
  readonly directory: string
  readonly storeId: Uint8Array
  /** Numbers of the log files that may hold changes that are not in segments, ascending. */
  readonly logNumbers: readonly number[]
  readonly flushedPosition: Position
}

/** Read between two chances to pause: half a millisecond, most of it for memory that was never used before. */
const READ_BYTES = 512 * 1024

/** A log file that recovery has read. */
export interface ReplayedLog {
  readonly memtable: Memtable
  readonly scan: LogScan
}

interface ReadLog extends ReplayedLog {
  readonly number: number
  readonly path: string
  readonly previousNumber: number
  readonly previousBytes: number
  readonly previousChain: number
}

/**
 * Reads the log after the flushed position, one file and memtable at a time, and stops at its torn end. Changes
 * nothing. The rules, L2 to L5 of `log-format.ts`: a torn tail in the last file is where a crash cut; in an older
 * file later ones are not replayed, so that there is no hole, unless a later one proves that the older one was on
 * disk: then it is damaged.
 * @throws VarveError `VARVE_CORRUPTION`.
 */
export function* replayLogs(options: ReplayOptions): Generator<ReplayedLog | undefined> {
  let position = options.flushedPosition
  let previous: ReadLog | undefined
  for (const [i, number] of options.logNumbers.entries()) {
    const isLast = i === options.logNumbers.length - 1
    const log = yield* readLog(options, number)
    if (!log) {
      // Its header never got to disk whole: nothing in it was promised, and nothing after it can be.
      yield* refuseIfProvenDurable(options, i + 1, joinPath(options.directory, logFileName(number)), 0)
      return
    }
    if (previous && !follows(log, previous)) {
      yield* refuseIfProvenDurable(options, i, previous.path, previous.scan.endOffset)
      return
    }
    if (log.memtable.basePosition > position) {
      // The name of a file between never got to disk: a hole, unless it had been there.
      const missing = joinPath(options.directory, logFileName(log.previousNumber))
      yield* refuseIfProvenDurable(options, i, missing, 0)
      return
    }
    if (log.memtable.basePosition < position) {
      throw corruption(log.path, 0, `it starts after position ${log.memtable.basePosition}, not ${position}`)
    }
    position = log.scan.lastPosition
    yield log
    if (log.scan.isTorn && !isLast) {
      yield* refuseIfProvenDurable(options, i + 1, log.path, log.scan.endOffset)
      return
    }
    previous = log
  }
}

/** The last log file that a recovery has read, as the next one names it; undefined: there is none. */
export function endOfReplay(logs: readonly ReplayedLog[]): LogEnd | undefined {
  const last = logs[logs.length - 1]
  if (!last) return undefined
  return { number: last.memtable.logNumber, bytes: last.scan.batchesEnd, chain: last.scan.chain }
}

/**
 * Numbers of the files of which it is not known that all they hold is on disk. Their bytes were read, but perhaps
 * out of memory that the system believes to be on disk already: a sync that fails may leave it so, and the next one
 * of the same file then reports success for bytes that the power takes away.
 */
export function notKnownDurable(logs: readonly ReplayedLog[]): ReadonlySet<number> {
  const newestProof = logs.findLastIndex(({ scan }) => scan.provesOlderSynced)
  const unknown = logs.filter(({ scan }, i) => !scan.isEnded && i >= newestProof)
  return new Set(unknown.map(({ memtable }) => memtable.logNumber))
}

function follows(log: ReadLog, previous: ReadLog): boolean {
  // A file that a recovery started follows what that recovery had put into segments.
  if (log.previousNumber === 0) return log.memtable.basePosition === previous.scan.lastPosition
  return log.previousNumber === previous.number && log.previousChain === previous.scan.chain
}

function* refuseIfProvenDurable(
  options: ReplayOptions,
  from: number,
  path: string,
  offset: number,
): Generator<undefined> {
  for (const number of options.logNumbers.slice(from)) {
    const log = yield* readLog(options, number)
    if (log?.scan.provesOlderSynced) {
      throw corruption(
        path,
        offset,
        `the file ends here, but ${log.path} was written after all of it was on disk`,
      )
    }
  }
}

function* readLog(options: ReplayOptions, number: number): Generator<undefined, ReadLog | undefined> {
  const path = joinPath(options.directory, logFileName(number))
  const bytes = yield* readWhole(options.env, path)
  const seed = logSeed(options.storeId, number)
  const header = readLogHeader(bytes, path)
  if (!header) {
    checkHeaderless(bytes, seed, path)
    return undefined
  }
  if (header.number !== number || !header.storeId.every((byte, i) => byte === options.storeId[i])) {
    throw corruption(path, 0, 'a log file of another store, or under another name')
  }
  const decryptor = decryptorFor(options.env.vault, header.isEncrypted, 'log', number, path)
  const memtable = new Memtable(bytes, number, header.basePosition)
  const apply = (batch: number, position: Position) => memtable.apply(batch, position)
  const scan = yield* scanLogInSteps(bytes, header, seed, path, apply, decryptor)
  const { previousNumber, previousBytes, previousChain } = header
  return { number, path, memtable, scan, previousNumber, previousBytes, previousChain }
}

/** In shared memory: the flush of what is replayed runs on another thread. */
function* readWhole(env: Env, path: string): Generator<undefined, Buffer> {
  try {
    const file = env.fs.open(path, 'read')
    try {
      const sizeBytes = file.sizeBytes()
      const bytes = Buffer.from(new SharedArrayBuffer(Math.max(sizeBytes, LOG_HEADER_BYTES)))
      for (let at = 0; at < sizeBytes; at += READ_BYTES) {
        if (at > 0) yield
        readFully(file, bytes.subarray(at, Math.min(at + READ_BYTES, sizeBytes)), at)
      }
      return bytes.subarray(0, sizeBytes)
    } finally {
      file.close()
    }
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}
