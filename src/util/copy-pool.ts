/** As Node's pool: what is kept of a small copy keeps at most so much memory alive. */
const PIECE_BYTES = 8192
/** A piece takes a microsecond to make: copies of 1,000 bytes are 15 % cheaper out of pieces of this size. */
const LARGE_PIECE_BYTES = 32 * 1024
/** From here on copies are out of large pieces: 64 times what is kept is alive then, at most. */
const LARGE_MIN = 512
/** Larger copies get memory of their own. */
export const POOLED_MAX = PIECE_BYTES / 2
const ALIGNMENT = 8

/** Memory for small copies that are given away: one piece after another, of which no byte is given twice. */
class CopyPool {
  /** The piece that holds what was taken last. */
  bytes = Buffer.alloc(0)
  /** The same memory. */
  words = new Int32Array(0)
  memory: ArrayBuffer = this.words.buffer
  readonly #pieceBytes: number
  /** Beyond the end: there is no piece yet. */
  #at: number

  constructor(pieceBytes: number) {
    this.#pieceBytes = pieceBytes
    this.#at = pieceBytes + 1
  }

  /** Where `length` bytes, `POOLED_MAX` at most, may be written in `bytes`, and as many more as make whole words. */
  take(length: number): number {
    if (this.#at + length > this.#pieceBytes) {
      this.bytes = Buffer.allocUnsafeSlow(this.#pieceBytes)
      this.memory = this.bytes.buffer
      this.words = new Int32Array(this.memory)
      this.#at = 0
    }
    const at = this.#at
    this.#at = (at + length + ALIGNMENT - 1) & -ALIGNMENT
    return at
  }
}

/** One for all, so that what is read together stands together. */
export const ownCopies = new CopyPool(PIECE_BYTES)
const largeCopies = new CopyPool(LARGE_PIECE_BYTES)

/** Where a copy of `length` bytes, `POOLED_MAX` at most, is best made, if whoever gets it may keep it alone. */
export function copiesOf(length: number): CopyPool {
  return length < LARGE_MIN ? ownCopies : largeCopies
}
