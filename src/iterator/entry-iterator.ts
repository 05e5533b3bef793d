import type { Position } from '../key/position.js'
import { type Bytes, equalRange } from '../util/bytes.js'

/**
 * Walks the entries of one source in the order of the engine: keys ascending as unsigned bytes and, for one key,
 * positions descending, newest first.
 *
 * It stands on an entry while `isValid`. After `seekToFirst` or `seekGE` it only ever goes `next`, after
 * `seekToLast` or `seekLT` only `prev`: a change of direction is a new seek. Any step may throw `BlockNeeded`
 * (see `segment/`), after which the iterator must be positioned anew.
 */
export interface EntryIterator {
  readonly isValid: boolean
  /** Borrowed: holds key and value until the next step. */
  readonly bytes: Bytes
  readonly keyStart: number
  readonly keyEnd: number
  /** `KIND_PUT` or `KIND_DEL`. */
  readonly kind: number
  readonly position: Position
  /** Not `keyEnd` where the entry expires: when it does stands between them (`expiryBetween`). */
  readonly valueStart: number
  readonly valueEnd: number
  /** No entry of this source is newer. */
  readonly positionMax: Position

  /**
   * Memory that nobody else writes to or reads, with the current entry in it, `ownShift` after its offsets in `bytes`: one
   * copy for several entries that stand together. Undefined where that would cost more than a copy of the entry.
   */
  ownBytes?(): Bytes | undefined
  readonly ownShift?: number

  seekToFirst(): void
  seekToLast(): void
  /** To the first entry whose key is at or after `key`, past those of `key` itself that are above `atMost`. */
  seekGE(key: Bytes, atMost?: Position): void
  /** To the last entry whose key is before `key`. */
  seekLT(key: Bytes): void
  next(): void
  prev(): void
}

/** Whether the entry is one of the key. */
export function isOfKey(entry: EntryIterator, key: Bytes, keyStart: number, keyEnd: number): boolean {
  const length = keyEnd - keyStart
  return (
    entry.keyEnd - entry.keyStart === length && equalRange(entry.bytes, entry.keyStart, key, keyStart, length)
  )
}
