import type { Env, File } from '../env/env.js'
import type { FileDecryptor } from '../env/file-cipher.js'
import { blobFileName, joinPath } from '../env/file-names.js'
import { openData } from '../env/open-data.js'
import { readFully, readFullyAsync } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import { Scratch } from '../util/scratch.js'
import { BLOB_HEADER_BYTES, type BlobReference, checkBlobHeader } from './blob-format.js'
import { decodeSection } from './block-codec.js'
import { BlockNeeded, type BlockSource, type ReadContext } from './read-context.js'

/** Larger values are read on another thread wherever a read may wait. */
const READ_AT_ONCE_BYTES_MAX = 256 * 1024

/** An open blob file. */
export class BlobFile implements BlockSource<Buffer> {
  readonly sizeBytes: number
  readonly #file: File
  readonly #decryptor: FileDecryptor | undefined
  #isClosed = false

  /** @throws VarveError `VARVE_CORRUPTION` where it is missing or is no blob file of that id. */
  constructor(env: Env, directory: string, id: number) {
    this.#file = openData(env, joinPath(directory, blobFileName(id)))
    this.#decryptor = env.vault?.decryptor('blob')
    try {
      this.sizeBytes = this.#file.sizeBytes()
      const header = Buffer.alloc(BLOB_HEADER_BYTES)
      readFully(this.#file, header, 0)
      checkBlobHeader(header, this.path, id)
    } catch (error) {
      this.#file.close()
      throw ioError(error, 'opening', this.path)
    }
  }

  get path(): string {
    return this.#file.path
  }

  /**
   * The value, in memory of its own. May throw `BlockNeeded`.
   * @param isQuick whether a small one is read at once although the operation may wait.
   */
  read(reference: BlobReference, context: ReadContext, isQuick: boolean): Buffer {
    const { offset, sizeBytes } = reference
    this.#checkPlace(reference)
    // Taken: what is given out may be written to by whoever gets it.
    const loaded = context.take(this, offset)
    if (loaded) return this.#decode(loaded, reference)
    if (!context.mayBlock && !(isQuick && sizeBytes <= READ_AT_ONCE_BYTES_MAX))
      throw new BlockNeeded(this, offset, offset + sizeBytes - 1)
    const section = Buffer.allocUnsafeSlow(sizeBytes)
    readFully(this.#file, section, offset)
    return this.#decode(section, reference)
  }

  /** The bytes [first, last] of the file, under `first`. */
  async loadAsync(first: number, last: number): Promise<Map<number, Buffer>> {
    const bytes = Buffer.allocUnsafeSlow(last + 1 - first)
    await readFullyAsync(this.#file, bytes, first)
    return new Map([[first, bytes]])
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#file.close()
  }

  /** Before memory is taken for what a damaged reference says. */
  #checkPlace({ offset, sizeBytes }: BlobReference): void {
    if (offset >= BLOB_HEADER_BYTES && offset + sizeBytes <= this.sizeBytes) return
    throw corruption(this.path, offset, 'the file ends before a value that a segment refers to')
  }

  #decode(section: Buffer, { offset, valueBytes }: BlobReference): Buffer {
    // Memory of this read alone: what is not packed stays where it was read.
    const scratch = new Scratch()
    const value = decodeSection(section, 0, section.length, this.path, offset, this.#decryptor, scratch)
    if (value.length !== valueBytes)
      throw corruption(this.path, offset, `a value of ${value.length} bytes instead of ${valueBytes}`)
    return value
  }
}
