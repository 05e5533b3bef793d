import { batchSizeBytes } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, cloneBytes, copyBytes } from '../util/bytes.js'
import { STREAM_BATCHES, STREAM_HEADER_BYTES, writeStreamHeader } from './stream-format.js'

const FIRST_BYTES = 160 * 1024
/** Less is copied out, so that single writes do not each cost a large buffer. */
const SMALL_BYTES = 32 * 1024

/**
 * Gathers batches of the log into frames: those that follow one another with the same time and epoch share one.
 * The bytes are copied: what is on its way to a socket must not be memory that the log uses again.
 */
export class FrameBuilder {
  readonly #seed: number
  #bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #end = 0
  #frameStart = 0
  #batchCount = 0
  #firstPosition: Position = 0
  #timestampMs = 0
  #epoch = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  // Hot: every batch that a follower gets (bench/follower.bench.js).
  add(position: Position, timestampMs: number, epoch: number, bytes: Bytes, batchOffset: number): void {
    const sizeBytes = batchSizeBytes(bytes, batchOffset)
    const goesOn = this.#batchCount > 0 && timestampMs === this.#timestampMs && epoch === this.#epoch
    if (!goesOn) {
      this.#endFrame()
      this.#frameStart = this.#end
      this.#firstPosition = position
      this.#timestampMs = timestampMs
      this.#epoch = epoch
      this.#reserve(STREAM_HEADER_BYTES + sizeBytes)
      this.#end += STREAM_HEADER_BYTES
    } else {
      this.#reserve(sizeBytes)
    }
    copyBytes(bytes, batchOffset, batchOffset + sizeBytes, this.#bytes, this.#end)
    this.#end += sizeBytes
    this.#batchCount++
  }

  /** What was gathered, as whole frames, or undefined. The caller owns the bytes. */
  take(): Buffer | undefined {
    this.#endFrame()
    if (this.#end === 0) return undefined
    const isSmall = this.#end <= SMALL_BYTES
    const taken = isSmall ? cloneBytes(this.#bytes, 0, this.#end) : this.#bytes.subarray(0, this.#end)
    if (!isSmall) this.#bytes = Buffer.allocUnsafeSlow(FIRST_BYTES)
    this.#end = 0
    return taken
  }

  #endFrame(): void {
    if (this.#batchCount === 0) return
    const header = {
      bodyBytes: this.#end - this.#frameStart - STREAM_HEADER_BYTES,
      kind: STREAM_BATCHES,
      batchCount: this.#batchCount,
      firstPosition: this.#firstPosition,
      timestampMs: this.#timestampMs,
      epoch: this.#epoch,
    }
    writeStreamHeader(this.#bytes, this.#frameStart, header, this.#seed)
    this.#batchCount = 0
  }

  #reserve(sizeBytes: number): void {
    if (this.#end + sizeBytes <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#end + sizeBytes, this.#bytes.length * 2))
    this.#bytes.copy(grown, 0, 0, this.#end)
    this.#bytes = grown
  }
}
