import { VarveError } from '../errors.js'
import { ALL_KEYS, type KeyRange, keyRangeOf } from '../key/key-range.js'
import type { Range, RangeIterator } from '../store/contract.js'
import { RANGE_NAMES } from '../store/option-names.js'
import type { Store } from '../store/store.js'
import type { Bytes } from '../util/bytes.js'
import { checkOptionNames } from '../util/option-names.js'
import { youngArray } from '../util/young-array.js'
import { checkKey } from './batch-encoder.js'
import { type Codec, toBytes } from './codec.js'
import type { RangeCursor } from './range-cursor.js'
import { type Decode, type IteratorSetup, StoreRangeIterator, SyncRangeIterator } from './range-iterator.js'
import { positionOf } from './snapshot.js'

/** Range reads of one store through its encodings. */
export class RangeReader<K, V> {
  readonly #store: Store
  readonly #keys: Codec<K>
  readonly #values: Codec<V>

  constructor(store: Store, keys: Codec<K>, values: Codec<V>) {
    this.#store = store
    this.#keys = keys
    this.#values = values
  }

  entries(range: Range<K>): RangeIterator<[K, V]> {
    return new StoreRangeIterator(this.#iteration(range, this.#decodeEntry))
  }

  keys(range: Range<K>): RangeIterator<K> {
    return new StoreRangeIterator({ ...this.#iteration(range, this.#decodeKey), isKeysOnly: true })
  }

  values(range: Range<K>): RangeIterator<V> {
    return new StoreRangeIterator(this.#iteration(range, this.#decodeValue))
  }

  entriesSync(range: Range<K>): IterableIterator<[K, V]> {
    return new SyncRangeIterator(this.#iteration(range, this.#decodeEntry))
  }

  keysSync(range: Range<K>): IterableIterator<K> {
    return new SyncRangeIterator({ ...this.#iteration(range, this.#decodeKey), isKeysOnly: true })
  }

  valuesSync(range: Range<K>): IterableIterator<V> {
    return new SyncRangeIterator(this.#iteration(range, this.#decodeValue))
  }

  /** The range in bytes. @throws VarveError `VARVE_INVALID_ARGUMENT` for bounds that are none. */
  rangeOf(range: Range<K>): KeyRange {
    if (typeof range !== 'object' || range === null) throw invalid('a range is an object of bounds')
    checkOptionNames('a range', range, RANGE_NAMES)
    const { gt, gte, lt, lte, prefix } = range
    const isAll = gt === undefined && gte === undefined && lt === undefined && lte === undefined
    if (isAll && prefix === undefined) return ALL_KEYS
    const bytes = (key: K | undefined) =>
      key === undefined ? undefined : Buffer.from(toBytes(checkKey(this.#keys.prepare(key))))
    const bounds = { gt: bytes(gt), gte: bytes(gte), lt: bytes(lt), lte: bytes(lte), prefix: bytes(prefix) }
    return keyRangeOf(bounds, this.#keys.prefixEnd)
  }

  /** Of a range that is written to, as a whole. */
  boundsOf(range: Range<K>): KeyRange {
    const bounds = this.rangeOf(range)
    const { reverse, limit, snapshot, signal } = range
    if ([reverse, limit, snapshot, signal].some((option) => option !== undefined))
      throw invalid('clear takes no reverse, limit, snapshot or signal')
    return bounds
  }

  #iteration<T>(range: Range<K>, decode: Decode<T>): IteratorSetup<T> {
    const store = this.#store
    store.throwIfClosed()
    return {
      store,
      range: this.rangeOf(range),
      isReverse: range.reverse ?? false,
      limit: limitOf(range.limit),
      position: positionOf(store, range.snapshot),
      decode,
      isCopied: !this.#keys.givesViews && !this.#values.givesViews,
      signal: range.signal,
      encodeKey: (key) => toBytes(checkKey(this.#keys.prepare(key as K))),
    }
  }

  readonly #decodeKey: Decode<K> = (cursor) => {
    const own = this.#keys.decodeOwn ? cursor.ownBytes() : undefined
    return decodeWith(this.#keys, cursor, own, cursor.keyStart, cursor.keyEnd)
  }

  readonly #decodeValue: Decode<V> = (cursor) => {
    const own = this.#values.decodeOwn ? cursor.ownBytes() : undefined
    return decodeWith(this.#values, cursor, own, cursor.valueStart, cursor.valueEnd)
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  readonly #decodeEntry: Decode<[K, V]> = (cursor) => {
    const own = this.#keys.decodeOwn || this.#values.decodeOwn ? cursor.ownBytes() : undefined
    return youngArray(
      decodeWith(this.#keys, cursor, own, cursor.keyStart, cursor.keyEnd),
      decodeWith(this.#values, cursor, own, cursor.valueStart, cursor.valueEnd),
    )
  }
}

/** @param own what `cursor.ownBytes` gave: bytes that may be given away. */
function decodeWith<T>(
  codec: Codec<T>,
  cursor: RangeCursor,
  own: Bytes | undefined,
  start: number,
  end: number,
): T {
  if (own && codec.decodeOwn)
    return codec.decodeOwn(own as Buffer, start + cursor.ownShift, end + cursor.ownShift)
  return codec.decode(cursor.bytes as Buffer, start, end)
}

function limitOf(limit: number | undefined): number {
  if (limit === undefined || limit === -1 || limit === Number.POSITIVE_INFINITY)
    return Number.POSITIVE_INFINITY
  if (Number.isInteger(limit) && limit >= 0) return limit
  throw invalid('a limit is a whole number, -1 or Infinity')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
