import { checkKey } from '../access/batch-encoder.js'
import { type Codec, type Prepared, sizeMaxOf, toBytes } from '../access/codec.js'
import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import { VALUE_BYTES_MAX } from '../key/batch-format.js'
import { isEmptyRange } from '../key/key-range.js'
import type { Range } from '../store/contract.js'
import type { ViewState } from './contract.js'
import { MergeSteps, mergeRange, mergeRangeSync, type RawEntry } from './merged-range.js'
import { Overlay } from './overlay.js'
import { rawEntries, rawEntriesSync } from './raw-range.js'

/** The store of a view with the writes of the running group above it. */
export class GroupState<K, V, MK> implements ViewState<K, V, MK> {
  readonly overlay = new Overlay()
  readonly #typed: TypedStore<K, V>
  readonly #mainKeys: Codec<MK>
  readonly #own: (prepared: Prepared) => Prepared
  #isOpen = false

  /** @param keepsBuffers whether what is written stays as it is: helpers never use a buffer again. */
  constructor(typed: TypedStore<K, V>, mainKeys: Codec<MK>, keepsBuffers: boolean) {
    this.#typed = typed
    this.#mainKeys = mainKeys
    this.#own = keepsBuffers ? (prepared) => prepared : owned
  }

  /** Whether `apply` runs: nobody else may use it. */
  set isOpen(isOpen: boolean) {
    this.#isOpen = isOpen
  }

  async get(key: K): Promise<V | undefined> {
    return this.read(key)
  }

  getSync(key: K): V | undefined {
    const found = this.#find(key)
    if (found !== undefined) return found === null ? undefined : this.#decode(found)
    return this.#typed.reader.getSync(key, undefined)
  }

  // Hot: once for most changes of an index or an aggregate (bench/view.bench.js).
  read(key: K): V | undefined | Promise<V | undefined> {
    const found = this.#find(key)
    if (found !== undefined) return found === null ? undefined : this.#decode(found)
    return this.#typed.reader.read(key)
  }

  async has(key: K): Promise<boolean> {
    return (await this.read(key)) !== undefined
  }

  put(key: K, value: V): void {
    this.#throwIfUnusable()
    const preparedKey = checkKey(this.#typed.keys.prepare(key))
    const preparedValue = this.#typed.values.prepare(value)
    if (preparedValue.length > VALUE_BYTES_MAX / 3 && sizeMaxOf(preparedValue) > VALUE_BYTES_MAX) {
      throw new VarveError('VARVE_LIMIT', `a value has at most ${VALUE_BYTES_MAX} bytes`)
    }
    this.overlay.set(this.#own(preparedKey), this.#own(preparedValue))
  }

  del(key: K): void {
    this.#throwIfUnusable()
    this.overlay.set(this.#own(checkKey(this.#typed.keys.prepare(key))), undefined)
  }

  clear(range: Range<K> = {}): void {
    this.#throwIfUnusable()
    const keyRange = this.#typed.ranges.rangeOf(range)
    if (!isEmptyRange(keyRange)) this.overlay.clear(keyRange)
  }

  async *entries(range: Range<K> = {}): AsyncIterableIterator<[K, V]> {
    for await (const { key, value } of this.#merged(range)) {
      yield [this.#typed.keys.decode(key, 0, key.length), this.#decode(value)]
    }
  }

  async *keys(range: Range<K> = {}): AsyncIterableIterator<K> {
    for await (const { key } of this.#merged(range)) yield this.#typed.keys.decode(key, 0, key.length)
  }

  *entriesSync(range: Range<K> = {}): IterableIterator<[K, V]> {
    this.#throwIfUnusable()
    const { store, ranges, keys } = this.#typed
    const bytes = ranges.rangeOf(range)
    const isReverse = range.reverse ?? false
    const steps = new MergeSteps(this.overlay.slice(bytes), isReverse)
    const source = rawEntriesSync(store, bytes, isReverse)
    for (const { key, value } of mergeRangeSync(steps, source, limitOf(range))) {
      yield [keys.decode(key, 0, key.length), this.#decode(value)]
    }
  }

  encodeKey(key: MK): Buffer {
    return toBytes(checkKey(this.#mainKeys.prepare(key)))
  }

  #merged(range: Range<K>): AsyncGenerator<RawEntry> {
    this.#throwIfUnusable()
    const bytes = this.#typed.ranges.rangeOf(range)
    const isReverse = range.reverse ?? false
    const steps = new MergeSteps(this.overlay.slice(bytes), isReverse)
    return mergeRange(steps, rawEntries(this.#typed.store, bytes, isReverse), limitOf(range))
  }

  /** The value that was written; null if the key was deleted; undefined if the store is to be asked. */
  #find(key: K): Prepared | null | undefined {
    this.#throwIfUnusable()
    if (this.overlay.order === 0) return undefined
    const found = this.overlay.find(checkKey(this.#typed.keys.prepare(key)))
    return found === undefined || found === null ? found : (found.value ?? null)
  }

  #decode(value: Prepared): V {
    const bytes = toBytes(value)
    return this.#typed.values.decode(bytes, 0, bytes.length)
  }

  #throwIfUnusable(): void {
    if (!this.#isOpen)
      throw new VarveError('VARVE_CLOSED', 'the state of a view is used while apply runs only')
  }
}

/** Callers may use their buffers again. */
function owned(prepared: Prepared): Prepared {
  return typeof prepared === 'string' ? prepared : Buffer.from(prepared)
}

function limitOf<K>({ limit }: Range<K>): number {
  return limit === undefined || limit === -1 ? Number.POSITIVE_INFINITY : limit
}
