/** As Node's pool: what is kept of a small copy keeps at most so much memory alive. */
const POOL_BYTES = 8192
/** Larger copies get memory of their own. */
export const POOLED_MAX = POOL_BYTES / 2
const ALIGNMENT = 8

/** Memory for small copies that are given away: one piece after another, of which no byte is given twice. */
class CopyPool {
  /** The piece that holds what was taken last. */
  bytes = Buffer.alloc(0)
  /** The same memory. */
  words = new Int32Array(0)
  /** Beyond the end: there is no piece yet. */
  #at = POOL_BYTES + 1

  /** Where `length` bytes, `POOLED_MAX` at most, may be written in `bytes`, and as many more as make whole words. */
  take(length: number): number {
    if (this.#at + length > POOL_BYTES) {
      this.bytes = Buffer.allocUnsafeSlow(POOL_BYTES)
      this.words = new Int32Array(this.bytes.buffer)
      this.#at = 0
    }
    const at = this.#at
    this.#at = (at + length + ALIGNMENT - 1) & -ALIGNMENT
    return at
  }
}

/** One for all, so that what is read together stands together. */
export const ownCopies = new CopyPool()
