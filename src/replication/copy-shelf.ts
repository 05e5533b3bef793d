import { joinPath } from '../env/file-names.js'
import { readFullyAsync } from '../env/write-fully.js'
import { ioError, VarveError } from '../errors.js'
import type { Store } from '../store/store.js'
import type { TreeView } from '../tree/tree-view.js'
import { asBuffer } from '../util/bytes.js'
import { type DataFile, dataFilesOf } from '../version/data-files.js'
import { encodeEdit } from '../version/edit-format.js'
import type { CopyOffer } from './messages.js'

const CHUNK_BYTES = 256 * 1024
/** A copy that nobody reads for so long is given up. */
const IDLE_MS = 60_000

interface HeldCopy {
  readonly followerId: string
  readonly session: string
  readonly store: Store
  readonly view: TreeView
  readonly files: ReadonlyMap<string, DataFile>
  cancelExpiry: (() => void) | undefined
}

/** Copies of the tree that followers fetch: each keeps the files of one moment on disk while it is read. */
export class CopyShelf {
  readonly #copiesMax: number
  readonly #copies = new Map<string, HeldCopy>()

  constructor(copiesMax: number) {
    this.#copiesMax = copiesMax
  }

  open(store: Store, followerId: string): CopyOffer {
    this.release(followerId)
    if (this.#copies.size >= this.#copiesMax)
      throw new VarveError('VARVE_LIMIT', `${this.#copiesMax} copies are fetched already`)
    const view = store.tree.view.acquire()
    const { levels, flushedPosition, flushedChecksum, tombstoneHorizon, cursors } = view.version
    const added = levels.flatMap((metas, level) => metas.map((meta) => ({ level, meta })))
    const edit = encodeEdit({
      added,
      blobs: [...view.version.blobs.values()],
      flushedPosition,
      tombstoneHorizon,
      cursors,
      lineage: store.lineage,
      ...(flushedChecksum === undefined ? {} : { flushedChecksum }),
    })
    const id = Buffer.alloc(16)
    store.env.random.fill(id)
    // Only what is listed here is ever opened, whatever name is asked for.
    const files = new Map(dataFilesOf(view.version).map((file) => [file.name, file]))
    const session = id.toString('hex')
    const copy: HeldCopy = { followerId, session, store, view, files, cancelExpiry: undefined }
    this.#copies.set(session, copy)
    this.#keep(copy)
    return { session, edit: asBuffer(edit) }
  }

  read(session: string, name: string): { sizeBytes: number; bytes: AsyncGenerator<Buffer> } {
    const copy = this.#copies.get(session)
    const file = copy?.files.get(name)
    if (!copy || !file) throw new VarveError('VARVE_POSITION_LOST', 'that copy is not held any more')
    return { sizeBytes: file.sizeBytes, bytes: this.#bytes(copy, file) }
  }

  /** The follower has fetched what it wanted, or begins anew. */
  release(followerId: string): void {
    for (const copy of [...this.#copies.values()]) if (copy.followerId === followerId) this.#drop(copy)
  }

  close(): void {
    for (const copy of [...this.#copies.values()]) this.#drop(copy)
  }

  async *#bytes(copy: HeldCopy, { name, sizeBytes }: DataFile): AsyncGenerator<Buffer> {
    const { store, view } = copy
    const path = joinPath(store.directory, name)
    // Its own hold: the copy may be given up while a last chunk is under way.
    view.acquire()
    try {
      const file = store.env.fs.open(path, 'read')
      try {
        for (let offset = 0; offset < sizeBytes; offset += CHUNK_BYTES) {
          store.throwIfClosed()
          this.#keep(copy)
          const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, sizeBytes - offset))
          await readFullyAsync(file, chunk, offset)
          yield chunk
        }
      } finally {
        file.close()
      }
    } catch (error) {
      throw ioError(error, 'reading', path)
    } finally {
      view.release()
    }
  }

  #keep(copy: HeldCopy): void {
    if (!this.#copies.has(copy.session)) return
    copy.cancelExpiry?.()
    copy.cancelExpiry = copy.store.env.clock.afterUnref(IDLE_MS, () => this.#drop(copy))
  }

  #drop(copy: HeldCopy): void {
    copy.cancelExpiry?.()
    if (this.#copies.delete(copy.session)) copy.view.release()
  }
}
