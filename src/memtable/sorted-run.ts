import { OP_HEADER_BYTES, opKeyLength } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareRanges, copyBytes, equalRange } from '../util/bytes.js'

/** Entries by number, and the bytes they stand in. */
export interface EntryTable {
  readonly bytes: Bytes
  readonly lastPosition: Position
  /** Where the entry's operation stands in `bytes`. */
  offsetOf(entry: number): number
  positionOf(entry: number): Position
}

/** Every so many entries a key is copied to where a search finds many of them in one cache line. */
const SAMPLE_EVERY = 32
/** Shorter runs are searched as they are; so are runs whose samples would take more than this. */
const SAMPLED_ENTRIES_MIN = 1024
const SAMPLE_BYTES_MAX = 2 ** 20

interface Samples {
  readonly keys: Bytes
  /** Where sample i starts in `keys`; one more for the end of the last. */
  readonly starts: Uint32Array
}

/**
 * Numbers of entries in the order of their keys. A search goes over the log's memory, where each step is a cache
 * line of its own, only for the last few steps: before that it goes over samples, copied when the first search comes.
 */
export class SortedRun {
  readonly order: Uint32Array
  #samples: Samples | undefined
  #isSampled = false

  constructor(order: Uint32Array) {
    this.order = order
  }

  get length(): number {
    return this.order.length
  }

  get sizeBytes(): number {
    return (
      this.order.length * 4 +
      (this.#samples ? this.#samples.keys.length + this.#samples.starts.length * 4 : 0)
    )
  }

  // Hot: every seek (bench/scan.bench.js).
  /** The first place whose key is at or after `key`; `length` if none. */
  lowerBound(table: EntryTable, key: Bytes): number {
    if (!this.#isSampled) this.#sample(table)
    let low = 0
    let high = this.order.length
    const samples = this.#samples
    if (samples) {
      const sample = firstSampleFrom(samples, key)
      low = sample === 0 ? 0 : (sample - 1) * SAMPLE_EVERY
      high = Math.min(high, sample * SAMPLE_EVERY)
    }
    const { bytes } = table
    while (low < high) {
      const middle = (low + high) >>> 1
      const op = table.offsetOf(this.order[middle]!)
      const start = op + OP_HEADER_BYTES
      if (compareRanges(bytes, start, start + opKeyLength(bytes, op), key, 0, key.length) < 0)
        low = middle + 1
      else high = middle
    }
    return low
  }

  /** Of the places from `first` on, where entries of `key` may stand, the first after those of them above `atMost`. */
  firstAtMost(table: EntryTable, first: number, key: Bytes, atMost: Position): number {
    let low = first
    let high = this.order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const entry = this.order[middle]!
      if (table.positionOf(entry) > atMost && isKeyAt(table, entry, key)) low = middle + 1
      else high = middle
    }
    return low
  }

  #sample(table: EntryTable): void {
    this.#isSampled = true
    if (this.order.length < SAMPLED_ENTRIES_MIN) return
    const { bytes } = table
    const count = Math.ceil(this.order.length / SAMPLE_EVERY)
    const starts = new Uint32Array(count + 1)
    for (let i = 0; i < count; i++) {
      starts[i + 1] = starts[i]! + opKeyLength(bytes, table.offsetOf(this.order[i * SAMPLE_EVERY]!))
      if (starts[i + 1]! > SAMPLE_BYTES_MAX) return
    }
    const keys = Buffer.allocUnsafeSlow(starts[count]!)
    for (let i = 0; i < count; i++) {
      const start = table.offsetOf(this.order[i * SAMPLE_EVERY]!) + OP_HEADER_BYTES
      copyBytes(bytes, start, start + starts[i + 1]! - starts[i]!, keys, starts[i]!)
    }
    this.#samples = { keys, starts }
  }
}

function isKeyAt(table: EntryTable, entry: number, key: Bytes): boolean {
  const { bytes } = table
  const op = table.offsetOf(entry)
  return opKeyLength(bytes, op) === key.length && equalRange(bytes, op + OP_HEADER_BYTES, key, 0, key.length)
}

/** The first sample at or after `key`; the number of samples if none. */
function firstSampleFrom({ keys, starts }: Samples, key: Bytes): number {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareRanges(keys, starts[middle]!, starts[middle + 1]!, key, 0, key.length) < 0) low = middle + 1
    else high = middle
  }
  return low
}
