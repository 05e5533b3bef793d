import type { Env, File } from '../env/env.js'
import type { FileEncryptor } from '../env/file-cipher.js'
import { blobFileName, joinPath } from '../env/file-names.js'
import { writeFully } from '../env/write-fully.js'
import { ioError } from '../errors.js'
import type { Bytes } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { Scratch } from '../util/scratch.js'
import { encodeBlobHeader } from './blob-format.js'
import { sectionSizeMax, writeSection } from './block-codec.js'
import { compressInto } from './compression.js'
import type { BlobMeta } from './segment-meta.js'

/** Larger ones get memory of their own, which does not stay. */
const SCRATCH_BYTES_MAX = 4 * 2 ** 20

const SAMPLED_BYTES_MIN = 256 * 1024
const SAMPLE_BYTES = 16 * 1024
const SAMPLES = 4

/** Writes one blob file. Nothing is durable before `finish` returned. */
export class BlobWriter {
  readonly id: number
  readonly #isCompressed: boolean
  readonly #file: File
  readonly #encryptor: FileEncryptor | undefined
  readonly #scratch = new Scratch()
  #sizeBytes = 0
  #checksum = 0

  constructor(env: Env, directory: string, id: number, isCompressed: boolean) {
    this.id = id
    this.#isCompressed = isCompressed
    const path = joinPath(directory, blobFileName(id))
    try {
      this.#file = env.fs.open(path, 'create')
    } catch (error) {
      throw ioError(error, 'creating', path)
    }
    try {
      this.#encryptor = env.vault?.encryptor('blob')
      this.#write(encodeBlobHeader(id))
    } catch (error) {
      this.#file.close()
      throw error
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Appends a value; returns where its section stands. */
  append(value: Bytes): { readonly offset: number; readonly sizeBytes: number } {
    const sizeMax = sectionSizeMax(value.length)
    const memory = sizeMax > SCRATCH_BYTES_MAX ? Buffer.allocUnsafeSlow(sizeMax) : this.#scratch.take(sizeMax)
    const offset = this.#sizeBytes
    const place = this.#encryptor && { encryptor: this.#encryptor, offset }
    const sizeBytes = writeSection(value, this.#isCompressed && isWorthPacking(value), memory, 0, place)
    this.#write(memory.subarray(0, sizeBytes))
    return { offset, sizeBytes }
  }

  /** Completes the file and makes its bytes durable; its name is not until the directory is synced. */
  finish(): BlobMeta {
    try {
      this.#file.sync()
      this.#file.close()
    } catch (error) {
      throw ioError(error, 'syncing', this.#file.path)
    }
    return { id: this.id, sizeBytes: this.#sizeBytes, checksum: this.#checksum }
  }

  /** Gives the file up; its bytes are garbage that the caller removes. */
  abandon(): void {
    this.#file.close()
  }

  #write(bytes: Bytes): void {
    writeFully(this.#file, bytes, this.#sizeBytes)
    this.#checksum = crc32(bytes, 0, bytes.length, this.#checksum)
    this.#sizeBytes += bytes.length
  }
}

/** Whether samples of a large value get smaller: pictures and archives are not gone through in vain. */
function isWorthPacking(value: Bytes): boolean {
  if (value.length < SAMPLED_BYTES_MIN) return true
  const stride = Math.floor((value.length - SAMPLE_BYTES) / (SAMPLES - 1))
  const packed = Buffer.allocUnsafe(SAMPLE_BYTES)
  for (let i = 0; i < SAMPLES; i++) {
    const sample = value.subarray(i * stride, i * stride + SAMPLE_BYTES)
    if (compressInto(sample, packed, 0, SAMPLE_BYTES - (SAMPLE_BYTES >>> 3)) >= 0) return true
  }
  return false
}
