import { copyOut } from '../access/codec.js'
import type { RangeCursor } from '../access/range-cursor.js'
import { type IteratorSetup, StoreRangeIterator, SyncRangeIterator } from '../access/range-iterator.js'
import type { KeyRange } from '../key/key-range.js'
import type { Store } from '../store/store.js'
import { successor } from '../util/bytes.js'
import type { RawEntry } from './merged-range.js'

function setup(store: Store, range: KeyRange, isReverse: boolean, position: number): IteratorSetup<RawEntry> {
  return {
    store,
    range,
    isReverse,
    limit: Number.POSITIVE_INFINITY,
    position,
    decode: ({ bytes, keyStart, keyEnd, valueStart, valueEnd, expiresAt }: RangeCursor) => ({
      key: copyOut(bytes as Buffer, keyStart, keyEnd),
      value: copyOut(bytes as Buffer, valueStart, valueEnd),
      expiresAt,
    }),
    encodeKey: (key) => key as Uint8Array,
  }
}

/** Entries of a range as bytes of their own. */
export function rawEntries(
  store: Store,
  range: KeyRange,
  isReverse: boolean,
  position: number = store.position,
): StoreRangeIterator<RawEntry> {
  return new StoreRangeIterator(setup(store, range, isReverse, position))
}

/** As `rawEntries`; reads block the thread. */
export function rawEntriesSync(
  store: Store,
  range: KeyRange,
  isReverse: boolean,
): SyncRangeIterator<RawEntry> {
  return new SyncRangeIterator(setup(store, range, isReverse, store.position))
}

/** What comes after `key`; without one everything. */
export function rangeAfter(key: Uint8Array | undefined): KeyRange {
  return { start: key ? successor(key) : Buffer.alloc(0), end: undefined }
}
