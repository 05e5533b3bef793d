import type { File } from '../env/env.js'
import { type FileDecryptor, type FileEncryptor, SALT_BYTES, type Vault } from '../env/file-cipher.js'
import { writeFully } from '../env/write-fully.js'
import { corruption } from '../errors.js'
import { type Bytes, writeU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import {
  boundHeader,
  extendChain,
  FRAME_END,
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from './log-format.js'

/** As many encrypted bytes are gathered for one write(2); a longer frame goes alone. */
const GATHER_BYTES = 256 * 1024

/** Writes the frames of one encrypted log file. The memory they come from stays plain: readers are in it. */
export class EncryptedFrames {
  readonly #encryptor: FileEncryptor
  readonly #seed: number
  #gathered: Buffer = Buffer.alloc(0)

  constructor(encryptor: FileEncryptor, seed: number) {
    this.#encryptor = encryptor
    this.#seed = seed
  }

  /** Writes what stands in [from, to) of `memory` to the same place; returns the chain extended by its frames. */
  write(file: File, memory: Buffer, from: number, to: number, chain: number): number {
    let extended = chain
    for (let next = from; next < to; ) {
      const start = next
      const outgoing = this.#take(memory, start, to)
      while (next < to) {
        const sizeBytes = sizeOf(memory, next)
        if (next - start + sizeBytes > outgoing.length) break
        this.#encrypt(memory, next, sizeBytes, outgoing, next - start)
        if (next > 0) extended = extendChain(extended, outgoing, next - start)
        next += sizeBytes
      }
      writeFully(file, outgoing.subarray(0, next - start), start)
    }
    return extended
  }

  #encrypt(memory: Buffer, at: number, sizeBytes: number, outgoing: Buffer, to: number): void {
    const end = at + sizeBytes
    const { cipherBytes } = at === 0 ? { cipherBytes: 0 } : readFrameHeader(memory, at)
    if (cipherBytes === 0) {
      memory.copy(outgoing, to, at, end)
      return
    }
    const body = at + FRAME_HEADER_BYTES
    memory.copy(outgoing, to, at, body)
    const header = boundHeader(memory, at)
    this.#encryptor.encrypt(memory, body + cipherBytes, end, header, body, outgoing, to + FRAME_HEADER_BYTES)
    writeU32(outgoing, to, crc32(outgoing, to + 4, to + sizeBytes, this.#seed))
  }

  #take(memory: Buffer, at: number, to: number): Buffer {
    const wanted = Math.max(sizeOf(memory, at), Math.min(to - at, GATHER_BYTES))
    if (wanted > GATHER_BYTES) return Buffer.allocUnsafeSlow(wanted)
    if (wanted > this.#gathered.length)
      this.#gathered = Buffer.allocUnsafeSlow(Math.min(wanted * 2, GATHER_BYTES))
    return this.#gathered
  }
}

/**
 * What writes the frames of a log file once more that `memory` holds, decrypted where they stood: the same bytes again.
 * Undefined if there is nothing encrypted in it.
 */
export function sameFrames(vault: Vault, memory: Buffer): EncryptedFrames | undefined {
  const header = readLogHeader(memory, '')
  const piece = LOG_HEADER_BYTES + FRAME_HEADER_BYTES
  if (!header?.isEncrypted || memory.length < piece + SALT_BYTES) return undefined
  if (readFrameHeader(memory, LOG_HEADER_BYTES).cipherBytes === 0) return undefined
  const salt = memory.subarray(piece, piece + SALT_BYTES)
  const seed = logSeed(header.storeId, header.number)
  return new EncryptedFrames(vault.encryptorAgain('log', header.number, salt), seed)
}

/** Where the frame ends that reaches `atLeast`, or the last one. */
export function frameEndFrom(memory: Buffer, at: number, atLeast: number): number {
  let end = at
  while (end < atLeast && end < memory.length) end += sizeOf(memory, end)
  return end
}

/** The header of the file stands before all frames. */
function sizeOf(memory: Buffer, at: number): number {
  return at === 0 ? LOG_HEADER_BYTES : FRAME_HEADER_BYTES + readFrameHeader(memory, at).bodyBytes
}

/**
 * Makes the whole frame at `at` of `bytes`, which stands at `offset` of the file, plain, in place.
 * @throws VarveError `VARVE_CORRUPTION`, `VARVE_KEY`.
 */
export function decryptFrame(
  bytes: Bytes,
  at: number,
  decryptor: FileDecryptor | undefined,
  file: string,
  offset: number,
): void {
  for (const _ of decryptFrameInSteps(bytes, at, decryptor, file, offset));
}

/** As `decryptFrame`, in steps of well under a millisecond. */
export function* decryptFrameInSteps(
  bytes: Bytes,
  at: number,
  decryptor: FileDecryptor | undefined,
  file: string,
  offset: number,
): Generator<void, void> {
  const { kind, bodyBytes, cipherBytes } = readFrameHeader(bytes, at)
  if (kind === FRAME_END) return
  if (cipherBytes > 0 !== (decryptor !== undefined))
    throw corruption(file, offset, `a frame that is ${decryptor ? 'not ' : ''}encrypted`)
  if (!decryptor) return
  const body = at + FRAME_HEADER_BYTES
  const end = body + bodyBytes
  const bodyOffset = offset + FRAME_HEADER_BYTES
  const header = boundHeader(bytes, at)
  yield* decryptor.decrypt(bytes, body, end, header, file, bodyOffset, bytes, body + cipherBytes)
}
