import { type Bytes, COPY_LOOP_MAX, cloneBytes } from './bytes.js'

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

const NO_POOL = Buffer.alloc(0)
const NO_MEMORY = NO_POOL.buffer

/**
 * Makes the `Buffer`s that readers get. Remembers whose memory it cut last, and before that: to ask a `Buffer` for it
 * costs as much as to make one, and what is read one after another mostly stands in one place, or goes back and forth
 * between two. Costs nothing until it is used.
 */
export class BufferCutter {
  #from: Bytes = NO_POOL
  #memory: ArrayBufferLike = NO_MEMORY
  #offset = 0
  #from2: Bytes = NO_POOL
  #memory2: ArrayBufferLike = NO_MEMORY
  #offset2 = 0
  #pool = NO_POOL
  #poolMemory: ArrayBuffer = NO_MEMORY
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
    const isBack = bytes === this.#from2
    const memory = isBack ? this.#memory2 : bytes.buffer
    const offset = isBack ? this.#offset2 : bytes.byteOffset
    this.#from2 = this.#from
    this.#memory2 = this.#memory
    this.#offset2 = this.#offset
    this.#from = bytes
    this.#memory = memory
    this.#offset = offset
  }

  #refill(): void {
    this.#pool = Buffer.allocUnsafeSlow(POOL_BYTES)
    this.#poolMemory = this.#pool.buffer
    this.#poolAt = 0
  }
}
