import type { VarveError } from '../errors.js'
import type { Change } from '../feed/change.js'
import type { Encoding } from '../key/encoding.js'
import type { Position } from '../key/position.js'
import type { Range, RangeIterator } from '../store/contract.js'

export type ViewKeyEncoding<K> = 'utf8' | 'buffer' | 'json' | 'tuple' | Encoding<K>
export type ViewValueEncoding<V> = 'utf8' | 'buffer' | 'json' | Encoding<V>

/**
 * What `apply` writes to: the view's own data, the writes of this and earlier changes included. Only `apply` may use
 * it, and only until it returned or its promise settled.
 */
export interface ViewState<K = string, V = string, MK = unknown> {
  /** The value, or undefined. */
  get(key: K): Promise<V | undefined>
  /** At once; blocks the thread where the block is on a slow disk. */
  getSync(key: K): V | undefined
  /** At once where nothing has to be waited for, else a promise: the quickest way through much data. */
  read(key: K): V | undefined | Promise<V | undefined>
  /** Whether there is an entry. */
  has(key: K): Promise<boolean>
  /** Sets a key of the view. */
  put(key: K, value: V): void
  /** Removes a key of the view. */
  del(key: K): void
  /** One range tombstone: the cost does not depend on how much it hides. */
  clear(range?: Range<K>): void
  /** As it is at the first step: writes after that are not seen. */
  entries(range?: Range<K>): AsyncIterableIterator<[K, V]>
  /** As `entries`, the keys alone. */
  keys(range?: Range<K>): AsyncIterableIterator<K>
  /** Blocks the thread where blocks are on a slow disk. */
  entriesSync(range?: Range<K>): IterableIterator<[K, V]>
  /** The bytes of a key of the main store: what `start` and `end` of a clear are compared with. */
  encodeKey(key: MK): Buffer
}

/** What a read of a view is to see. */
export interface ViewReadOptions {
  /** Wait until the view reflects this position of the main store: what a write returned. */
  readonly atLeast?: Position | undefined
  /** How long that, and the first build of a view, may take before `VARVE_TIMEOUT`; default: for ever. */
  readonly timeoutMs?: number | undefined
  /** Ends that wait with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** A range of a view's keys, as it is at one position. */
export type ViewRange<K> = Omit<Range<K>, 'snapshot'> & ViewReadOptions

/**
 * Derived data: a pure function of the log. `apply` is called for each change, in order; what it writes and the
 * change's position become visible and durable together, so that a crash repeats or loses nothing. It may be called
 * again for a change whose outcome was not committed, so it must not do anything but write to `state`.
 */
export interface ViewDefinition<K = string, V = string, S = ViewState> {
  /**
   * A whole number from 0, or 1 to 32 letters, digits, `.`, `_` and `-`. Another one builds the view anew beside the
   * old one, which goes on answering until the new one has caught up.
   */
  readonly version: number | string
  /**
   * `'start'`: every change from position 1, an error if the log no longer has them. `'snapshot'`: what the store
   * holds now, as changes made of puts at one position, then the log from there. Default: `'start'` if the log
   * reaches back that far, else `'snapshot'`.
   */
  readonly from?: 'start' | 'snapshot' | undefined
  /** An error stops this view, and nothing else; see `View.retry`. */
  apply(change: Change<K, V>, state: S): void | Promise<void>
  /** Of the view's own keys; default `'utf8'`. */
  readonly keyEncoding?: ViewKeyEncoding<never> | undefined
  /** Of the view's own values; default `'utf8'`. */
  readonly valueEncoding?: ViewValueEncoding<never> | undefined
  /** Bytes of memory for the view's own store; default 64 MiB. */
  readonly memory?: number | undefined
  /** After the switch the old version is kept, and follows the log, for `rollback`. Default false. */
  readonly keepPrevious?: boolean | undefined
  /**
   * The definition of the version before, so that it goes on following the log while this one is built, or kept,
   * after the program was started anew. Without it, it answers as it was.
   */
  readonly previous?: ViewDefinition<K, V, never> | undefined
  /** A directory that `View.checkpoint` wrote: where there is nothing of this version yet it starts with that. */
  readonly install?: string | undefined
  /** @internal What the helpers hook in. */
  readonly hooks?: ViewHooks | undefined
}

/** @internal */
export interface ViewHooks {
  /** Called after each group of changes: may write too. True if there is more to do. */
  tidy?(state: never): boolean | Promise<boolean>
  /** A group commits once it holds so many writes. */
  readonly groupOpsMax?: number
  /** Data in memory that is kept in step with what commits. */
  memory?(): ViewMemory
  /** Reads that the view gets beside its own. */
  reads?(view: never): object
}

/** @internal */
export interface ViewMemory {
  /** Everything that was committed before, entry by entry, then every put and del as it commits. */
  put(key: Buffer, value: Buffer): void
  del(key: Buffer): void
}

/** How far a view is. */
export type ViewStatus = 'building' | 'live' | 'failed'

/** Keys and values of a view's state, and what its helper adds to the view. */
type KeyOf<S> = S extends ViewState<infer K, infer _, infer _M> ? K : string
type ValueOf<S> = S extends ViewState<infer _, infer V, infer _M> ? V : string
type ReadsOf<S> = S extends { readonly reads?: infer R } ? NonNullable<R> : unknown

/**
 * An open view. It stands for the name: while a new version is built the old one answers, and every read after the
 * switch sees the new one. Reads wait for the first build.
 */
export type View<S = ViewState> = ViewReads<KeyOf<S>, ValueOf<S>> & ReadsOf<S>

/** What every view has, whatever its helper adds. */
export interface ViewReads<K, V> extends AsyncDisposable {
  /** By which the store knows it. */
  readonly name: string
  /** The version that answers; before the first build is done, the one that is built. */
  readonly version: string
  /** The position of the main store that reads reflect; 0 before the first build is done. */
  readonly position: Position
  /** Positions behind the main store. */
  readonly lag: number
  /** `'live'`: the version asked for answers. `'building'`: it is not there yet. `'failed'`: see `error`. */
  readonly status: ViewStatus
  /** What stopped the view, with the `position` of the change; the cause is what `apply` threw. */
  readonly error: VarveError | undefined
  /** Resolves once the version asked for answers; rejects when the view fails or is closed before. */
  readonly ready: Promise<void>
  /** The value, or undefined. */
  get(key: K, options?: ViewReadOptions): Promise<V | undefined>
  /** At once. What is not there yet is `VARVE_TIMEOUT`. */
  getSync(key: K, options?: ViewReadOptions): V | undefined
  /** The values of many keys as they are at one position. */
  getMany(keys: readonly K[], options?: ViewReadOptions): Promise<(V | undefined)[]>
  /** Whether there is an entry. */
  has(key: K, options?: ViewReadOptions): Promise<boolean>
  /** As `Database.entries`, of the view. */
  entries(range?: ViewRange<K>): RangeIterator<[K, V]>
  /** As `entries`, the keys alone. */
  keys(range?: ViewRange<K>): RangeIterator<K>
  /** As `entries`, the values alone. */
  values(range?: ViewRange<K>): RangeIterator<V>
  /** Waits until the view reflects `position`, by default everything committed so far. */
  reach(position?: Position, options?: Omit<ViewReadOptions, 'atLeast'>): Promise<void>
  /** Goes on after a failure, with the change that failed, or builds anew where the log was lost. */
  retry(): Promise<void>
  /** Back to the version before, which `keepPrevious` kept; the newer one is removed. */
  rollback(): Promise<void>
  /** Removes the version that `keepPrevious` kept. */
  dropPrevious(): Promise<void>
  /** Writes what the view holds to `path`, which must not exist, for `install` elsewhere. */
  checkpoint(path: string): Promise<{ position: Position }>
  /** Stops following; what is there stays, for the next time. Idempotent. */
  close(): Promise<void>
  /** Closes it and removes every version of it: no bytes are left. */
  drop(): Promise<void>
}
