import type { EntryIterator } from '../iterator/entry-iterator.js'
import {
  EXPIRY_BYTES,
  KIND_PUT,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  opKeyLength,
  opValueLength,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { Bytes } from '../util/bytes.js'
import type { EntryTable, SortedRun } from './sorted-run.js'

/** Walks one sorted run of a table. */
export class RunIterator implements EntryIterator {
  readonly bytes: Bytes
  readonly positionMax: Position
  readonly #table: EntryTable
  readonly #run: SortedRun
  readonly #order: Uint32Array
  #at = -1
  isValid = false
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0

  constructor(table: EntryTable, run: SortedRun) {
    this.#table = table
    this.#run = run
    this.#order = run.order
    this.bytes = table.bytes
    this.positionMax = table.lastPosition
  }

  seekToFirst(): void {
    this.#standOn(0)
  }

  seekToLast(): void {
    this.#standOn(this.#order.length - 1)
  }

  seekGE(key: Bytes): void {
    this.#standOn(this.#run.lowerBound(this.#table, key))
  }

  seekLT(key: Bytes): void {
    this.#standOn(this.#run.lowerBound(this.#table, key) - 1)
  }

  next(): void {
    this.#standOn(this.#at + 1)
  }

  prev(): void {
    this.#standOn(this.#at - 1)
  }

  #standOn(at: number): void {
    this.#at = at
    this.isValid = at >= 0 && at < this.#order.length
    if (!this.isValid) return
    const { bytes } = this
    const entry = this.#order[at]!
    const op = this.#table.offsetOf(entry)
    this.keyStart = op + OP_HEADER_BYTES
    this.keyEnd = this.keyStart + opKeyLength(bytes, op)
    const kind = bytes[op]!
    const isUntil = kind === KIND_PUT_UNTIL
    this.kind = isUntil ? KIND_PUT : kind
    this.position = this.#table.positionOf(entry)
    this.valueStart = isUntil ? this.keyEnd + EXPIRY_BYTES : this.keyEnd
    this.valueEnd = this.keyEnd + opValueLength(bytes, op)
  }
}
