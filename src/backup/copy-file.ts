import type { Env, File } from '../env/env.js'
import { isSameDigest, Sha256 } from '../env/sha256.js'
import { readFullyAsync, writeFully } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import { crc32 } from '../util/crc.js'
import type { BackupFile } from './backup-format.js'
import type { Pace } from './pace.js'

/** Reading, checking and writing so much holds the thread for less than a millisecond. */
const PIECE_BYTES = 256 * 1024

export interface Checksums {
  readonly sha256: Buffer
  readonly crc: number
}

/** The checksums of the first `sizeBytes` of a file, which it must have. */
export function checksumsOf(env: Env, path: string, sizeBytes: number, pace: Pace): Promise<Checksums> {
  return readThrough(env, path, sizeBytes, pace, undefined)
}

/** Copies the first `sizeBytes` of a file, which it must have, to a new one; durable, but for its name. */
export async function copyDurably(
  env: Env,
  from: string,
  to: string,
  sizeBytes: number,
  pace: Pace,
): Promise<Checksums> {
  const target = attempt('writing', to, () => env.fs.open(to, 'create'))
  try {
    const checksums = await readThrough(env, from, sizeBytes, pace, target)
    await target.syncAsync()
    return checksums
  } catch (error) {
    throw ioError(error, 'writing', to)
  } finally {
    target.close()
  }
}

/** @throws VarveError `VARVE_CORRUPTION` where a file is missing, of another length, or has other bytes than the backup says. */
export async function checkBackedUp(
  env: Env,
  path: string,
  file: BackupFile,
  read: () => Promise<Checksums>,
): Promise<void> {
  const stat = attempt('reading', path, () => env.fs.stat(path))
  if (!stat) throw corruption(path, 0, 'the file is missing')
  if (stat.sizeBytes !== file.sizeBytes)
    throw corruption(
      path,
      Math.min(stat.sizeBytes, file.sizeBytes),
      `${stat.sizeBytes} bytes instead of ${file.sizeBytes}`,
    )
  const { sha256 } = await read()
  if (!isSameDigest(sha256, file.sha256)) throw corruption(path, 0, 'SHA-256 mismatch')
}

async function readThrough(
  env: Env,
  path: string,
  sizeBytes: number,
  pace: Pace,
  target: File | undefined,
): Promise<Checksums> {
  const file = attempt('reading', path, () => env.fs.open(path, 'read'))
  try {
    const hash = new Sha256()
    const buffer = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, sizeBytes))
    let crc = 0
    for (let offset = 0; offset < sizeBytes; offset += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, sizeBytes - offset))
      await readFullyAsync(file, piece, offset)
      hash.update(piece)
      crc = crc32(piece, 0, piece.length, crc)
      if (target) writeFully(target, piece, offset)
      await pace.took(piece.length)
    }
    return { sha256: hash.digest(), crc }
  } finally {
    file.close()
  }
}

function attempt<T>(doing: string, path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw ioError(error, doing, path)
  }
}
