import { joinPath, logFileName } from '../env/file-names.js'
import { corruption, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { FRAME_HEADER_BYTES } from '../log/log-format.js'
import type { LogFileInfo } from '../log/log-retention.js'
import type { Memtable } from '../memtable/memtable.js'
import { type BatchVisitor, FrameWalk } from '../store/frame-walk.js'
import { frameCorruption, LogFileReader } from '../store/log-file-reader.js'
import type { Store } from '../store/store.js'

/** Log bytes that one step visits at most, so that it takes a millisecond or two. */
const STEP_BYTES = 128 * 1024

/**
 * Walks the batches of the log in order, from any position that is still there: out of the memory of the memtables
 * where they are, else out of the files. Holds no memory between two steps but one chunk of a file.
 */
export class LogCursor {
  readonly #store: Store
  #position: Position
  #walk: FrameWalk | undefined
  #file: LogFileReader | undefined

  /** Stands after `position`. */
  constructor(store: Store, position: Position) {
    this.#store = store
    this.#position = position
    const { active } = store.tree
    // At the end of the log nothing has to be walked over to get there.
    if (position === active.lastPosition && !active.isEmpty) {
      this.#walkOf(active.logNumber).frameOffset = active.endOffset
    }
  }

  /** The last batch that was visited. */
  get position(): Position {
    return this.#position
  }

  /**
   * Visits some of the batches after the last one, none above `limit`, which is committed. None at all while it is
   * on its way through a long file: call it again.
   * @throws VarveError `VARVE_POSITION_LOST` with the oldest position, `VARVE_CORRUPTION`, `VARVE_IO`.
   */
  async step(limit: Position, visit: BatchVisitor): Promise<void> {
    if (this.#position >= limit) return
    const memtable = this.#store.tree.view.memtables.find((candidate) => this.#isIn(candidate))
    if (memtable) {
      this.close()
      await this.#stepInMemory(memtable, limit, visit)
      return
    }
    const info = this.#store.archive.files.find((file) => this.#isIn(file))
    if (!info) throw this.#lost()
    await this.#stepInFile(info, limit, visit)
  }

  /** As `step`, at once and for visitors that never wait; false where the next batch is in a file only. */
  stepNow(limit: Position, visit: BatchVisitor): boolean {
    const memtable = this.#store.tree.view.memtables.find((candidate) => this.#isIn(candidate))
    if (!memtable) return false
    this.close()
    this.#visitMemory(memtable, limit, visit)
    return true
  }

  /** The file that is open, if any; the cursor goes on after it. */
  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  #isIn({ basePosition, lastPosition }: { basePosition: Position; lastPosition: Position }): boolean {
    return basePosition <= this.#position && this.#position < lastPosition
  }

  #walkOf(number: number): FrameWalk {
    if (this.#walk?.logNumber !== number) {
      this.#walk = new FrameWalk(number, joinPath(this.#store.directory, logFileName(number)))
    }
    return this.#walk
  }

  #visitMemory(memtable: Memtable, limit: Position, visit: BatchVisitor): FrameWalk {
    const bytes = memtable.bytes as Buffer
    const walk = this.#walkOf(memtable.logNumber)
    const last = Math.min(limit, memtable.lastPosition)
    let budget = STEP_BYTES
    while (budget > 0 && this.#position < last && !walk.pending) {
      const before = walk.frameOffset
      if (before >= memtable.endOffset) {
        throw corruption(walk.path, before, `the log ends at position ${this.#position}, before ${last}`)
      }
      this.#position = walk.visit(bytes, 0, this.#position, last, budget, visit, true)
      // A frame that goes on is one that had more than the budget, or than the limit allowed.
      budget = walk.frameOffset === before ? 0 : budget - (walk.frameOffset - before)
    }
    return walk
  }

  async #stepInMemory(memtable: Memtable, limit: Position, visit: BatchVisitor): Promise<void> {
    const walk = this.#visitMemory(memtable, limit, visit)
    if (!walk.pending) return
    // The memory must stay what it is until the visitor is done with it.
    const view = this.#store.tree.view.acquire()
    try {
      await walk.pending
    } finally {
      walk.pending = undefined
      view.release()
    }
  }

  async #stepInFile(info: LogFileInfo, limit: Position, visit: BatchVisitor): Promise<void> {
    const file = await this.#open(info)
    const walk = this.#walkOf(info.number)
    const last = Math.min(limit, info.lastPosition)
    let budget = STEP_BYTES
    while (budget > 0 && this.#position < last && !walk.pending) {
      const before = walk.frameOffset
      const fault = file.has(before) ? undefined : await file.load(before)
      if (fault) throw frameCorruption(file, before, fault)
      this.#position = walk.visit(file.bytes, file.bytesOffset, this.#position, last, budget, visit)
      budget = walk.frameOffset === before ? 0 : budget - FRAME_HEADER_BYTES - (walk.frameOffset - before)
    }
    if (walk.pending) {
      try {
        await walk.pending
      } finally {
        walk.pending = undefined
      }
    }
    if (this.#position >= info.lastPosition) this.close()
  }

  async #open(info: LogFileInfo): Promise<LogFileReader> {
    if (this.#file?.number === info.number) return this.#file
    this.close()
    const { env, directory, fairTurn } = this.#store
    const file = await LogFileReader.open(env, directory, info.number, fairTurn)
    const path = joinPath(directory, logFileName(info.number))
    if (!file) {
      // What another process writes, that one also trims.
      if (this.#store.options.readOnly && !env.fs.stat(path)) throw this.#lost()
      throw corruption(path, 0, env.fs.stat(path) ? 'a damaged header' : 'the file is missing')
    }
    this.#file = file
    return file
  }

  #lost(): VarveError {
    const oldest = this.#store.oldestPosition
    const message = `the log no longer holds position ${this.#position + 1}: it starts at ${oldest}`
    return new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
  }
}
