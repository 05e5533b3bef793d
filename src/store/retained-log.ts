import type { Env } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFully } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import { type LogHeader, logSeed, readLogHeader } from '../log/log-format.js'
import { checkHeaderless } from '../log/log-scan.js'

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
