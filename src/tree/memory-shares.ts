import type { Memtable } from '../memtable/memtable.js'

/** The block cache never gets less than this share of the memory: a store must not read without any cache. */
const CACHE_SHARE_MIN = 1 / 16
/** Up to so many full memtables, those that wait included, flushed ones are kept whatever the cache would do with it. */
const MEMTABLES_KEPT = 3

/** Bytes of the budget, and of what is taken of it now. */
export interface MemoryUse {
  readonly memory: number
  /** Of one full memtable, without its index. */
  readonly memtableBytes: number
  /** Indexes and filters of segments, and tables beside the cache. */
  readonly tables: number
  /** What the cache holds, not what it may hold. */
  readonly cache: number
}

/** Log memory and index of all of them. What nothing was written to is the cache's for that long. */
export function sizeOf(memtables: readonly Memtable[]): number {
  return memtables.reduce(
    (sum, memtable) => (memtable.isEmpty ? sum : sum + memtable.bytes.length + memtable.indexBytes),
    0,
  )
}

/** What memtables leave to the block cache. */
export function cacheCapacity({ memory, tables }: MemoryUse, memtables: readonly Memtable[]): number {
  return Math.max(memory - sizeOf(memtables) - tables, memory * CACHE_SHARE_MIN)
}

/** How many full memtables there is room for beside what the cache holds. */
export function memtableRoom(use: MemoryUse, memtables: readonly Memtable[]): number {
  const largest = memtables.reduce((most, memtable) => Math.max(most, sizeOf([memtable])), use.memtableBytes)
  return (use.memory - use.tables - use.cache) / largest
}

/**
 * How many of `flushed`, newest first, go on answering reads: what has room beside the other memtables and what the
 * cache holds. Some have it in any case; of more, the oldest leaves its memory to what is wanted, so that a load that
 * goes on uses that again and does not go through all there is.
 * @param wantedBytes of log memory, by the next memtable; 0: by none.
 */
export function keptFlushed(
  use: MemoryUse,
  unflushed: readonly Memtable[],
  flushed: readonly Memtable[],
  wantedBytes: number,
): number {
  const logBytesKept = use.memtableBytes * MEMTABLES_KEPT
  const sizeMax = use.memory - use.tables - use.cache
  let logBytes = wantedBytes + unflushed.reduce((sum, { bytes }) => sum + bytes.length, 0)
  let size = wantedBytes + sizeOf(unflushed)
  let kept = 0
  for (const memtable of flushed) {
    logBytes += memtable.bytes.length
    size += sizeOf([memtable])
    if (logBytes > logBytesKept && size > sizeMax) return kept
    kept++
  }
  return wantedBytes > 0 && logBytes > logBytesKept ? Math.max(0, kept - 1) : kept
}
