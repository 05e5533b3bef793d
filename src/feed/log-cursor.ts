import type { File } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFullyAsync } from '../env/write-fully.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { batchSizeBytes, findBatchFault } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import {
  FRAME_BATCHES,
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from '../log/log-format.js'
import type { LogFileInfo } from '../log/log-retention.js'
import { isFrame } from '../log/log-scan.js'
import type { Memtable } from '../memtable/memtable.js'
import type { Store } from '../store/store.js'
import { readU32 } from '../util/bytes.js'

/** File bytes read at once; a longer frame is read whole. */
const CHUNK_BYTES = 256 * 1024
/** Log bytes that one step visits at most, so that it takes a millisecond or two. */
const STEP_BYTES = 128 * 1024

/** What a cursor shows of each batch: it stands at `batchOffset` of `bytes`, borrowed until the visitor returns. */
export type BatchVisitor = (
  position: Position,
  timestampMs: number,
  bytes: Buffer,
  batchOffset: number,
) => void

/** Where the next frame stands: memory and file of a log have the same bytes at the same offsets. */
interface Place {
  readonly logNumber: number
  readonly offset: number
}

interface OpenLog {
  readonly info: LogFileInfo
  readonly file: File
  readonly seed: number
  chunk: Buffer
  /** Where `chunk` stands in the file. */
  chunkOffset: number
}

/**
 * Walks the batches of the log in order, from any position that is still there: out of the memory of the memtables
 * where they are, else out of the files. Holds no memory between two steps but one chunk of a file.
 */
export class LogCursor {
  readonly #store: Store
  #position: Position
  #place: Place | undefined
  #open: OpenLog | undefined

  /** Stands after `position`. */
  constructor(store: Store, position: Position) {
    this.#store = store
    this.#position = position
  }

  /** The last batch that was visited. */
  get position(): Position {
    return this.#position
  }

  /**
   * Visits some of the batches after the last one, none above `limit`, which is committed. At least one if there is.
   * @throws VarveError `VARVE_POSITION_LOST` with the oldest position, `VARVE_CORRUPTION`, `VARVE_IO`.
   */
  async step(limit: Position, visit: BatchVisitor): Promise<void> {
    if (this.#position >= limit) return
    const memtable = this.#store.tree.view.memtables.find((candidate) => this.#isIn(candidate))
    if (memtable) {
      this.#closeFile()
      this.#stepInMemory(memtable, limit, visit)
      return
    }
    const info = this.#store.archive.files.find((file) => this.#isIn(file))
    if (!info) throw this.#lost()
    await this.#stepInFile(info, limit, visit)
  }

  close(): void {
    this.#closeFile()
  }

  #isIn({ basePosition, lastPosition }: { basePosition: Position; lastPosition: Position }): boolean {
    return basePosition <= this.#position && this.#position < lastPosition
  }

  #stepInMemory(memtable: Memtable, limit: Position, visit: BatchVisitor): void {
    const bytes = memtable.bytes as Buffer
    let offset = this.#place?.logNumber === memtable.logNumber ? this.#place.offset : LOG_HEADER_BYTES
    const stop = offset + STEP_BYTES
    const start = this.#position
    while (
      offset < memtable.endOffset &&
      this.#position < limit &&
      (offset < stop || this.#position === start)
    ) {
      const end = offset + FRAME_HEADER_BYTES + readU32(bytes, offset + 4)
      if (!this.#visitFrame(bytes, offset, limit, visit)) break
      offset = end
    }
    this.#place = { logNumber: memtable.logNumber, offset }
  }

  /** False if the frame goes on above `limit`. */
  #visitFrame(bytes: Buffer, at: number, limit: Position, visit: BatchVisitor): boolean {
    const frame = readFrameHeader(bytes, at)
    if (frame.kind !== FRAME_BATCHES || frame.firstPosition + frame.batchCount <= this.#position + 1)
      return true
    let batch = at + FRAME_HEADER_BYTES
    for (let i = 0; i < frame.batchCount; i++) {
      const position = frame.firstPosition + i
      if (position > limit) return false
      if (position > this.#position) {
        visit(position, frame.timestampMs, bytes, batch)
        this.#position = position
      }
      batch += batchSizeBytes(bytes, batch)
    }
    return true
  }

  async #stepInFile(info: LogFileInfo, limit: Position, visit: BatchVisitor): Promise<void> {
    if (this.#open?.info.number !== info.number) await this.#openFile(info)
    const log = this.#open!
    const start = this.#position
    let offset = this.#place?.logNumber === info.number ? this.#place.offset : LOG_HEADER_BYTES
    while (this.#position === start) {
      const frameBytes = await this.#loadFrame(log, offset)
      const stop = log.chunkOffset + log.chunk.length
      let next = offset + frameBytes
      // Every whole frame of the chunk, without another wait.
      for (;;) {
        const at = offset - log.chunkOffset
        if (!isFrame(log.chunk, at, log.seed)) throw corruption(log.file.path, offset, 'a damaged frame')
        this.#checkBatches(log, at)
        if (!this.#visitFrame(log.chunk, at, limit, visit)) break
        offset = next
        if (this.#position >= Math.min(limit, info.lastPosition) || offset + FRAME_HEADER_BYTES > stop) break
        next = offset + FRAME_HEADER_BYTES + readU32(log.chunk, offset - log.chunkOffset + 4)
        if (next > stop) break
      }
    }
    this.#place = { logNumber: info.number, offset }
    if (this.#position >= info.lastPosition) this.#closeFile()
  }

  #checkBatches(log: OpenLog, frameAt: number): void {
    const { batchCount, bodyBytes } = readFrameHeader(log.chunk, frameAt)
    const end = frameAt + FRAME_HEADER_BYTES + bodyBytes
    let batch = frameAt + FRAME_HEADER_BYTES
    for (let i = 0; i < batchCount; i++) {
      const fault = findBatchFault(log.chunk, batch, end)
      if (fault) throw corruption(log.file.path, log.chunkOffset + batch, fault)
      batch += batchSizeBytes(log.chunk, batch)
    }
  }

  /** Makes the chunk hold the whole frame at `offset`; returns its size. */
  async #loadFrame(log: OpenLog, offset: number): Promise<number> {
    let size = FRAME_HEADER_BYTES
    for (let needed = size; ; needed = size) {
      if (offset < log.chunkOffset || offset + needed > log.chunkOffset + log.chunk.length) {
        await this.#loadChunk(log, offset, Math.max(needed, CHUNK_BYTES))
      }
      if (offset + needed > log.chunkOffset + log.chunk.length) {
        throw corruption(log.file.path, offset, 'the file ends within a frame')
      }
      if (needed > FRAME_HEADER_BYTES) return size
      size += readU32(log.chunk, offset - log.chunkOffset + 4)
      if (size === FRAME_HEADER_BYTES) return size
    }
  }

  async #loadChunk(log: OpenLog, offset: number, size: number): Promise<void> {
    const left = log.file.sizeBytes() - offset
    if (left <= 0) throw corruption(log.file.path, offset, 'the file ends too early')
    const chunk = Buffer.allocUnsafeSlow(Math.min(size, left))
    await readFullyAsync(log.file, chunk, offset)
    log.chunk = chunk
    log.chunkOffset = offset
  }

  async #openFile(info: LogFileInfo): Promise<void> {
    this.#closeFile()
    const path = joinPath(this.#store.directory, logFileName(info.number))
    let file: File
    try {
      file = this.#store.env.fs.open(path, 'read')
    } catch (error) {
      throw ioError(error, 'reading', path)
    }
    const bytes = Buffer.alloc(LOG_HEADER_BYTES)
    try {
      await readFullyAsync(file, bytes, 0)
      const header = readLogHeader(bytes, path)
      if (!header) throw corruption(path, 0, 'a damaged header')
      const seed = logSeed(header.storeId, info.number)
      this.#open = { info, file, seed, chunk: Buffer.alloc(0), chunkOffset: 0 }
    } catch (error) {
      file.close()
      throw error
    }
  }

  #closeFile(): void {
    this.#open?.file.close()
    this.#open = undefined
  }

  #lost(): VarveError {
    const oldest = this.#store.oldestPosition
    const message = `the log no longer holds position ${this.#position + 1}: it starts at ${oldest}`
    return new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
  }
}
