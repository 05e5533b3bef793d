import { corruption, ioError, VarveError } from '../errors.js'
import type { Env, File } from './env.js'

/** Writes all of `bytes`. A full disk first shows as a short count, so nothing else may call `File.write`. */
export function writeFully(file: File, bytes: Uint8Array, offset: number): void {
  let done = 0
  while (done < bytes.length) {
    const taken = writeOnce(file, done === 0 ? bytes : bytes.subarray(done), offset + done)
    if (taken <= 0) {
      throw new VarveError('VARVE_NO_SPACE', `write ${file.path}: took no bytes at ${offset + done}`, {
        file: file.path,
        offset: offset + done,
      })
    }
    done += taken
  }
}

/** Fills `into` from `offset`; a file that ends before is damaged. */
export function readFully(file: File, into: Uint8Array, offset: number): void {
  let count: number
  try {
    count = file.read(into, offset)
  } catch (cause) {
    throw ioError(cause, 'read', file.path)
  }
  checkCount(file, count, into.length, offset)
}

/** As `readFully`, without blocking the event loop. */
export async function readFullyAsync(file: File, into: Uint8Array, offset: number): Promise<void> {
  let count: number
  try {
    count = await file.readAsync(into, offset)
  } catch (cause) {
    throw ioError(cause, 'read', file.path)
  }
  checkCount(file, count, into.length, offset)
}

/** Reads all of a file. */
export function readWhole(env: Env, path: string): Buffer {
  try {
    const file = env.fs.open(path, 'read')
    try {
      const bytes = Buffer.allocUnsafeSlow(file.sizeBytes())
      readFully(file, bytes, 0)
      return bytes
    } finally {
      file.close()
    }
  } catch (error) {
    throw ioError(error, 'reading', path)
  }
}

function writeOnce(file: File, bytes: Uint8Array, offset: number): number {
  try {
    return file.write(bytes, offset)
  } catch (cause) {
    throw ioError(cause, 'write', file.path)
  }
}

function checkCount(file: File, count: number, wanted: number, offset: number): void {
  if (count !== wanted) {
    throw corruption(file.path, offset + count, `the file ends here, ${wanted - count} bytes too early`)
  }
}
