import type { Env } from '../env/env.js'
import { openData } from '../env/open-data.js'
import { readFully } from '../env/write-fully.js'
import { corruption } from '../errors.js'
import { crc32 } from '../util/crc.js'

const READ_BYTES = 1024 * 1024

/** Size and CRC-32 of a whole file, in steps of a megabyte. */
export function* checksumOf(
  env: Env,
  path: string,
): Generator<void, { sizeBytes: number; checksum: number }> {
  const file = openData(env, path)
  try {
    const sizeBytes = file.sizeBytes()
    const buffer = Buffer.allocUnsafeSlow(Math.min(sizeBytes, READ_BYTES))
    let checksum = 0
    for (let at = 0; at < sizeBytes; at += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, sizeBytes - at))
      readFully(file, piece, at)
      checksum = crc32(piece, 0, piece.length, checksum)
      yield
    }
    return { sizeBytes, checksum }
  } finally {
    file.close()
  }
}

/** @throws VarveError `VARVE_CORRUPTION` where the file is not the one that was written. */
export function* verifyChecksum(
  env: Env,
  path: string,
  wanted: { readonly sizeBytes: number; readonly checksum: number },
): Generator<void> {
  const { sizeBytes, checksum } = yield* checksumOf(env, path)
  if (sizeBytes !== wanted.sizeBytes)
    throw corruption(path, 0, `${sizeBytes} bytes instead of ${wanted.sizeBytes}`)
  if (checksum !== wanted.checksum) throw corruption(path, 0, 'file checksum mismatch')
}
