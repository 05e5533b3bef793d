import type { Env } from '../env/env.js'
import { blobFileName, joinPath } from '../env/file-names.js'
import { VarveError } from '../errors.js'
import { BlobFiles } from '../segment/blob-files.js'
import { isApart, readReference } from '../segment/blob-format.js'
import type { EntryFields } from '../segment/block.js'
import { BLOCKING } from '../segment/read-context.js'
import { type Bytes, cloneBytes } from '../util/bytes.js'
import type { RepairLoss } from './repair-report.js'

/** Tells which values that stand apart can be read, and notes those that cannot. Asked for entries in their order. */
export class SoundValues {
  readonly #directory: string
  readonly #files: BlobFiles
  /** By the file's id: the keys from the first to the last value of it that is lost. */
  readonly #lost = new Map<number, RepairLoss>()
  #lastKey: Bytes | undefined

  constructor(env: Env, directory: string) {
    this.#directory = directory
    this.#files = new BlobFiles(env, directory)
  }

  get lost(): RepairLoss[] {
    return [...this.#lost.values()]
  }

  isSound(bytes: Bytes, { keyStart, keyEnd, valueStart, valueEnd }: EntryFields): boolean {
    const key = cloneBytes(bytes, keyStart, keyEnd)
    const before = this.#lastKey
    this.#lastKey = key
    if (!isApart(bytes, keyEnd, valueStart, valueEnd)) return true
    const reference = readReference(bytes, keyEnd)
    try {
      this.#files.read(reference, BLOCKING, true)
      return true
    } catch (error) {
      if (!(error instanceof VarveError) || error.code === 'VARVE_KEY') throw error
      this.#note(reference.blobId, before, key)
      return false
    }
  }

  close(): void {
    this.#files.closeAll()
  }

  #note(blobId: number, before: Bytes | undefined, key: Bytes): void {
    const file = joinPath(this.#directory, blobFileName(blobId))
    const first = this.#lost.get(blobId)
    const after = first ? first.after : before
    this.#lost.set(blobId, { file, kind: 'blob', ...(after ? { after } : {}), upTo: key })
  }
}
