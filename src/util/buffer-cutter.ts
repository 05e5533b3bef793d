import { type Bytes, COPY_LOOP_MAX, cloneBytes, EMPTY_BYTES } from './bytes.js'

/** Node's own class of `Buffer`s, which `subarray` makes too, after it has looked up memory and bounds. */
const Piece = (
  Buffer as unknown as {
    readonly [Symbol.species]: new (memory: ArrayBufferLike, offset: number, length: number) => Buffer
  }
)[Symbol.species]

/** As Node's pool: what is kept of a small copy keeps at most so much memory alive. */
const POOL_BYTES = 8192
/** Larger copies get memory of their own. */
const POOLED_MAX = POOL_BYTES / 2
const ALIGNMENT = 8

/**
 * Makes the `Buffer`s that readers get. Remembers whose memory it cut last: to ask a `Buffer` for it costs as much
 * as to make one, and what is read one after another mostly stands together.
 */
export class BufferCutter {
  #from: Bytes = EMPTY_BYTES
  #memory: ArrayBufferLike = EMPTY_BYTES.buffer
  #offset = EMPTY_BYTES.byteOffset
  #pool = Buffer.alloc(0)
  #poolMemory: ArrayBuffer = this.#pool.buffer
  /** Beyond the end: there is no pool yet. */
  #poolAt = POOL_BYTES + 1

  // Hot: every entry of a scan (bench/scan.bench.js).
  /** As `bytes.subarray(start, end)`; the bounds must be within `bytes`. */
  view(bytes: Bytes, start: number, end: number): Buffer {
    if (bytes !== this.#from) this.#enter(bytes)
    return new Piece(this.#memory, this.#offset + start, end - start)
  }

  // Hot: every value that is read (bench/read.bench.js).
  /** A copy that nobody else writes to. */
  copy(bytes: Bytes, start: number, end: number): Buffer {
    const length = end - start
    if (length > POOLED_MAX) return cloneBytes(bytes, start, end)
    if (this.#poolAt + length > POOL_BYTES) this.#refill()
    const at = this.#poolAt
    this.#poolAt = (at + length + ALIGNMENT - 1) & -ALIGNMENT
    const pool = this.#pool
    if (length <= COPY_LOOP_MAX) for (let i = start, j = at; i < end; i++, j++) pool[j] = bytes[i]!
    else pool.set(this.view(bytes, start, end), at)
    return new Piece(this.#poolMemory, at, length)
  }

  #enter(bytes: Bytes): void {
    this.#from = bytes
    this.#memory = bytes.buffer
    this.#offset = bytes.byteOffset
  }

  #refill(): void {
    this.#pool = Buffer.allocUnsafeSlow(POOL_BYTES)
    this.#poolMemory = this.#pool.buffer
    this.#poolAt = 0
  }
}
