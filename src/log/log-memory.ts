/**
 * The memory of one log file, from its first byte to its last: what write(2) sends, what the memtable points into
 * and what the flush reads. Shared with background threads.
 */
export class LogMemoryPool {
  readonly #capacity: number
  readonly #spareMax: number
  readonly #spares: Buffer[] = []

  /** `spareMax` 0 where callers keep views of the memory beyond the life of a memtable. */
  constructor(capacity: number, spareMax: number) {
    this.#capacity = capacity
    this.#spareMax = spareMax
  }

  /** At least `sizeMin` bytes. */
  take(sizeMin: number): Buffer {
    if (sizeMin > this.#capacity) return Buffer.from(new SharedArrayBuffer(sizeMin))
    return this.#spares.pop() ?? Buffer.from(new SharedArrayBuffer(this.#capacity))
  }

  /** The caller promises that nobody looks at the memory any more. */
  give(memory: Buffer): void {
    if (memory.length === this.#capacity && this.#spares.length < this.#spareMax) this.#spares.push(memory)
  }
}
