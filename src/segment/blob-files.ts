import type { Env } from '../env/env.js'
import { corruption, VarveError } from '../errors.js'
import { EXPIRY_BYTES, writeExpiry } from '../key/batch-format.js'
import { type Bytes, copyBytes } from '../util/bytes.js'
import { BlobFile } from './blob-file.js'
import { type BlobReference, readReference } from './blob-format.js'
import type { ReadContext } from './read-context.js'
import type { BlobMeta } from './segment-meta.js'

/** An entry whose value was brought to its key: as it would stand in a block, in memory of its own. */
export interface WholeEntry {
  readonly bytes: Buffer
  readonly keyEnd: number
  readonly valueStart: number
}

/** The blob files of a directory, each opened when it is first needed. */
export class BlobFiles {
  readonly #env: Env
  readonly #directory: string
  readonly #open = new Map<number, BlobFile>()
  #isClosed = false

  constructor(env: Env, directory: string) {
    this.#env = env
    this.#directory = directory
  }

  /** @throws VarveError `VARVE_CORRUPTION` if the file is not the one that `meta` describes. */
  check({ id, sizeBytes }: BlobMeta): void {
    const file = this.#file(id)
    if (file.sizeBytes !== sizeBytes)
      throw corruption(file.path, 0, `${file.sizeBytes} bytes instead of ${sizeBytes}`)
  }

  /** The value alone. May throw `BlockNeeded`. */
  read(reference: BlobReference, context: ReadContext, isQuick: boolean): Buffer {
    return this.#file(reference.blobId).read(reference, context, isQuick)
  }

  /** The entry [keyStart, keyEnd) with its value. May throw `BlockNeeded`. */
  bring(bytes: Bytes, keyStart: number, keyEnd: number, context: ReadContext, isQuick: boolean): WholeEntry {
    const reference = readReference(bytes, keyEnd)
    const value = this.read(reference, context, isQuick)
    const keyLength = keyEnd - keyStart
    const { expiresAt } = reference
    const valueStart = keyLength + (expiresAt === undefined ? 0 : EXPIRY_BYTES)
    const whole = Buffer.allocUnsafeSlow(valueStart + value.length)
    copyBytes(bytes, keyStart, keyEnd, whole, 0)
    if (expiresAt !== undefined) writeExpiry(whole, keyLength, expiresAt)
    whole.set(value, valueStart)
    return { bytes: whole, keyEnd: keyLength, valueStart }
  }

  /** Of a file that nobody needs any more. */
  close(id: number): void {
    this.#open.get(id)?.close()
    this.#open.delete(id)
  }

  closeAll(): void {
    this.#isClosed = true
    for (const file of this.#open.values()) file.close()
    this.#open.clear()
  }

  #file(id: number): BlobFile {
    let file = this.#open.get(id)
    if (!file) {
      // An iterator may outlive its store.
      if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
      file = new BlobFile(this.#env, this.#directory, id)
      this.#open.set(id, file)
    }
    return file
  }
}
