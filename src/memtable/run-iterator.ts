import type { EntryIterator } from '../iterator/entry-iterator.js'
import { OP_HEADER_BYTES, opKeyLength, opValueLength } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareRanges } from '../util/bytes.js'

/** Entries by number, and the bytes they stand in. */
export interface EntryTable {
  readonly bytes: Bytes
  readonly lastPosition: Position
  /** Where the entry's operation stands in `bytes`. */
  offsetOf(entry: number): number
  positionOf(entry: number): Position
}

/** Walks one sorted run of a table. */
export class RunIterator implements EntryIterator {
  readonly bytes: Bytes
  readonly positionMax: Position
  readonly #table: EntryTable
  readonly #run: Uint32Array
  #at = -1
  isValid = false
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0

  constructor(table: EntryTable, run: Uint32Array) {
    this.#table = table
    this.#run = run
    this.bytes = table.bytes
    this.positionMax = table.lastPosition
  }

  seekToFirst(): void {
    this.#standOn(0)
  }

  seekToLast(): void {
    this.#standOn(this.#run.length - 1)
  }

  seekGE(key: Bytes): void {
    this.#standOn(this.#lowerBound(key))
  }

  seekLT(key: Bytes): void {
    this.#standOn(this.#lowerBound(key) - 1)
  }

  next(): void {
    this.#standOn(this.#at + 1)
  }

  prev(): void {
    this.#standOn(this.#at - 1)
  }

  // Hot: every seek (bench/scan.bench.js).
  #lowerBound(key: Bytes): number {
    const { bytes } = this
    const run = this.#run
    let low = 0
    let high = run.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const op = this.#table.offsetOf(run[middle]!)
      const start = op + OP_HEADER_BYTES
      if (compareRanges(bytes, start, start + opKeyLength(bytes, op), key, 0, key.length) < 0)
        low = middle + 1
      else high = middle
    }
    return low
  }

  #standOn(at: number): void {
    this.#at = at
    this.isValid = at >= 0 && at < this.#run.length
    if (!this.isValid) return
    const { bytes } = this
    const entry = this.#run[at]!
    const op = this.#table.offsetOf(entry)
    this.keyStart = op + OP_HEADER_BYTES
    this.keyEnd = this.keyStart + opKeyLength(bytes, op)
    this.kind = bytes[op]!
    this.position = this.#table.positionOf(entry)
    this.valueStart = this.keyEnd
    this.valueEnd = this.keyEnd + opValueLength(bytes, op)
  }
}
