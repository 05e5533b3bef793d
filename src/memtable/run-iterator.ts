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
import { assert } from '../util/assert.js'
import type { Bytes } from '../util/bytes.js'
import { ownCopies, POOLED_MAX } from '../util/copy-pool.js'
import { WordCopy } from '../util/word-copy.js'
import type { EntryTable, SortedRun } from './sorted-run.js'

/** Entries that are fetched together at most: one after a seek, then twice as many each time. */
const FETCH_MAX = 32
const LINE_BYTES = 64
const copier = new WordCopy()

/**
 * Walks one sorted run of a table. Neighbours in it stand anywhere in the log's memory, each in cache lines of its
 * own: reads of the next few are done together, whose lines then come at the same time, not one after another.
 */
export class RunIterator implements EntryIterator {
  readonly bytes: Bytes
  readonly positionMax: Position
  readonly #table: EntryTable
  readonly #run: SortedRun
  readonly #order: Uint32Array
  #at = -1
  /** The entries [fetchedFrom, fetchedTo) of the run were read lately. */
  #fetchedFrom = 0
  #fetchedTo = 0
  #fetchSize = 1
  isValid = false
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0
  ownShift = 0

  constructor(table: EntryTable, run: SortedRun) {
    this.#table = table
    this.#run = run
    this.#order = run.order
    this.bytes = table.bytes
    this.positionMax = table.lastPosition
  }

  seekToFirst(): void {
    this.#forward(0, 1)
  }

  seekToLast(): void {
    this.#backward(this.#order.length - 1, 1)
  }

  seekGE(key: Bytes, atMost?: Position): void {
    const run = this.#run
    const first = run.lowerBound(this.#table, key)
    this.#forward(atMost === undefined ? first : run.firstAtMost(this.#table, first, key, atMost), 1)
  }

  seekLT(key: Bytes): void {
    this.#backward(this.#run.lowerBound(this.#table, key) - 1, 1)
  }

  ownBytes(): Bytes | undefined {
    const { keyStart, valueEnd } = this
    const length = valueEnd - keyStart
    if (length > POOLED_MAX) return undefined
    const at = ownCopies.take(length)
    copier.copy(this.bytes, keyStart, valueEnd, ownCopies.bytes, ownCopies.words, at)
    this.ownShift = at - keyStart
    return ownCopies.bytes
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  next(): void {
    const at = this.#at + 1
    if (at < this.#fetchedTo) this.#standOn(at)
    else this.#forward(at, Math.min(this.#fetchSize * 2, FETCH_MAX))
  }

  prev(): void {
    const at = this.#at - 1
    if (at >= this.#fetchedFrom) this.#standOn(at)
    else this.#backward(at, Math.min(this.#fetchSize * 2, FETCH_MAX))
  }

  #forward(at: number, size: number): void {
    this.#fetch(at, Math.min(at + size, this.#order.length), size)
    this.#standOn(at)
  }

  #backward(at: number, size: number): void {
    this.#fetch(Math.max(at + 1 - size, 0), at + 1, size)
    this.#standOn(at)
  }

  #fetch(from: number, to: number, size: number): void {
    if (size > 1) this.#touch(from, to)
    this.#fetchedFrom = from
    this.#fetchedTo = to
    this.#fetchSize = size
  }

  #touch(from: number, to: number): void {
    const table = this.#table
    const order = this.#order
    const { bytes } = table
    const last = bytes.length - 1
    let fetched = 0
    for (let at = from; at < to; at++) {
      const entry = order[at]!
      const op = table.offsetOf(entry)
      // Not as many as the entry has: its size would have to be there first.
      const second = bytes[Math.min(op + LINE_BYTES, last)]!
      const third = bytes[Math.min(op + 2 * LINE_BYTES, last)]!
      fetched += table.positionOf(entry) + bytes[op]! + second + third
    }
    // Reads of which nothing is used would be left out.
    assert(fetched >= 0, 'positions and bytes are never negative')
  }

  #standOn(at: number): void {
    this.#at = at
    this.isValid = at >= 0 && at < this.#order.length
    if (!this.isValid) return
    const { bytes } = this
    const table = this.#table
    const entry = this.#order[at]!
    const op = table.offsetOf(entry)
    this.keyStart = op + OP_HEADER_BYTES
    this.keyEnd = this.keyStart + opKeyLength(bytes, op)
    const kind = bytes[op]!
    const isUntil = kind === KIND_PUT_UNTIL
    this.kind = isUntil ? KIND_PUT : kind
    this.position = table.positionOf(entry)
    this.valueStart = isUntil ? this.keyEnd + EXPIRY_BYTES : this.keyEnd
    this.valueEnd = this.keyEnd + opValueLength(bytes, op)
  }
}
