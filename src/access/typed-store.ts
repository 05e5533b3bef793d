import type { Store } from '../store/store.js'
import type { Codec } from './codec.js'
import { RangeReader } from './range-reader.js'
import { PointReader } from './reader.js'
import { StoreWriter } from './writer.js'

/** One open store seen through the encodings of its keys and values. */
export class TypedStore<K, V> {
  readonly store: Store
  readonly keys: Codec<K>
  readonly values: Codec<V>
  readonly reader: PointReader<K, V>
  readonly writer: StoreWriter<K, V>
  readonly ranges: RangeReader<K, V>

  constructor(store: Store, keys: Codec<K>, values: Codec<V>) {
    this.store = store
    this.keys = keys
    this.values = values
    this.reader = new PointReader(store, keys, values)
    this.writer = new StoreWriter(store, keys, values, this.reader)
    this.ranges = new RangeReader(store, keys, values)
  }
}
