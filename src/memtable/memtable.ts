import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  KIND_CLEAR,
  KIND_CURSOR,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { RangeTombstones } from '../key/range-tombstones.js'
import { type Bytes, EMPTY_BYTES, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { settleShape } from '../util/settle-shape.js'
import { uncountedWords } from '../util/uncounted-words.js'
import { firstSlot, HashIndex } from './hash-index.js'
import { readCursor, readTombstone } from './log-entries.js'
import type { EntryTable, SortedRun } from './sorted-run.js'
import { SortedRuns } from './sorted-runs.js'

const FIRST_CAPACITY = 256
/** From here on the entries of a log tell how many fit into the rest of it; room for so many more is made. */
const TELLING_SHARE = 1 / 16
const EXPECTED_MARGIN = 1 / 16
const GROWTH_MIN = 1.25
/** Offset, position and link of an entry; the hash index comes on top. */
const ENTRY_BYTES = 12

/** What the index of a memtable is made of. */
export interface IndexMemory {
  readonly offsets: Uint32Array
  readonly positions: Uint32Array
  readonly older: Uint32Array
  readonly table: HashIndex
}

/**
 * An index over the bytes of one log file. Holds no key and no value itself: an entry is the offset of its
 * operation in those bytes, its position (as a distance from the first), and the offset of the next older operation
 * on the same key. Entries are numbered as they come, so that offsets and positions ascend. Point reads follow the
 * hash index; ordered reads sort what is new since the last time.
 */
export class Memtable implements EntryTable {
  /** The log's memory; shared with background threads, appended to by the commit pipeline only. */
  readonly bytes: Bytes
  readonly logNumber: number
  /** The position before the first one in here. */
  readonly basePosition: Position
  readonly tombstones = new RangeTombstones()
  /** The states of consumers that changed in here, by name; empty: dropped. */
  readonly cursors = new Map<string, Bytes>()
  #index: HashIndex
  #offsets: Uint32Array
  #positions: Uint32Array
  #older: Uint32Array
  #count = 0
  #lastPosition: Position
  #endOffset = 0
  #lastBatchOffset = 0
  /** What `#endAt` gave last, and for which position: readers of an older state ask for the same one again. */
  #pastPosition: Position = -1
  #pastEnd = 0
  readonly #runs: SortedRuns

  constructor(bytes: Bytes, logNumber: number, basePosition: Position, index = makeIndex()) {
    const { offsets, positions, older, table } = index
    this.#index = table
    this.#offsets = offsets
    this.#positions = positions
    this.#older = older
    this.bytes = bytes
    this.logNumber = logNumber
    this.basePosition = basePosition
    this.#lastPosition = basePosition
    this.#runs = new SortedRuns(bytes)
  }

  get count(): number {
    return this.#count
  }

  /** No batch is in here, not even one without operations. */
  get isEmpty(): boolean {
    return this.#lastPosition === this.basePosition
  }

  get lastPosition(): Position {
    return this.#lastPosition
  }

  /** Offset after the last batch. */
  get endOffset(): number {
    return this.#endOffset
  }

  /** Where the last batch starts. */
  get lastBatchOffset(): number {
    return this.#lastBatchOffset
  }

  /** Bytes of the index; the log's bytes are counted by their owner. */
  get indexBytes(): number {
    return this.#offsets.length * ENTRY_BYTES + this.#index.sizeBytes + this.#runs.sizeBytes
  }

  /**
   * Gives the memory of the index away, made empty: as much as a load writes is soon as much again, and a new index
   * costs page faults, copies while it grows, and garbage that the collector has to look for. Nothing is found in
   * here any more.
   */
  surrenderIndex(): IndexMemory {
    const index = {
      offsets: this.#offsets,
      positions: this.#positions,
      older: this.#older,
      table: this.#index,
    }
    const { offsets, positions, older, table } = makeIndex()
    this.#offsets = offsets
    this.#positions = positions
    this.#older = older
    this.#index = table
    this.#count = 0
    index.table.clear()
    return index
  }

  /** Makes the batch whose bytes stand at `batchOffset` visible. Batches come in order of position. */
  apply(batchOffset: number, position: Position): void {
    const { bytes } = this
    const opCount = batchOpCount(bytes, batchOffset)
    let op = batchOffset + BATCH_HEADER_BYTES
    for (let i = 0; i < opCount; i++) {
      const kind = bytes[op]!
      if (kind < KIND_CLEAR || kind === KIND_PUT_UNTIL) this.#insert(op, position)
      else if (kind === KIND_CURSOR) readCursor(bytes, op, this.cursors)
      else this.tombstones.add(readTombstone(bytes, op, position))
      op += opSizeBytes(bytes, op)
    }
    this.#lastPosition = position
    this.#lastBatchOffset = batchOffset
    this.#endOffset = op
  }

  // Hot: every read (bench/read.bench.js).
  /** Where the newest operation on the key at or below `atMost` stands; -1 if there is none. */
  find(key: Bytes, keyStart: number, keyEnd: number, hash: number, atMost: Position): number {
    const table = this.#index.table(hash)
    if (table.length === 0) return -1
    const newest = this.#findNewest(table, key, keyStart, keyEnd, hash)
    if (newest < 0) return -1
    const op = table[newest]!
    return atMost >= this.#lastPosition ? op : this.#olderThan(op, this.#endAt(atMost))
  }

  /** The position of the operation that stands at `op`. */
  positionAt(op: number): Position {
    return this.positionOf(this.#entryAt(op, this.#count))
  }

  kindOf(entry: number): number {
    return this.bytes[this.#offsets[entry]!]!
  }

  positionOf(entry: number): Position {
    return this.basePosition + this.#positions[entry]!
  }

  hashOf(entry: number): number {
    const { bytes } = this
    const op = this.#offsets[entry]!
    const keyStart = op + OP_HEADER_BYTES
    return hashKey(bytes, keyStart, keyStart + opKeyLength(bytes, op))
  }

  /** Where the entry's operation stands in `bytes`. */
  offsetOf(entry: number): number {
    return this.#offsets[entry]!
  }

  /** Entries that the next ordered read has to sort. */
  get unsortedCount(): number {
    return this.#count - this.#runs.sortedCount
  }

  /** Sorts what is not sorted yet, in steps of a few milliseconds: call until it returns true. */
  sortSome(): boolean {
    return this.#runs.sortSome(this.#offsets, this.#count)
  }

  /** All entries up to now, as sorted arrays of entry numbers. Those arrays never change. */
  sortedRuns(): readonly SortedRun[] {
    while (!this.sortSome());
    return this.#runs.runs
  }

  #insert(op: number, position: Position): void {
    const { bytes } = this
    const keyStart = op + OP_HEADER_BYTES
    const keyEnd = keyStart + opKeyLength(bytes, op)
    const entry = this.#count
    if (entry === this.#offsets.length) this.#growEntries(op)
    this.#count = entry + 1
    this.#offsets[entry] = op
    this.#positions[entry] = position - this.basePosition
    const hash = hashKey(bytes, keyStart, keyEnd)
    const table = this.#index.table(hash)
    const slot = table.length === 0 ? -1 : this.#findNewest(table, bytes, keyStart, keyEnd, hash)
    if (slot < 0) {
      this.#older[entry] = 0
      this.#index.insert(hash, op)
    } else {
      this.#older[entry] = table[slot]!
      table[slot] = op
    }
  }

  /** The first of `op` and the older operations on its key that stands before `end`; -1 if none does. */
  #olderThan(op: number, end: number): number {
    let at = op
    for (let entry = this.#count; at >= end; ) {
      entry = this.#entryAt(at, entry)
      at = this.#older[entry]!
      if (at === 0) return -1
    }
    return at
  }

  /** Where the first operation above `position` stands, which is not the last position. */
  #endAt(position: Position): number {
    if (position === this.#pastPosition) return this.#pastEnd
    const distance = position - this.basePosition
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#positions[middle]! <= distance) low = middle + 1
      else high = middle
    }
    this.#pastPosition = position
    this.#pastEnd = low === this.#count ? this.#endOffset : this.#offsets[low]!
    return this.#pastEnd
  }

  /** The number of the entry whose operation stands at `op`: one below `before`. */
  #entryAt(op: number, before: number): number {
    let low = 0
    let high = before
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#offsets[middle]! < op) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The place in `table` of the key's newest offset; -1 if the key is not there. */
  #findNewest(table: Uint32Array, key: Bytes, keyStart: number, keyEnd: number, hash: number): number {
    const { bytes } = this
    const mask = table.length - 1
    const length = keyEnd - keyStart
    for (let slot = firstSlot(table, hash); table[slot + 1] !== 0; slot = (slot + 2) & mask) {
      if (table[slot] !== hash) continue
      const op = table[slot + 1]!
      if (opKeyLength(bytes, op) !== length) continue
      if (equalRange(bytes, op + OP_HEADER_BYTES, key, keyStart, length)) return slot + 1
    }
    return -1
  }

  /**
   * Doubles what there is for entries, or, once a part of the log's memory is used that tells how many will come, makes
   * room for all of them: the last time there would be megabytes to copy while a writer waits.
   */
  #growEntries(op: number): void {
    const count = this.#count
    const expected = Math.ceil((count * this.bytes.length) / op) * (1 + EXPECTED_MARGIN)
    const isTold = op >= this.bytes.length * TELLING_SHARE
    const capacity = isTold ? Math.ceil(Math.max(expected, count * GROWTH_MIN)) : count * 2
    this.#offsets = grown(this.#offsets, capacity)
    this.#positions = grown(this.#positions, capacity)
    this.#older = grown(this.#older, capacity)
  }
}

settleShape(() => new Memtable(EMPTY_BYTES, 0, 0))

/** @param entriesExpected there is room for so many, and a few more. */
export function makeIndex(entriesExpected = 0): IndexMemory {
  const capacity = Math.max(FIRST_CAPACITY, Math.ceil(entriesExpected * (1 + EXPECTED_MARGIN)))
  return {
    offsets: uncountedWords(capacity),
    positions: uncountedWords(capacity),
    older: uncountedWords(capacity),
    table: new HashIndex(entriesExpected),
  }
}

function grown(array: Uint32Array, length: number): Uint32Array {
  const larger = uncountedWords(length)
  larger.set(array)
  return larger
}
