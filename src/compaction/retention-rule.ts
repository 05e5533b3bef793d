import { type KeyRange, rangesOverlap } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import { type RangeTombstone, RangeTombstones } from '../key/range-tombstones.js'
import type { Bytes } from '../util/bytes.js'
import { compareRanges } from '../util/bytes.js'

/**
 * Which snapshots tell two positions apart: those with the same number of snapshots below them are seen by the
 * same readers, and of them only the newest is ever seen.
 */
export function stripeOf(position: Position, snapshots: readonly Position[]): number {
  let low = 0
  let high = snapshots.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (snapshots[middle]! < position) low = middle + 1
    else high = middle
  }
  return low
}

/** Where older data may be that a tombstone still has to hide. Sorted by start, not overlapping. */
export class OlderData {
  readonly #ranges: readonly KeyRange[]
  #at = 0

  constructor(ranges: readonly KeyRange[]) {
    this.#ranges = ranges
  }

  /** Asked for keys in ascending order. */
  mayHold(bytes: Bytes, keyStart: number, keyEnd: number): boolean {
    for (; this.#at < this.#ranges.length; this.#at++) {
      const { start, end } = this.#ranges[this.#at]!
      if (end && compareRanges(end, 0, end.length, bytes, keyStart, keyEnd) <= 0) continue
      return compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) <= 0
    }
    return false
  }

  overlaps(range: KeyRange): boolean {
    return this.#ranges.some((older) => rangesOverlap(older, range))
  }
}

/** The range tombstones among the inputs: what they hide, and which of them must live on. */
export class InputTombstones {
  readonly #set = new RangeTombstones()
  readonly #snapshots: readonly Position[]
  readonly survivors: readonly RangeTombstone[]
  /** The newest one that does not live on; 0: none. */
  readonly horizon: Position

  constructor(all: readonly RangeTombstone[], snapshots: readonly Position[], older: OlderData) {
    this.#snapshots = snapshots
    for (const tombstone of all) this.#set.add(tombstone)
    this.survivors = all.filter(
      (tombstone) => stripeOf(tombstone.position, snapshots) > 0 || older.overlaps(tombstone),
    )
    const kept = new Set(this.survivors)
    this.horizon = all.reduce(
      (newest, tombstone) => (kept.has(tombstone) ? newest : Math.max(newest, tombstone.position)),
      0,
    )
  }

  /** Every reader that could see this entry also sees a tombstone over it. */
  hides(bytes: Bytes, keyStart: number, keyEnd: number, position: Position, stripe: number): boolean {
    if (this.#set.isEmpty) return false
    const newestSeen = this.#snapshots[stripe] ?? Number.MAX_SAFE_INTEGER
    const tombstone = this.#set.find(bytes, keyStart, keyEnd, newestSeen)
    return tombstone !== undefined && tombstone.position > position
  }
}
