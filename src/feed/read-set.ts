import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  KIND_CLEAR,
  KIND_CLEAR_AFTER,
  KIND_CURSOR,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
} from '../key/batch-format.js'
import { isEmptyRange, type KeyRange, rangeHolds, rangesOverlap } from '../key/key-range.js'
import { type Bytes, compareBytes, compareRanges, equalRange } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'

/** A range as far as it was read: it grows while a walk goes on. */
export interface ReadRange {
  start: Bytes
  end: Bytes | undefined
}

/** What a transaction has read: keys, there or not, and ranges with all that is not in them. */
export class ReadSet {
  readonly #keys = new Map<number, Bytes[]>()
  readonly #ranges: ReadRange[] = []

  get isEmpty(): boolean {
    return this.#keys.size === 0 && this.#ranges.length === 0
  }

  /** `key` is kept: it must not change. */
  addKey(key: Bytes): void {
    const hash = hashKey(key, 0, key.length)
    const known = this.#keys.get(hash)
    if (!known) this.#keys.set(hash, [key])
    else if (!known.some((other) => compareBytes(other, key) === 0)) known.push(key)
  }

  /** The caller lets it grow. */
  addRange(range: ReadRange): void {
    this.#ranges.push(range)
  }

  /** Whether the batch at `batchOffset` changes anything that was read. Hot: every batch beside a transaction. */
  isTouchedBy(bytes: Bytes, batchOffset: number): boolean {
    const count = batchOpCount(bytes, batchOffset)
    let op = batchOffset + BATCH_HEADER_BYTES
    for (let i = 0; i < count; i++) {
      const kind = bytes[op]!
      const keyStart = op + OP_HEADER_BYTES
      const keyEnd = keyStart + opKeyLength(bytes, op)
      if (kind === KIND_CLEAR || kind === KIND_CLEAR_AFTER) {
        const end =
          kind === KIND_CLEAR ? bytes.subarray(keyEnd, keyEnd + opValueLength(bytes, op)) : undefined
        if (this.#overlaps({ start: bytes.subarray(keyStart, keyEnd), end })) return true
      } else if (kind !== KIND_CURSOR && this.#holds(bytes, keyStart, keyEnd)) {
        return true
      }
      op += opSizeBytes(bytes, op)
    }
    return false
  }

  #holds(bytes: Bytes, keyStart: number, keyEnd: number): boolean {
    const length = keyEnd - keyStart
    const known = this.#keys.size === 0 ? undefined : this.#keys.get(hashKey(bytes, keyStart, keyEnd))
    if (known?.some((key) => key.length === length && equalRange(bytes, keyStart, key, 0, length)))
      return true
    return this.#ranges.some(
      ({ start, end }) =>
        compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) <= 0 &&
        (!end || compareRanges(end, 0, end.length, bytes, keyStart, keyEnd) > 0),
    )
  }

  #overlaps(cleared: KeyRange): boolean {
    if (isEmptyRange(cleared)) return false
    for (const keys of this.#keys.values()) if (keys.some((key) => rangeHolds(cleared, key))) return true
    return this.#ranges.some((range) => !isEmptyRange(range) && rangesOverlap(range, cleared))
  }
}
