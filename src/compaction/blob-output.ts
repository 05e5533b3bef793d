import type { Env } from '../env/env.js'
import { blobFileName, joinPath } from '../env/file-names.js'
import type { EntryIterator } from '../iterator/entry-iterator.js'
import { EXPIRY_BYTES, expiryBetween, KIND_PUT } from '../key/batch-format.js'
import { BlobFiles } from '../segment/blob-files.js'
import {
  type BlobReference,
  isApart,
  REFERENCE_BYTES,
  readReference,
  writeReference,
} from '../segment/blob-format.js'
import { BlobWriter } from '../segment/blob-writer.js'
import { BLOCKING } from '../segment/read-context.js'
import type { BlobMeta } from '../segment/segment-meta.js'
import { type Bytes, copyBytes } from '../util/bytes.js'
import { Scratch } from '../util/scratch.js'
import type { OutputOptions } from './segment-job.js'

/** A new file is begun after so many bytes: what is garbage in one goes when the rest of it is moved on. */
const BLOB_FILE_BYTES = 64 * 2 ** 20

/** An entry with a reference in the place of its value. Borrowed until the next one. */
export interface EntryApart {
  readonly bytes: Bytes
  readonly keyEnd: number
  readonly valueStart: number
  readonly valueEnd: number
}

/** Sets large values apart from the entries of a job, and moves on those in files that are mostly garbage. */
export class BlobOutput {
  readonly #env: Env
  readonly #options: OutputOptions
  readonly #moved: ReadonlySet<number>
  readonly #source: BlobFiles
  readonly #scratch = new Scratch()
  readonly #written: BlobMeta[] = []
  #writer: BlobWriter | undefined
  readonly #created: string[] = []
  #nextId: number

  constructor(env: Env, options: OutputOptions) {
    this.#env = env
    this.#options = options
    this.#moved = new Set(options.movedBlobs)
    this.#source = new BlobFiles(env, options.directory)
    this.#nextId = options.firstBlobId
  }

  /** Undefined: the entry stays as it is. */
  setApart({ bytes, keyStart, keyEnd, kind, valueStart, valueEnd }: EntryIterator): EntryApart | undefined {
    if (kind !== KIND_PUT) return undefined
    if (isApart(bytes, keyEnd, valueStart, valueEnd)) {
      const before = readReference(bytes, keyEnd)
      if (!this.#moved.has(before.blobId)) return undefined
      const value = this.#source.read(before, BLOCKING, true)
      return this.#refer(bytes, keyStart, keyEnd, value, before.expiresAt)
    }
    if (valueEnd - valueStart < this.#options.blobMinBytes) return undefined
    const value = bytes.subarray(valueStart, valueEnd)
    return this.#refer(bytes, keyStart, keyEnd, value, expiryBetween(bytes, keyEnd, valueStart))
  }

  /** The files that were written, durable but for their names. */
  finish(): BlobMeta[] {
    this.#closeFile()
    this.#source.closeAll()
    return this.#written
  }

  /** Removes whatever was written. */
  abandon(): void {
    this.#source.closeAll()
    this.#writer?.abandon()
    for (const path of this.#created) if (this.#env.fs.stat(path)) this.#env.fs.remove(path)
  }

  #refer(
    bytes: Bytes,
    keyStart: number,
    keyEnd: number,
    value: Bytes,
    expiresAt: number | undefined,
  ): EntryApart {
    if (this.#writer && this.#writer.sizeBytes >= BLOB_FILE_BYTES) this.#closeFile()
    this.#writer ??= this.#startFile()
    const place = this.#writer.append(value)
    const reference: BlobReference = {
      ...place,
      expiresAt,
      blobId: this.#writer.id,
      valueBytes: value.length,
    }
    const keyLength = keyEnd - keyStart
    const entry = this.#scratch.take(keyLength + REFERENCE_BYTES)
    copyBytes(bytes, keyStart, keyEnd, entry, 0)
    writeReference(entry, keyLength, reference)
    // As of a put that expires: see `blob-format.ts`.
    return { bytes: entry, keyEnd: keyLength, valueStart: keyLength + EXPIRY_BYTES, valueEnd: entry.length }
  }

  #startFile(): BlobWriter {
    const { directory, isCompressed } = this.#options
    // Ids are drawn at random, but a file that a crash left may have it still.
    let path = joinPath(directory, blobFileName(this.#nextId))
    while (this.#env.fs.stat(path)) path = joinPath(directory, blobFileName(++this.#nextId))
    this.#created.push(path)
    return new BlobWriter(this.#env, directory, this.#nextId++, isCompressed)
  }

  #closeFile(): void {
    if (!this.#writer) return
    this.#written.push(this.#writer.finish())
    this.#writer = undefined
  }
}
