import { KIND_DEL, OP_HEADER_BYTES, opKeyLength } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { Memtable } from '../memtable/memtable.js'
import { type Bytes, cloneBytes, compareRanges } from '../util/bytes.js'

/** Gaps that are remembered. */
const GAPS_MAX = 8
/** Entries written since that are looked through before a gap is used again; beyond them it is forgotten. */
const RECHECK_MAX = 16_384

interface Gap {
  readonly from: Bytes
  /** Undefined: there is no end. */
  readonly to: Bytes | undefined
  /** Nothing in the gap is alive for a reader at this position or a later one. */
  readonly position: Position
  /** Entries of this memtable from `checked` on, and all of newer memtables, may be in the gap. */
  memtable: Memtable
  checked: number
}

/**
 * Ranges in which readers walked over many deleted keys and found nothing. The next reader jumps over them, so that
 * the head of a queue is found at once however many entries were deleted before it. Writes pay nothing: whoever
 * uses a gap first looks whether anything was put into it since.
 */
export class DeadGaps {
  #gaps: Gap[] = []

  /** Nothing in [from, to) is alive at `position`, which is the newest of `memtables` (newest first). */
  note(from: Bytes, to: Bytes | undefined, position: Position, memtables: readonly Memtable[]): void {
    const memtable = memtables[0]!
    const gap: Gap = {
      from: cloneBytes(from),
      to: to && cloneBytes(to),
      position,
      memtable,
      checked: memtable.count,
    }
    const others = this.#gaps.filter((other) => !includes(gap, other.from, 0, other.from.length))
    this.#gaps = [gap, ...others].slice(0, GAPS_MAX)
  }

  /** The memtable is about to go; gaps that nobody has used since it was the newest go with it. */
  forget(memtable: Memtable): void {
    this.#gaps = this.#gaps.filter((gap) => gap.memtable !== memtable)
  }

  /** The gap at `position` that holds `key`. */
  at(key: Bytes, position: Position, memtables: readonly Memtable[]): Gap | undefined {
    for (const gap of this.#gaps) {
      if (position < gap.position || !includes(gap, key, 0, key.length)) continue
      if (isStillDead(gap, memtables)) return gap
      this.#gaps = this.#gaps.filter((other) => other !== gap)
    }
    return undefined
  }

  /** The gap at `position` that ends at or after `end` (undefined: has no end) and starts before it. */
  before(end: Bytes | undefined, position: Position, memtables: readonly Memtable[]): Gap | undefined {
    for (const gap of this.#gaps) {
      if (position < gap.position || !reaches(gap, end)) continue
      if (isStillDead(gap, memtables)) return gap
      this.#gaps = this.#gaps.filter((other) => other !== gap)
    }
    return undefined
  }
}

function includes({ from, to }: Gap, bytes: Bytes, start: number, end: number): boolean {
  if (compareRanges(from, 0, from.length, bytes, start, end) > 0) return false
  return to === undefined || compareRanges(bytes, start, end, to, 0, to.length) < 0
}

function reaches({ from, to }: Gap, end: Bytes | undefined): boolean {
  if (end === undefined) return to === undefined
  if (compareRanges(from, 0, from.length, end, 0, end.length) >= 0) return false
  return to === undefined || compareRanges(end, 0, end.length, to, 0, to.length) <= 0
}

function isStillDead(gap: Gap, memtables: readonly Memtable[]): boolean {
  const age = memtables.indexOf(gap.memtable)
  if (age < 0) return false
  let left = RECHECK_MAX
  for (let i = age; i >= 0; i--) {
    const memtable = memtables[i]!
    const first = i === age ? gap.checked : 0
    left -= memtable.count - first
    if (left < 0) return false
    for (let entry = first; entry < memtable.count; entry++) if (isPutIn(gap, memtable, entry)) return false
  }
  gap.memtable = memtables[0]!
  gap.checked = gap.memtable.count
  return true
}

function isPutIn(gap: Gap, memtable: Memtable, entry: number): boolean {
  if (memtable.kindOf(entry) === KIND_DEL) return false
  const op = memtable.offsetOf(entry)
  const start = op + OP_HEADER_BYTES
  return includes(gap, memtable.bytes, start, start + opKeyLength(memtable.bytes, op))
}
