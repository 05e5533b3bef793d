import type { Bytes } from '../util/bytes.js'
import { compareBytes, compareRanges } from '../util/bytes.js'
import type { Position } from './position.js'

/** What `clear` leaves: every entry in [start, end) with a lower position is gone. No `end`: to the last key. */
export interface RangeTombstone {
  readonly start: Bytes
  readonly end: Bytes | undefined
  readonly position: Position
}

/** Tombstones added since the last sort; so few are searched one by one. */
const UNSORTED_MAX = 16

/**
 * A set of range tombstones that answers which newest one covers a key. Sorted into fragments, the pieces between
 * neighbouring bounds, so that a lookup is a binary search; the last few added are searched one by one.
 */
export class RangeTombstones {
  readonly #all: RangeTombstone[] = []
  #fragmentStarts: Bytes[] = []
  /** For each fragment, those that cover it, newest first. */
  #fragments: RangeTombstone[][] = []
  #sortedCount = 0

  get isEmpty(): boolean {
    return this.#all.length === 0
  }

  get all(): readonly RangeTombstone[] {
    return this.#all
  }

  /** `tombstone` keeps its bytes: they must not change. Positions are added in any order. */
  add(tombstone: RangeTombstone): void {
    if (tombstone.end && compareBytes(tombstone.start, tombstone.end) >= 0) return
    this.#all.push(tombstone)
    if (this.#all.length - this.#sortedCount > UNSORTED_MAX + this.#sortedCount / 4) this.#sort()
  }

  /** The newest tombstone at or below `atMost` that covers the key in `bytes`. */
  find(bytes: Bytes, keyStart: number, keyEnd: number, atMost: Position): RangeTombstone | undefined {
    let newest = this.#findSorted(bytes, keyStart, keyEnd, atMost)
    for (let i = this.#sortedCount; i < this.#all.length; i++) {
      const candidate = this.#all[i]!
      if (candidate.position > atMost || (newest && candidate.position < newest.position)) continue
      if (covers(candidate, bytes, keyStart, keyEnd)) newest = candidate
    }
    return newest
  }

  #findSorted(bytes: Bytes, keyStart: number, keyEnd: number, atMost: Position): RangeTombstone | undefined {
    let low = 0
    let high = this.#fragmentStarts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const start = this.#fragmentStarts[middle]!
      if (compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) <= 0) low = middle + 1
      else high = middle
    }
    if (low === 0) return undefined
    for (const tombstone of this.#fragments[low - 1]!) if (tombstone.position <= atMost) return tombstone
    return undefined
  }

  #sort(): void {
    const bounds = this.#all.flatMap((tombstone) =>
      tombstone.end ? [tombstone.start, tombstone.end] : [tombstone.start],
    )
    bounds.sort(compareBytes)
    const starts = bounds.filter((bound, i) => i === 0 || compareBytes(bound, bounds[i - 1]!) !== 0)
    const fragments: RangeTombstone[][] = starts.map(() => [])
    const newestFirst = [...this.#all].sort((a, b) => b.position - a.position)
    for (const tombstone of newestFirst) {
      for (let i = indexOfBound(starts, tombstone.start); i < starts.length; i++) {
        if (tombstone.end && compareBytes(starts[i]!, tombstone.end) >= 0) break
        fragments[i]!.push(tombstone)
      }
    }
    this.#fragmentStarts = starts
    this.#fragments = fragments
    this.#sortedCount = this.#all.length
  }
}

function indexOfBound(bounds: readonly Bytes[], bound: Bytes): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(bounds[middle]!, bound) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function covers(tombstone: RangeTombstone, bytes: Bytes, keyStart: number, keyEnd: number): boolean {
  const { start, end } = tombstone
  if (compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) > 0) return false
  return !end || compareRanges(end, 0, end.length, bytes, keyStart, keyEnd) > 0
}
