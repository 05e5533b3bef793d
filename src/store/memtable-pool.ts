import { LogMemoryPool } from '../log/log-memory.js'
import { type IndexMemory, Memtable, makeIndex } from '../memtable/memtable.js'

/**
 * Log memories kept for the next memtables, beside those that flushed ones keep: a new one is faulted in, and stays
 * until a collection.
 */
const SPARE_LOG_MEMORY = 1
const SPARE_INDEXES = 1

/** The memory that memtables are made of, log and index, handed from those that nobody uses any more to later ones. */
export class MemtablePool {
  readonly #memory: LogMemoryPool
  readonly #indexes: IndexMemory[] = []
  readonly #spareIndexes: number

  /** @param isReused false where callers keep views of log memory beyond the life of a memtable. */
  constructor(memtableBytes: number, isReused: boolean) {
    this.#memory = new LogMemoryPool(memtableBytes, isReused ? SPARE_LOG_MEMORY : 0)
    this.#spareIndexes = isReused ? SPARE_INDEXES : 0
  }

  /** Log memory of at least `sizeMin` bytes. */
  take(sizeMin: number): Buffer {
    return this.#memory.take(sizeMin)
  }

  /** The memtable after `previous`, which is full: this one is likely to have as many entries. */
  makeNext(memory: Buffer, logNumber: number, previous: Memtable): Memtable {
    const index = this.#indexes.pop() ?? makeIndex(previous.count)
    return new Memtable(memory, logNumber, previous.lastPosition, index)
  }

  /** The caller promises that nobody looks at the memtable any more. */
  give(memtable: Memtable): void {
    this.#memory.give(memtable.bytes as Buffer)
    if (this.#indexes.length < this.#spareIndexes) this.#indexes.push(memtable.surrenderIndex())
  }
}
