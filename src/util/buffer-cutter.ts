import { type Bytes, COPY_LOOP_MAX, cloneBytes } from './bytes.js'
import { copiesOf, POOLED_MAX } from './copy-pool.js'

/** Node's own class of `Buffer`s, which `subarray` makes too, after it has looked up memory and bounds. */
const Piece = (
  Buffer as unknown as {
    readonly [Symbol.species]: new (memory: ArrayBufferLike, offset: number, length: number) => Buffer
  }
)[Symbol.species]

const NO_BYTES = Buffer.alloc(0)
const NO_MEMORY = NO_BYTES.buffer

/**
 * Makes the `Buffer`s that readers get. Remembers whose memory it cut last, and before that: to ask a `Buffer` for it
 * costs as much as to make one, and what is read one after another mostly stands in one place, or goes back and forth
 * between two. Costs nothing until it is used.
 */
export class BufferCutter {
  #from: Bytes = NO_BYTES
  #memory: ArrayBufferLike = NO_MEMORY
  #offset = 0
  #from2: Bytes = NO_BYTES
  #memory2: ArrayBufferLike = NO_MEMORY
  #offset2 = 0

  // Hot: every entry of a scan (bench/scan.bench.js).
  /** As `bytes.subarray(start, end)`; the bounds must be within `bytes`. */
  view(bytes: Bytes, start: number, end: number): Buffer {
    if (bytes !== this.#from) this.#enter(bytes)
    return new Piece(this.#memory, this.#offset + start, end - start)
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
}

// Hot: every value that is read (bench/read.bench.js).
/**
 * A copy that nobody else writes to. Does not remember whose memory it copied: one read after the other finds its value
 * in another place, and to note that costs more than asking.
 */
export function pooledCopy(bytes: Bytes, start: number, end: number): Buffer {
  const length = end - start
  if (length > POOLED_MAX) return cloneBytes(bytes, start, end)
  const pool = copiesOf(length)
  const at = pool.take(length)
  const into = pool.bytes
  if (length <= COPY_LOOP_MAX) for (let i = start, j = at; i < end; i++, j++) into[j] = bytes[i]!
  else into.set(new Piece(bytes.buffer, bytes.byteOffset + start, length), at)
  return new Piece(pool.memory, at, length)
}
