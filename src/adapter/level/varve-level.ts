import {
  type AbstractBatchOperation,
  type AbstractBatchOptions,
  type AbstractChainedBatch,
  type AbstractDelOptions,
  AbstractLevel,
  type AbstractOpenOptions,
  type AbstractPutOptions,
  type AbstractSnapshot,
} from 'abstract-level'
import { type Database, open } from '../../database.js'
import { VarveError } from '../../errors.js'
import type { BatchOp, Durability, Expiry, OpenOptions, Range, Snapshot } from '../../store/contract.js'
import { destroyStore } from '../../store/destroy.js'
import { LevelCursor } from './level-cursor.js'
import { openCause } from './level-errors.js'
import { VarveIterator, VarveKeyIterator, VarveValueIterator } from './level-iterators.js'
import { VarveSnapshot } from './level-snapshot.js'

/** What a key or value is once abstract-level has encoded it. */
export type Format = string | Uint8Array
type FormatName = 'utf8' | 'buffer' | 'view'

/** What of the options goes to `open` of the store; abstract-level lets a program pass on anything else to its hooks. */
const STORE_OPTIONS = [
  ...['createIfMissing', 'errorIfExists', 'readOnly', 'durability', 'memory', 'compaction', 'workers', 'log'],
  ...[
    'memtableBytes',
    'segmentBytes',
    'blockBytes',
    'levelRatio',
    'l0SegmentsMax',
    'blobMinBytes',
    'encryption',
    'env',
  ],
]
/** Keys that one step of a limited `clear` removes at once. */
const CLEAR_STEP = 1000

/** Options of the constructor and of `open`: those of abstract-level, and Varve's own but for the encodings. */
export type VarveLevelOptions = AbstractOpenOptions &
  Omit<OpenOptions<string, string>, 'keyEncoding' | 'valueEncoding' | 'checkEncodings' | 'compression'> & {
    /** As `OpenOptions`, or classic-level's true (`'lz4'`) and false (`'none'`). */
    readonly compression?: 'lz4' | 'none' | boolean
  }

/** Options that abstract-level hands to the private methods. */
interface OperationOptions {
  readonly keyEncoding: FormatName
  readonly valueEncoding: FormatName
  readonly snapshot?: VarveSnapshot
}

/** How a write is to be made: classic-level's `sync`, or a durability. */
export interface LevelWriteOptions {
  /** True: resolve once it is on disk, as `durability: 'disk'`. */
  readonly sync?: boolean
  /** As `WriteOptions` of the store. */
  readonly durability?: Durability
}

/** When what a put writes expires, as `Expiry` of the store says. In a batch: for all puts, or for one in its operation. */
export interface LevelExpiry extends Expiry {
  /** The same as `ttlMs`, by the name that `level-ttl` gave it. */
  readonly ttl?: number | undefined
}

/** An operation of a batch, as in abstract-level. */
export type LevelBatchOperation<TDatabase, K, V> = AbstractBatchOperation<TDatabase, K, V> & LevelExpiry

interface LevelRange {
  readonly gt?: Format
  readonly gte?: Format
  readonly lt?: Format
  readonly lte?: Format
  readonly reverse: boolean
  readonly limit: number
  readonly keyEncoding: FormatName
  readonly snapshot?: VarveSnapshot
}

/**
 * Varve behind the interface of abstract-level 3: a drop-in for `level` and `classic-level`, with `db.store` as the
 * store underneath, its log included. Writes take `{ sync: true }` as classic-level does, or `{ durability }`, and puts
 * `ttlMs` or `expiresAt`, also where a prewrite hook sets them on the operation;
 * LevelDB's tuning (`cacheSize`, `writeBufferSize`, …) means nothing here and is passed over.
 */
export class VarveLevel<KDefault = string, VDefault = string> extends AbstractLevel<
  string | Buffer | Uint8Array,
  KDefault,
  VDefault
> {
  readonly #location: string
  /** The store through each pair of formats that was asked for so far. */
  readonly #stores = new Map<string, Database<Format, Format>>()
  #store: Database<Format, Format> | undefined

  /**
   * @param location the store's directory.
   * @param options encodings as in abstract-level, and everything of `VarveLevelOptions`, which `open` gets.
   */
  constructor(
    location: string,
    options?: VarveLevelOptions & { keyEncoding?: string | object; valueEncoding?: string | object },
  ) {
    if (typeof location !== 'string' || location === '')
      throw new TypeError("The first argument 'location' must be a non-empty string")
    const manifest = {
      encodings: { buffer: true, utf8: true, view: true },
      has: true,
      getSync: true,
      createIfMissing: true,
      errorIfExists: true,
      explicitSnapshots: true,
      additionalMethods: { approximateSize: true, compactRange: true },
      signals: { iterators: true },
    }
    super(manifest as never, options as never)
    this.#location = location
  }

  /** The directory, as it was given. */
  get location(): string {
    return this.#location
  }

  /**
   * The store underneath, with its log: positions, changes, consumers. Keys and values are what abstract-level
   * encoded them to: strings where the encoding is `'utf8'` or JSON, else bytes.
   * @throws VarveError `VARVE_CLOSED` while the database is not open.
   */
  get store(): Database<Format, Format> {
    return this.#through(this.keyEncoding().format as FormatName, this.valueEncoding().format as FormatName)
  }

  /** As in abstract-level. */
  override put(key: KDefault, value: VDefault): Promise<void>
  /** With a durability, and a time at which the entry expires. */
  override put<K = KDefault, V = VDefault>(
    key: K,
    value: V,
    options: AbstractPutOptions<K, V> & LevelWriteOptions & LevelExpiry,
  ): Promise<void>
  override put(key: KDefault, value: VDefault, options?: object): Promise<void> {
    return super.put(key, value, options as never)
  }

  /** As in abstract-level. */
  override del(key: KDefault): Promise<void>
  /** With a durability. */
  override del<K = KDefault>(key: K, options: AbstractDelOptions<K> & LevelWriteOptions): Promise<void>
  override del(key: KDefault, options?: object): Promise<void> {
    return super.del(key, options as never)
  }

  /** As in abstract-level; each put may say when it expires. */
  override batch(operations: LevelBatchOperation<this, KDefault, VDefault>[]): Promise<void>
  /** With a durability for all of it, and an expiry for the puts that have none of their own. */
  override batch<K = KDefault, V = VDefault>(
    operations: LevelBatchOperation<this, K, V>[],
    options: AbstractBatchOptions<K, V> & LevelWriteOptions & LevelExpiry,
  ): Promise<void>
  /** A chained batch, as in abstract-level. */
  override batch(): AbstractChainedBatch<this, KDefault, VDefault>
  override batch(...args: unknown[]): Promise<void> & AbstractChainedBatch<this, KDefault, VDefault> {
    // Whether there was an argument tells the two kinds of batch apart.
    return super.batch(...(args as [never])) as never
  }

  /** Bytes on disk between two keys, as `Database.approximateSize`. */
  async approximateSize(start: KDefault, end: KDefault, options?: { keyEncoding?: string }): Promise<number> {
    if (this.status === 'opening') return this.deferAsync(() => this.approximateSize(start, end, options))
    const { bounds, store } = this.#between(start, end, options)
    return store.approximateSize(bounds)
  }

  /** Merges everything between two keys, as `Database.compact`. */
  async compactRange(start: KDefault, end: KDefault, options?: { keyEncoding?: string }): Promise<void> {
    if (this.status === 'opening') return this.deferAsync(() => this.compactRange(start, end, options))
    const { bounds, store } = this.#between(start, end, options)
    await store.compact(bounds)
  }

  /** Removes the store at `location` with all its files, and nothing else that is there. */
  static async destroy(location: string): Promise<void> {
    if (typeof location !== 'string' || location === '')
      throw new TypeError("The first argument 'location' must be a non-empty string")
    await destroyStore(location)
  }

  async _open(options: VarveLevelOptions): Promise<void> {
    const given = Object.entries(options).filter(([name]) => STORE_OPTIONS.includes(name))
    const { compression } = options
    if (compression !== undefined)
      given.push(['compression', compression === true ? 'lz4' : compression === false ? 'none' : compression])
    // What abstract-level encodes is between it and the program.
    const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer', checkEncodings: false } as const
    try {
      this.#store = await open<Format, Format>(this.#location, { ...Object.fromEntries(given), ...encodings })
    } catch (error) {
      throw openCause(error)
    }
  }

  async _close(): Promise<void> {
    const store = this.#store
    this.#store = undefined
    this.#stores.clear()
    await store?.close()
  }

  async _put(
    key: Format,
    value: Format,
    options: OperationOptions & LevelWriteOptions & LevelExpiry,
  ): Promise<void> {
    const expiry = expiryOf(options)
    const write = writeOptions(options)
    await this.#storeFor(options).put(key, value, expiry ? { ...write, ...expiry } : write)
  }

  async _del(key: Format, options: OperationOptions & LevelWriteOptions): Promise<void> {
    await this.#through(options.keyEncoding, 'buffer').del(key, writeOptions(options))
  }

  async _batch(
    operations: readonly LevelBatchOperation<this, Format, Format>[],
    options: LevelWriteOptions & LevelExpiry,
  ): Promise<void> {
    const { store, ops } = this.#batchFor(operations, expiryOf(options))
    await store.batch(ops, writeOptions(options))
  }

  _get(key: Format, options: OperationOptions): Promise<Format | undefined> {
    return this.#storeFor(options).get(key, readOptions(options))
  }

  _getSync(key: Format, options: OperationOptions): Format | undefined {
    return this.#storeFor(options).getSync(key, readOptions(options))
  }

  _getMany(keys: Format[], options: OperationOptions): Promise<(Format | undefined)[]> {
    return this.#storeFor(options).getMany(keys, readOptions(options))
  }

  _has(key: Format, options: OperationOptions): Promise<boolean> {
    return this.#through(options.keyEncoding, 'buffer').has(key, readOptions(options))
  }

  async _hasMany(keys: Format[], options: OperationOptions): Promise<boolean[]> {
    const store = this.#through(options.keyEncoding, 'buffer')
    const snapshot = options.snapshot?.inner ?? store.snapshot()
    try {
      return await Promise.all(keys.map((key) => store.has(key, { snapshot })))
    } finally {
      if (!options.snapshot) snapshot.close()
    }
  }

  async _clear(options: LevelRange): Promise<void> {
    const store = this.#through(options.keyEncoding, 'buffer')
    const { reverse, limit, snapshot } = options
    const range = boundsOf(options)
    if (limit < 0 && !snapshot) {
      await store.clear(range)
      return
    }
    const keys = store.keys({ ...range, reverse, limit, ...readOptions(options) })
    try {
      for (let step = await keys.nextv(CLEAR_STEP); step.length > 0; step = await keys.nextv(CLEAR_STEP))
        await store.batch(step.map((key) => ({ type: 'del', key })))
    } finally {
      await keys.close()
    }
  }

  _iterator(options: LevelRange & OperationOptions & { keys: boolean; values: boolean }): never {
    return new VarveIterator(this, this.#storeFor(options), rangeOf(options), options) as never
  }

  _keys(options: LevelRange & OperationOptions): never {
    const store = this.#storeFor(options)
    const cursor = new LevelCursor((range) => store.keys(range), rangeOf(options), options)
    return new VarveKeyIterator(this, cursor, options) as never
  }

  _values(options: LevelRange & OperationOptions): never {
    const store = this.#storeFor(options)
    const cursor = new LevelCursor((range) => store.values(range), rangeOf(options), options)
    return new VarveValueIterator(this, cursor, options) as never
  }

  _snapshot(options: object): AbstractSnapshot {
    return new VarveSnapshot(this.#through('buffer', 'buffer').snapshot(), options)
  }

  #storeFor({ keyEncoding, valueEncoding }: OperationOptions): Database<Format, Format> {
    return this.#through(keyEncoding, valueEncoding)
  }

  #through(keyFormat: FormatName, valueFormat: FormatName): Database<Format, Format> {
    const known = this.#stores.get(keyFormat + valueFormat)
    if (known) return known
    if (!this.#store) throw new VarveError('VARVE_CLOSED', 'the database is not open')
    // A view of memory that the log uses again would change: what is asked for as a view is a copy, as in LevelDB.
    const encodings = { keyEncoding: copied(keyFormat), valueEncoding: copied(valueFormat) }
    const store = this.#store.withEncodings<Format, Format>(encodings as never)
    this.#stores.set(keyFormat + valueFormat, store)
    return store
  }

  /** A batch may mix formats; bytes serve for all of them where it does. */
  #batchFor(
    operations: readonly LevelBatchOperation<this, Format, Format>[],
    expiryOfAll: Expiry | undefined,
  ): {
    store: Database<Format, Format>
    ops: BatchOp<Format, Format>[]
  } {
    const isText = (part: unknown): boolean => typeof part === 'string'
    const keysAreText = operations.every(({ key }) => isText(key))
    const valuesAreText = operations.every((op) => op.type === 'del' || isText(op.value))
    const keyIn = (key: Format) => (keysAreText ? key : toBytes(key))
    const valueIn = (value: Format) => (valuesAreText ? value : toBytes(value))
    const ops = operations.map((op): BatchOp<Format, Format> => {
      if (op.type === 'del') return { type: 'del', key: keyIn(op.key) }
      const expiry = expiryOf(op) ?? expiryOfAll
      const put = { type: 'put', key: keyIn(op.key), value: valueIn(op.value) } as const
      return expiry ? { ...put, ...expiry } : put
    })
    const store = this.#through(keysAreText ? 'utf8' : 'buffer', valuesAreText ? 'utf8' : 'buffer')
    return { store, ops }
  }

  #between(
    start: KDefault,
    end: KDefault,
    options: { keyEncoding?: string } | undefined,
  ): { bounds: Range<Format>; store: Database<Format, Format> } {
    if (start === undefined || end === undefined)
      throw new TypeError("The arguments 'start' and 'end' are required")
    const encoding = this.keyEncoding(options?.keyEncoding as 'utf8')
    const bounds = {
      gte: encoding.encode(start as string) as Format,
      lt: encoding.encode(end as string) as Format,
    }
    return { bounds, store: this.#through(encoding.format as FormatName, 'buffer') }
  }
}

function copied(format: FormatName): 'utf8' | 'buffer' {
  return format === 'utf8' ? 'utf8' : 'buffer'
}

function toBytes(part: Format): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part
}

function writeOptions({ sync, durability }: LevelWriteOptions): { durability: Durability } | undefined {
  if (durability !== undefined) return { durability }
  return sync ? { durability: 'disk' } : undefined
}

/** Undefined: none is asked for, and nothing has to be copied. */
function expiryOf({ ttl, ttlMs = ttl, expiresAt }: LevelExpiry): Expiry | undefined {
  if (ttlMs === undefined && expiresAt === undefined) return undefined
  return { ttlMs, expiresAt }
}

function readOptions({
  snapshot,
}: {
  readonly snapshot?: VarveSnapshot
}): { snapshot: Snapshot } | undefined {
  return snapshot ? { snapshot: snapshot.inner } : undefined
}

/** Bounds that are null or undefined are none, and inclusive ones go before the others. */
function boundsOf({ gt, gte, lt, lte }: LevelRange): Range<Format> {
  const from = gte == null ? { gt: gt ?? undefined } : { gte }
  const to = lte == null ? { lt: lt ?? undefined } : { lte }
  return { ...from, ...to }
}

/** Without the limit: abstract-level counts it. */
function rangeOf(options: LevelRange): Range<Format> {
  return { ...boundsOf(options), reverse: options.reverse, ...readOptions(options) }
}
