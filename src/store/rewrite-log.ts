import type { Env, File } from '../env/env.js'
import { joinPath, logFileName, temporaryLogName } from '../env/file-names.js'
import { writeFully } from '../env/write-fully.js'
import { ioError } from '../errors.js'
import { frameEndFrom, sameFrames } from '../log/frame-cipher.js'
import { asBuffer, type Bytes } from '../util/bytes.js'

const PIECE_BYTES = 1024 * 1024

/**
 * Puts a file of these bytes, durably, in the place of the log file of that number. Not into the same file: what a
 * failed sync has left of it the system may take for written. Of an encrypted log `bytes` are what recovery decrypted.
 */
export async function rewriteLog(env: Env, directory: string, number: number, bytes: Bytes): Promise<void> {
  const { fs } = env
  const path = joinPath(directory, logFileName(number))
  const temporary = joinPath(directory, temporaryLogName(number))
  try {
    if (fs.stat(temporary)) fs.remove(temporary)
    const file = fs.open(temporary, 'create')
    try {
      await writeDurably(env, file, asBuffer(bytes))
    } finally {
      file.close()
    }
    fs.rename(temporary, path)
    fs.syncDirectory(directory)
  } catch (error) {
    throw ioError(error, 'writing anew', path)
  }
}

async function writeDurably(env: Env, file: File, bytes: Buffer): Promise<void> {
  const encrypted = env.vault && sameFrames(env.vault, bytes)
  for (let offset = 0; offset < bytes.length; ) {
    const start = offset
    offset = Math.min(bytes.length, start + PIECE_BYTES)
    if (encrypted) {
      offset = frameEndFrom(bytes, start, offset)
      encrypted.write(file, bytes, start, offset, 0)
    } else {
      writeFully(file, bytes.subarray(start, offset), start)
    }
    await env.clock.sleep(0)
  }
  await file.syncAsync()
}
