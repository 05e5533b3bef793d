import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  KIND_CLEAR,
  KIND_CURSOR,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { asBuffer, type Bytes, cloneBytes } from '../util/bytes.js'
import { letGo } from '../util/let-go.js'
import { sortEntries } from './sort-entries.js'
import { type EntryTable, SortedRun } from './sorted-run.js'

/** The entries of a log file's memory without an index: what a flush needs of a memtable. */
export class LogEntries implements EntryTable {
  readonly bytes: Bytes
  readonly tombstones: RangeTombstone[] = []
  readonly #basePosition: Position
  #offsets = new Uint32Array(4096)
  #positions = new Uint32Array(4096)
  #count = 0
  #order: Uint32Array | undefined
  lastPosition: Position

  constructor(bytes: Bytes, basePosition: Position) {
    this.bytes = bytes
    this.#basePosition = basePosition
    this.lastPosition = basePosition
  }

  addBatch(batchOffset: number, position: Position): void {
    const { bytes } = this
    const opCount = batchOpCount(bytes, batchOffset)
    let op = batchOffset + BATCH_HEADER_BYTES
    for (let i = 0; i < opCount; i++) {
      const kind = bytes[op]!
      if (kind < KIND_CLEAR || kind === KIND_PUT_UNTIL) this.#addEntry(op, position)
      else if (kind !== KIND_CURSOR) this.tombstones.push(readTombstone(bytes, op, position))
      op += opSizeBytes(bytes, op)
    }
    this.lastPosition = position
  }

  /** All entries as one sorted run, numbered anew in its order: a walk over it takes the numbers one after another. */
  sorted(): SortedRun {
    const order = sortEntries(this.bytes, this.#offsets, 0, this.#count)
    this.#offsets = reordered(this.#offsets, order)
    this.#positions = reordered(this.#positions, order)
    for (let i = 0; i < order.length; i++) order[i] = i
    this.#order = order
    return new SortedRun(order)
  }

  /** Nobody asks for an entry, or looks at the sorted run, any more. */
  close(): void {
    letGo(this.#offsets)
    letGo(this.#positions)
    if (this.#order) letGo(this.#order)
  }

  offsetOf(entry: number): number {
    return this.#offsets[entry]!
  }

  positionOf(entry: number): Position {
    return this.#basePosition + this.#positions[entry]!
  }

  #addEntry(op: number, position: Position): void {
    if (this.#count === this.#offsets.length) this.#grow()
    this.#offsets[this.#count] = op
    this.#positions[this.#count++] = position - this.#basePosition
  }

  #grow(): void {
    const [offsets, positions] = [this.#offsets, this.#positions]
    this.#offsets = doubled(offsets)
    this.#positions = doubled(positions)
    letGo(offsets)
    letGo(positions)
  }
}

/** The range tombstone that the operation at `op` writes; its keys are copies. */
export function readTombstone(bytes: Bytes, op: number, position: Position): RangeTombstone {
  const start = op + OP_HEADER_BYTES
  const startEnd = start + opKeyLength(bytes, op)
  const isBounded = bytes[op] === KIND_CLEAR
  return {
    start: cloneBytes(bytes, start, startEnd),
    end: isBounded ? cloneBytes(bytes, startEnd, startEnd + opValueLength(bytes, op)) : undefined,
    position,
  }
}

/** Notes the consumer's state that the operation at `op` sets. */
export function readCursor(bytes: Bytes, op: number, into: Map<string, Bytes>): void {
  const nameStart = op + OP_HEADER_BYTES
  const nameEnd = nameStart + opKeyLength(bytes, op)
  const name = asBuffer(bytes).toString('utf8', nameStart, nameEnd)
  // Small, and written often: a piece of the pool is the cheapest copy.
  into.set(name, Buffer.from(bytes.subarray(nameEnd, nameEnd + opValueLength(bytes, op))))
}

export function doubled(array: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2)
  larger.set(array)
  return larger
}

/** Lets go of `array`. */
function reordered(array: Uint32Array, order: Uint32Array): Uint32Array<ArrayBuffer> {
  const result = new Uint32Array(order.length)
  for (let i = 0; i < result.length; i++) result[i] = array[order[i]!]!
  letGo(array)
  return result
}
