import { codecOf } from './access/codec.js'
import { StoreSnapshot } from './access/snapshot.js'
import { TypedStore } from './access/typed-store.js'
import { VarveError } from './errors.js'
import type { BootstrapEvent } from './feed/bootstrap.js'
import type { Change } from './feed/change.js'
import type { Consumer } from './feed/consumer.js'
import { type ConsumerOptions, closeConsumers, consumerStats, openConsumer } from './feed/consumers.js'
import { type Digest, type DigestOptions, digestOnceReached } from './feed/digest.js'
import { openBootstrap, openFeed } from './feed/open-feed.js'
import { beginTransaction, type TransactionOptions, transact } from './feed/transact.js'
import type { OpenTransaction, Transaction } from './feed/transaction.js'
import type { Position } from './key/position.js'
import type {
  BatchOp,
  BootstrapOptions,
  ChangesOptions,
  Check,
  ClosableIterator,
  Entry,
  OpenOptions,
  ProgressOptions,
  PutOptions,
  Range,
  RangeIterator,
  ReadOptions,
  Snapshot,
  Stats,
  Updated,
  VerifyReport,
  WorkOptions,
  WriteOptions,
} from './store/contract.js'
import type { EventName, EventOf } from './store/events.js'
import { Family, type FamilyHooks } from './store/family.js'
import { checkpointStore, verifyStore } from './store/maintenance.js'
import { READ_NAMES, WORK_NAMES } from './store/option-names.js'
import { type OpenOptionsWithEnv, resolveOptions, type StoreOptions } from './store/options.js'
import { storeStats } from './store/stats.js'
import { Store } from './store/store.js'
import type { Lookup } from './tree/tree-view.js'
import { checkOptionNames } from './util/option-names.js'
import type { View, ViewDefinition, ViewState } from './view/contract.js'
import { endSweep, sweepExpired } from './view/expiry-sweep.js'
import { closeViews, openView, removeDroppedViews } from './view/views.js'

/**
 * Opens a store, creating the directory if needed. After any crash it opens without an option; only damage to data
 * that had been promised durable refuses, naming file and offset.
 *
 * `K` and `V`, what the encodings take and give, are not worked out of the options: say
 * `open<string, User>(path, { valueEncoding: 'json' })`.
 *
 * @throws VarveError `VARVE_LOCKED`, `VARVE_CORRUPTION`, `VARVE_FORMAT_VERSION`, `VARVE_INVALID_ARGUMENT`,
 * `VARVE_NO_SPACE`, `VARVE_IO`.
 */
export async function open<K = string, V = string>(
  path: string,
  options: OpenOptionsWithEnv<K, V> = {},
): Promise<Database<K, V>> {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) throw invalid('a path is a string')
  const keys = codecOf<K>('key', options.keyEncoding)
  const values = codecOf<V>('value', options.valueEncoding)
  const resolved = resolveOptions(options)
  const absolute = resolved.env.fs.resolve(path)
  const store = await Store.open(absolute, resolved)
  try {
    removeDroppedViews(store)
  } catch (error) {
    await store.close().catch(() => {})
    throw error
  }
  return new Database(absolute, resolved, new TypedStore(store, keys, values))
}

/**
 * An open store. Every method may be called at any time; un-awaited writes commit in call order, and arguments may
 * be reused as soon as a call returns. After `close` everything fails with `VARVE_CLOSED`.
 */
export class Database<K = string, V = string> implements AsyncDisposable {
  /**
   * For the entry points beside this one: the store underneath, as it is now.
   * @internal
   */
  static typedStoreOf: <K, V>(db: Database<K, V>) => TypedStore<K, V>
  static {
    Database.typedStoreOf = (db) => db.#typed
  }

  static readonly #hooks: FamilyHooks<Database<unknown, unknown>> = {
    enter: (db, store) => {
      db.#typed = new TypedStore(store, db.#typed.keys, db.#typed.values)
    },
    leave: (store) => Promise.all([endSweep(store), closeViews(store)]),
    end: (store) => {
      const parts = [endSweep(store), closeConsumers(store), closeViews(store)]
      return parts.some((part) => part) ? Promise.all(parts) : undefined
    },
  }

  #typed: TypedStore<K, V>
  /** All that see the store, each through its encodings. */
  readonly #family: Family<Database<unknown, unknown>>

  /** Use `open`. */
  constructor(
    path: string,
    options: StoreOptions,
    typed: TypedStore<K, V>,
    family = new Family<Database<unknown, unknown>>(path, options, typed.store, Database.#hooks),
  ) {
    this.#typed = typed
    this.#family = family
    sweepExpired(typed.store)
    family.add(this as Database<unknown, unknown>)
  }

  /** Last committed position; 0 before the first write. */
  get position(): Position {
    return this.#typed.store.position
  }

  /** Every write up to here is on disk. */
  get durablePosition(): Position {
    return this.#typed.store.durablePosition
  }

  /** The oldest change that is still in the log files. */
  get oldestPosition(): Position {
    return this.#typed.store.oldestPosition
  }

  /**
   * Sets one key, for good or with `ttlMs` or `expiresAt` for some time (see `Expiry`). Resolves to the write's position once the durability holds and reads see it.
   * @throws VarveError `VARVE_CONFLICT` (`ifPosition` not met), `VARVE_LIMIT`, `VARVE_INVALID_ARGUMENT`,
   * `VARVE_READ_ONLY`, `VARVE_NO_SPACE`, `VARVE_IO`, `VARVE_POISONED`, `VARVE_CLOSED`.
   */
  put(key: K, value: V, options?: PutOptions): Promise<Position> {
    try {
      return this.#typed.writer.put(key, value, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Removes one key; commits also where there was none. Errors as `put`. */
  del(key: K, options?: WriteOptions): Promise<Position> {
    try {
      return this.#typed.writer.del(key, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Applies all operations or none, as one position. At most 10 million operations and 1 GiB.
   * `check` conditions are evaluated in commit order, before the batch. Errors as `put`.
   */
  batch(
    ops: readonly BatchOp<K, V>[],
    options?: WriteOptions & { check?: readonly Check<K>[] },
  ): Promise<Position> {
    try {
      return this.#typed.writer.batch(ops, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Reads one key, lets `change` say what it becomes (undefined: deleted) and writes that, as one step. `change` runs
   * at once, after every earlier write, is synchronous and writes nothing; what it throws rejects the update. The log
   * holds the outcome, not the function. A value that is not in memory is read from disk at once. Errors as `put`.
   */
  async update(
    key: K,
    change: (value: V | undefined) => V | undefined,
    options?: PutOptions,
  ): Promise<Updated<V | undefined>> {
    return this.#typed.writer.update(key, change, options)
  }

  /**
   * Adds to a number, 0 where there is none, as `update` does: decimal text under `'utf8'` and `'buffer'`, else a number.
   * @throws VarveError `VARVE_INVALID_ARGUMENT` where the value is none, `VARVE_LIMIT` beyond 2^53; else as `put`.
   */
  async increment(key: K, by = 1, options?: PutOptions): Promise<Updated<number>> {
    return this.#typed.writer.increment(key, by, options)
  }

  /** Removes every key in the range, or all, by one range tombstone: the cost does not depend on how many. */
  async clear(range: Range<K> = {}): Promise<Position> {
    return this.#typed.writer.clear(this.#typed.ranges.boundsOf(range))
  }

  /** A barrier: every earlier write is on disk. Resolves to the last of their positions. */
  async sync(): Promise<Position> {
    return this.#typed.store.pipeline.sync()
  }

  /** The value, or undefined. Answers without a detour while the bytes are in memory or the disk is quick. */
  get(key: K, options?: ReadOptions): Promise<V | undefined> {
    try {
      checkOptionNames('a read', options, READ_NAMES)
    } catch (error) {
      return Promise.reject(error)
    }
    const decode = this.#typed.reader.decodeValue
    if (this.#waits(options)) return this.#after(options, () => this.#get(key, options, decode))
    return this.#typed.reader.get(key, options?.snapshot, decode)
  }

  /** As `get`, at once: reads from disk block the thread. `atLeast` not reached is `VARVE_TIMEOUT`. */
  getSync(key: K, options?: ReadOptions): V | undefined {
    if (options !== undefined) checkOptionNames('a read', options, READ_NAMES)
    if (options?.atLeast !== undefined) this.#typed.reader.reachNow(options)
    return this.#typed.reader.getSync(key, options?.snapshot)
  }

  /** The values of many keys as they are at one position. */
  async getMany(keys: readonly K[], options?: ReadOptions): Promise<(V | undefined)[]> {
    checkOptionNames('a read', options, READ_NAMES)
    if (this.#waits(options)) await this.#reach(options)
    return this.#typed.reader.getMany(keys, options?.snapshot)
  }

  /** The value with the position that wrote it, and when it expires. */
  async getEntry(key: K, options?: ReadOptions): Promise<Entry<V> | undefined> {
    checkOptionNames('a read', options, READ_NAMES)
    if (this.#waits(options)) await this.#reach(options)
    return this.#get(key, options, this.#typed.reader.decodeEntry)
  }

  /** Whether there is an entry; its value is not decoded. */
  async has(key: K, options?: ReadOptions): Promise<boolean> {
    checkOptionNames('a read', options, READ_NAMES)
    if (this.#waits(options)) await this.#reach(options)
    return this.#typed.reader.has(key, options?.snapshot)
  }

  /** The entries of a range in order, as they are when this is called, in steps of any size. */
  entries(range: Range<K> = {}): RangeIterator<[K, V]> {
    return this.#typed.ranges.entries(range)
  }

  /** As `entries`, the keys alone. */
  keys(range: Range<K> = {}): RangeIterator<K> {
    return this.#typed.ranges.keys(range)
  }

  /** As `entries`, the values alone. */
  values(range: Range<K> = {}): RangeIterator<V> {
    return this.#typed.ranges.values(range)
  }

  /** As `entries`, at once: reads from disk block the thread. */
  entriesSync(range: Range<K> = {}): IterableIterator<[K, V]> {
    return this.#typed.ranges.entriesSync(range)
  }

  /** As `entriesSync`, the keys alone. */
  keysSync(range: Range<K> = {}): IterableIterator<K> {
    return this.#typed.ranges.keysSync(range)
  }

  /** As `entriesSync`, the values alone. */
  valuesSync(range: Range<K> = {}): IterableIterator<V> {
    return this.#typed.ranges.valuesSync(range)
  }

  /**
   * The log as a sequence of changes: one for each committed batch, whole and in order, without a hole. Reads at its
   * caller's pace, and keeps the log from its position on while it is open, up to `log.pinnedMaxBytes`. Shows only
   * what the store's durability has promised. `for await` closes it; else call `return`.
   * @throws VarveError `VARVE_POSITION_LOST` with the oldest position where the log no longer reaches back that far,
   * `VARVE_INVALID_ARGUMENT` for a position that is none or is not there yet, `VARVE_ABORTED`, `VARVE_CORRUPTION`.
   */
  changes(options: ChangesOptions<K> = {}): ClosableIterator<Change<K, V>> {
    return openFeed(this.#typed, options)
  }

  /**
   * The same open store seen through other encodings: positions and snapshots are shared, and closing or resuming
   * one does so for all. What was written through one encoding must be readable through the other.
   */
  withEncodings<K2 = string, V2 = string>(
    encodings: Pick<OpenOptions<K2, V2>, 'keyEncoding' | 'valueEncoding'>,
  ): Database<K2, V2> {
    checkOptionNames('withEncodings', encodings, { keyEncoding: true, valueEncoding: true })
    const { store } = this.#typed
    const keys = codecOf<K2>('key', encodings.keyEncoding)
    const values = codecOf<V2>('value', encodings.valueEncoding)
    if ((keys.givesViews || values.givesViews) && this.#family.options.reusesLogMemory)
      throw invalid("the encoding 'view' is chosen when a store is opened")
    const { path, options } = this.#family
    return new Database(path, options, new TypedStore(store, keys, values), this.#family)
  }

  /**
   * Opens a durable named reader of the log; see `Consumer`. One that is new begins at `from` and is written down at
   * once. Names have at most 255 bytes of UTF-8.
   * @throws VarveError `VARVE_LOCKED` (open already in this process; another process cannot have the store),
   * `VARVE_INVALID_ARGUMENT`, `VARVE_LIMIT`, `VARVE_READ_ONLY`; `VARVE_POSITION_LOST` for a `from` that is gone.
   */
  consumer(name: string, options: ConsumerOptions = {}): Promise<Consumer<K, V>> {
    return openConsumer(this.#typed, name, options)
  }

  /**
   * Runs `work` in a transaction and commits what it wrote as one batch; begins again when another writer has changed
   * what it read. So `work` may run several times: what else it does must bear that. Resolves to what it returns.
   * @throws VarveError `VARVE_CONFLICT` after `retries`, `VARVE_ABORTED`; what `work` throws; else as `batch`.
   */
  transaction<R>(
    work: (tx: Transaction<K, V>) => R | Promise<R>,
    options: TransactionOptions = {},
  ): Promise<R> {
    return transact(this.#typed, work, options)
  }

  /** A transaction that the caller commits, or closes; nothing is tried again. */
  begin(options: { readonly signal?: AbortSignal } = {}): OpenTransaction<K, V> {
    return beginTransaction(this.#typed, options)
  }

  /**
   * A consistent snapshot and then the log after it: no gap, no duplicate. Each event's `resume` goes on after it,
   * also in the middle of the snapshot and in another process; entries that were not read yet then come as they are
   * by then. `snapshot.ended` tells when what was given is the store at one position. Keeps the log and old
   * versions from its snapshot on while it is open. `for await` closes it; else call `return`.
   * @throws VarveError `VARVE_INVALID_ARGUMENT` for a token of another store or none, `VARVE_POSITION_LOST` where
   * the log no longer reaches back to it: start anew, `VARVE_ABORTED`, `VARVE_CORRUPTION`.
   */
  bootstrap(options: BootstrapOptions = {}): ClosableIterator<BootstrapEvent<K, V>> {
    return openBootstrap(this.#typed, options)
  }

  /**
   * Opens derived data that is a pure function of the log, and keeps it in step: see `ViewDefinition`. Resolves
   * before it is built: reads wait for that, and `ready` tells. A view that is open already under another version
   * is built anew beside the old version, which answers until then. Views keep their data in the store's directory,
   * each in a store of its own; checkpoints leave them out. Open views pin the log where they stand; a view that is
   * not opened within a minute of the store may lose its place and is then built anew.
   * @throws VarveError `VARVE_INVALID_ARGUMENT`, `VARVE_READ_ONLY`, `VARVE_POSITION_LOST` (`from: 'start'` or
   * `install`, and the log no longer reaches back that far).
   */
  view<S = ViewState>(
    name: string,
    definition: ViewDefinition<K, V, S> | Promise<ViewDefinition<K, V, S>>,
  ): Promise<View<S>> {
    return openView(this.#typed, name, definition)
  }

  /** Pins the store as it is now for reads that pass it. Costs nothing but the old data it keeps: close it. */
  snapshot(): Snapshot {
    this.#typed.store.throwIfClosed()
    return new StoreSnapshot(this.#typed.store)
  }

  /** Writes everything committed so far into segments. A signal ends the wait, not the work. */
  async flush(options: WorkOptions = {}): Promise<void> {
    checkOptionNames('flush', options, WORK_NAMES)
    await this.#typed.store.flush(options.signal)
  }

  /** Flushes, then merges everything in the range, dropping what no reader can see. Aborted, a running merge goes on. */
  async compact(range: Range<K> = {}): Promise<void> {
    await this.#typed.store.compact(this.#typed.ranges.rangeOf(range), range.signal)
  }

  /**
   * Writes a store of everything committed so far to `path`, which must not exist. The store stays open; segments
   * are hard links where the file system can. Resolves once all of it is on disk.
   */
  async checkpoint(path: string, options: WorkOptions = {}): Promise<{ position: Position }> {
    return { position: await checkpointStore(this.#typed.store, path, options) }
  }

  /** Reads and checks every byte on disk. @throws VarveError `VARVE_CORRUPTION`, naming file and offset. */
  async verify(options?: ProgressOptions): Promise<VerifyReport> {
    return verifyStore(this.#typed.store, options)
  }

  /**
   * What the store holds at one position, so short that it can be sent: see `Digest`. Reads everything once, in
   * slices, from a snapshot. Waits until everything up to there is acknowledged.
   * @throws VarveError `VARVE_TIMEOUT` for an `at` that is not reached in time, `VARVE_POSITION_LOST` for one that is
   * flushed over already (with the oldest position that is not), `VARVE_INVALID_ARGUMENT`, `VARVE_ABORTED`.
   */
  async digest(options: DigestOptions = {}): Promise<Digest> {
    return digestOnceReached(this.#typed, options)
  }

  /** A picture of the store as it is now, out of memory. */
  stats(): Stats {
    this.#typed.store.throwIfClosed()
    const { store } = this.#typed
    return { ...storeStats(store), consumers: consumerStats(store) }
  }

  /** Bytes on disk of the range's segments, to about a block at each end; what is not flushed is not counted. */
  approximateSize(range: Range<K>): number {
    this.#typed.store.throwIfClosed()
    const { start, end } = this.#typed.ranges.rangeOf(range)
    return this.#typed.store.tree.view.approximateSize(start, end)
  }

  /**
   * Calls `listener` for every event of that name; returns what ends that.
   * @throws VarveError `VARVE_INVALID_ARGUMENT` for a name that no event has.
   */
  on<E extends EventName>(event: E, listener: (event: EventOf<E>) => void): () => void {
    return this.#typed.store.events.on(event, listener)
  }

  /** The next event of that name. @throws VarveError `VARVE_ABORTED`; `VARVE_CLOSED` when the store closes first. */
  once<E extends EventName>(event: E, options: WorkOptions = {}): Promise<EventOf<E>> {
    return this.#typed.store.events.once(event, options.signal)
  }

  /**
   * After `VARVE_NO_SPACE` or another failure that stopped writes: closes what is left and recovers, as opening
   * again would. Snapshots, iterators and views from before fail with `VARVE_CLOSED`; listeners stay.
   * A call while another one is under way waits for that one, and goes on only where it has failed.
   * @throws VarveError what still stops the store; `VARVE_CLOSED` once `close` was called.
   */
  async resume(): Promise<void> {
    while (this.#family.replacing) await this.#family.replacing
    if (this.#typed.store.failure) await this.reopen(async () => {})
  }

  /**
   * For followers: closes the store, does something with its directory and opens it again. `get`, `getMany`,
   * `getEntry` and `has` wait meanwhile; snapshots, iterators and views from before fail with `VARVE_CLOSED`.
   */
  protected reopen(
    between: () => Promise<void>,
    createIfMissing = this.#family.options.createIfMissing,
  ): Promise<void> {
    const onOpened = (store: Store) => {
      this.opened(store)
      sweepExpired(store)
    }
    return this.#family.reopen(between, onOpened, createIfMissing)
  }

  /** A store is about to take the place of the one before. */
  protected opened(_store: Store): void {}

  /** Closes consumers and views, waits for what is in flight and makes everything durable. Idempotent. */
  close(): Promise<void> {
    return this.#family.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #get<R>(key: K, options: ReadOptions | undefined, decode: (lookup: Lookup) => R): Promise<R | undefined> {
    return this.#typed.reader.get(key, options?.snapshot, decode)
  }

  async #after<R>(options: ReadOptions | undefined, read: () => Promise<R>): Promise<R> {
    await this.#reach(options)
    return read()
  }

  #waits(options: ReadOptions | undefined): boolean {
    return options?.atLeast !== undefined || this.#family.replacing !== undefined
  }

  /** Waits for `atLeast`, and past a moment in which one store takes the place of another. */
  async #reach(options: ReadOptions | undefined): Promise<void> {
    const family = this.#family
    while (family.replacing || options?.atLeast !== undefined) {
      await family.replacing
      const { reader } = this.#typed
      await reader.reach(options ?? {})
      if (!family.replacing && reader === this.#typed.reader) return
    }
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
