import { VarveError } from '../errors.js'
import type { Bytes } from '../util/bytes.js'
import { compareBytes, EMPTY_BYTES, prefixEnd, successor } from '../util/bytes.js'
import { KEY_BYTES_MAX } from './batch-format.js'

/** Keys from `start`, inclusive, to `end`, exclusive; no `end`: to the last key. Empty when `end` ≤ `start`. */
export interface KeyRange {
  readonly start: Bytes
  readonly end: Bytes | undefined
}

export const ALL_KEYS: KeyRange = { start: EMPTY_BYTES, end: undefined }
const NO_KEYS: KeyRange = { start: EMPTY_BYTES, end: EMPTY_BYTES }

export interface KeyBounds {
  readonly gt?: Bytes | undefined
  readonly gte?: Bytes | undefined
  readonly lt?: Bytes | undefined
  readonly lte?: Bytes | undefined
  readonly prefix?: Bytes | undefined
}

/**
 * Every combination of bounds as one half-open range. Its bounds are no longer than a key can be: they are written down.
 * @param endOfPrefix the first key after those with a prefix, where that is not a matter of bytes alone.
 */
export function keyRangeOf(
  bounds: KeyBounds,
  endOfPrefix: (prefix: Bytes) => Bytes | undefined = prefixEnd,
): KeyRange {
  if (bounds.gt !== undefined && bounds.gte !== undefined) throw contradiction('gt and gte')
  if (bounds.lt !== undefined && bounds.lte !== undefined) throw contradiction('lt and lte')
  let start = bounds.gt !== undefined ? successor(bounds.gt) : (bounds.gte ?? EMPTY_BYTES)
  let end = bounds.lte !== undefined ? successor(bounds.lte) : bounds.lt
  if (bounds.prefix !== undefined) {
    if (compareBytes(bounds.prefix, start) > 0) start = bounds.prefix
    const last = endOfPrefix(bounds.prefix)
    if (last && (!end || compareBytes(last, end) < 0)) end = last
  }
  const first = firstKeyFrom(start)
  if (!first) return NO_KEYS
  return { start: first, end: end && firstKeyFrom(end) }
}

/**
 * What a bound is that no key can be, since it is too long: the first key after it. The key right after one of the
 * greatest length is such a bound. Undefined: there is none.
 */
function firstKeyFrom(bound: Bytes): Bytes | undefined {
  return bound.length <= KEY_BYTES_MAX ? bound : prefixEnd(bound.subarray(0, KEY_BYTES_MAX))
}

export function isEmptyRange(range: KeyRange): boolean {
  return range.end !== undefined && compareBytes(range.start, range.end) >= 0
}

export function rangeHolds(range: KeyRange, key: Bytes): boolean {
  return compareBytes(key, range.start) >= 0 && (!range.end || compareBytes(key, range.end) < 0)
}

function contradiction(names: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', `a range takes only one of ${names}`)
}

export function rangesOverlap(a: KeyRange, b: KeyRange): boolean {
  return (!b.end || compareBytes(a.start, b.end) < 0) && (!a.end || compareBytes(b.start, a.end) < 0)
}

/** The smallest range that covers all of them. */
export function spanOf(ranges: Iterable<KeyRange>): KeyRange | undefined {
  let span: KeyRange | undefined
  for (const { start, end } of ranges) {
    if (!span) {
      span = { start, end }
      continue
    }
    span = {
      start: compareBytes(start, span.start) < 0 ? start : span.start,
      end: !span.end || !end ? undefined : compareBytes(end, span.end) > 0 ? end : span.end,
    }
  }
  return span
}
