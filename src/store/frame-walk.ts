import { corruption } from '../errors.js'
import { BATCH_HEADER_BYTES, batchSizeBytes, findBatchFault } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { FRAME_BATCHES, FRAME_HEADER_BYTES, LOG_HEADER_BYTES, readFrameHeader } from '../log/log-format.js'

/** Batches up to this are checked, and may be decoded, at once: about a millisecond. */
export const SMALL_BATCH_BYTES = 128 * 1024

/**
 * What a reader of the log is shown of each batch: it stands at `batchOffset` of `bytes`, which are borrowed until
 * the visitor returns, or until what it returns is done.
 */
export type BatchVisitor = (
  position: Position,
  timestampMs: number,
  bytes: Buffer,
  batchOffset: number,
) => Promise<void> | undefined

/** Where a reader stands in the frames of one log file; memory and file have the same bytes at the same offsets. */
export class FrameWalk {
  readonly logNumber: number
  /** For messages. */
  readonly path: string
  /** The frame that is walked. */
  frameOffset: number = LOG_HEADER_BYTES
  /** The next batch of that frame; undefined before its first. */
  #batchOffset: number | undefined
  #index = 0
  /** What a visitor has to finish before the walk goes on. */
  pending: Promise<void> | undefined

  constructor(logNumber: number, path: string) {
    this.logNumber = logNumber
    this.path = path
  }

  /**
   * Visits batches of the frame after `last`, none above `limit`, about `budget` bytes of them. `bytes` has the
   * whole frame, `shift` bytes before where it stands in the file. Returns the last position visited; the walk
   * stands at the next frame once this one is done. Batches are checked unless `isTrusted`: the commit pipeline wrote
   * them into this very memory.
   */
  visit(
    bytes: Buffer,
    shift: number,
    last: Position,
    limit: Position,
    budget: number,
    visit: BatchVisitor,
    isTrusted = false,
  ): Position {
    const at = this.frameOffset - shift
    const frame = readFrameHeader(bytes, at)
    const end = at + FRAME_HEADER_BYTES + frame.bodyBytes
    const frameLast = frame.firstPosition + frame.batchCount - 1
    if (frame.kind !== FRAME_BATCHES || frameLast <= last) {
      this.#leave(frame.bodyBytes)
      return last
    }
    if (frame.firstPosition > last + 1)
      this.#fail(at, shift, `position ${frame.firstPosition} follows ${last}`)
    const first = at + FRAME_HEADER_BYTES + frame.cipherBytes
    let batch = this.#batchOffset === undefined ? first : this.#batchOffset - shift
    let position = last
    const stop = batch + budget
    for (; this.#index < frame.batchCount && batch < stop && !this.pending; this.#index++) {
      const next = frame.firstPosition + this.#index
      if (next > limit) break
      const size = isTrusted ? batchSizeBytes(bytes, batch) : this.#checkedSize(bytes, batch, end, shift)
      if (next > position) {
        position = next
        this.pending = visit(next, frame.timestampMs, bytes, batch)
      }
      batch += size
    }
    this.#batchOffset = batch + shift
    if (this.#index < frame.batchCount) return position
    if (batch !== end) this.#fail(batch, shift, 'a frame with bytes left over')
    this.#leave(frame.bodyBytes)
    return position
  }

  #leave(bodyBytes: number): void {
    this.frameOffset += FRAME_HEADER_BYTES + bodyBytes
    this.#batchOffset = undefined
    this.#index = 0
  }

  #checkedSize(bytes: Buffer, batch: number, end: number, shift: number): number {
    if (batch + BATCH_HEADER_BYTES > end) this.#fail(batch, shift, 'a batch without a whole header')
    const size = batchSizeBytes(bytes, batch)
    if (batch + size > end) this.#fail(batch, shift, 'a batch longer than its frame')
    const fault = size <= SMALL_BATCH_BYTES ? findBatchFault(bytes, batch, end) : undefined
    if (fault) this.#fail(batch, shift, fault)
    return size
  }

  #fail(at: number, shift: number, what: string): never {
    throw corruption(this.path, at + shift, what)
  }
}
