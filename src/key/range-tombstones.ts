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
 * neighbouring bounds, with a segment tree above them: each tombstone stands at the few nodes that make up its
 * range, so that thousands of nested ones take n log n of memory, not the square that a list for each fragment
 * would. A lookup goes from a fragment to the root. The last few added are searched one by one.
 */
export class RangeTombstones {
  readonly #all: RangeTombstone[] = []
  #fragmentStarts: Bytes[] = []
  /** Node i has the children 2i and 2i + 1; the fragments are the last half. Each lists its own, newest first. */
  #nodes: (RangeTombstone[] | undefined)[] = []
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
    let newest: RangeTombstone | undefined
    for (let node = low - 1 + this.#fragmentStarts.length; node > 0; node >>>= 1) {
      const own = this.#nodes[node]
      const candidate = own && newestUpTo(own, atMost)
      if (candidate && (!newest || candidate.position > newest.position)) newest = candidate
    }
    return newest
  }

  #sort(): void {
    const bounds = this.#all.flatMap((tombstone) =>
      tombstone.end ? [tombstone.start, tombstone.end] : [tombstone.start],
    )
    bounds.sort(compareBytes)
    const starts = bounds.filter((bound, i) => i === 0 || compareBytes(bound, bounds[i - 1]!) !== 0)
    const nodes: (RangeTombstone[] | undefined)[] = new Array(starts.length * 2).fill(undefined)
    const newestFirst = [...this.#all].sort((a, b) => b.position - a.position)
    for (const tombstone of newestFirst) {
      let from = indexOfBound(starts, tombstone.start) + starts.length
      let to = (tombstone.end ? indexOfBound(starts, tombstone.end) : starts.length) + starts.length
      for (; from < to; from >>>= 1, to >>>= 1) {
        if (from & 1) addTo(nodes, from++, tombstone)
        if (to & 1) addTo(nodes, --to, tombstone)
      }
    }
    this.#fragmentStarts = starts
    this.#nodes = nodes
    this.#sortedCount = this.#all.length
  }
}

function addTo(nodes: (RangeTombstone[] | undefined)[], node: number, tombstone: RangeTombstone): void {
  const own = nodes[node]
  if (own) own.push(tombstone)
  else nodes[node] = [tombstone]
}

/** Of tombstones with descending positions. */
function newestUpTo(tombstones: readonly RangeTombstone[], atMost: Position): RangeTombstone | undefined {
  let low = 0
  let high = tombstones.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (tombstones[middle]!.position > atMost) low = middle + 1
    else high = middle
  }
  return tombstones[low]
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
