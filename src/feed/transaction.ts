import { checkKey, checkValue } from '../access/batch-encoder.js'
import { type Prepared, toBytes } from '../access/codec.js'
import { expiryFrom } from '../access/expiry.js'
import { StoreSnapshot } from '../access/snapshot.js'
import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { Durability, Expiry, Range } from '../store/contract.js'
import type { CursorState } from '../store/cursor-state.js'
import type { BatchVisitor } from '../store/frame-walk.js'
import type { LogPin } from '../store/log-archive.js'
import { EXPIRY_NAMES } from '../store/option-names.js'
import { checkDurability } from '../store/options.js'
import { type Bytes, cloneBytes, compareBytes, successor } from '../util/bytes.js'
import { checkOptionNames } from '../util/option-names.js'
import { LogCursor } from './log-cursor.js'
import { type ReadRange, ReadSet } from './read-set.js'
import { WriteBuffer } from './write-buffer.js'

/**
 * Reads and writes that take effect as if they all happened at one moment, or not at all. Reads see the store as it
 * was when the transaction began, and its own writes. Nothing is locked: when it commits, everything that it read, keys
 * that were not there and whole ranges included, must still be as it was; else it fails with `VARVE_CONFLICT`.
 * Every method fails with `VARVE_CLOSED` once the transaction is over.
 */
export interface Transaction<K, V> {
  /** Aborted when nobody waits for the transaction any more; it has no effect then. */
  readonly signal: AbortSignal
  /** The value as of the beginning, or as written here. */
  get(key: K): Promise<V | undefined>
  /** As `get`, at once: reads from disk block the thread. */
  getSync(key: K): V | undefined
  /** As `get`, of many keys. */
  getMany(keys: readonly K[]): Promise<(V | undefined)[]>
  /** As `get`, whether there is an entry. */
  has(key: K): Promise<boolean>
  /** What is in the range now, own writes included; what is written while it is walked may not be seen. */
  entries(range?: Range<K>): AsyncIterableIterator<[K, V]>
  /** Sets a key when it commits; one with `ttlMs`, counted from this call, or `expiresAt` goes by itself. */
  put(key: K, value: V, options?: Expiry): void
  /** Removes a key when it commits. */
  del(key: K): void
  /** Removes every key in the range, own writes included. */
  clear(range?: Range<K>): void
}

/** A transaction that its caller commits. Dispose of it, or it holds on to old data. */
export interface OpenTransaction<K, V> extends Transaction<K, V>, Disposable {
  /** The position that it reads at. */
  readonly position: Position
  /**
   * Commits the writes as one batch and resolves to its position; without writes, to the position that was read.
   * @throws VarveError `VARVE_CONFLICT` where something that was read has changed: begin again; else as `batch`.
   */
  commit(options?: { readonly durability?: Durability }): Promise<Position>
  /** Drops the writes. Idempotent. */
  close(): void
}

/** See `Transaction`. Begins with its first read. */
export class StoreTransaction<K, V> implements OpenTransaction<K, V> {
  readonly signal: AbortSignal
  readonly #typed: TypedStore<K, V>
  readonly #isBrief: boolean
  #reads: ReadSet | undefined
  /** Made with the first write: most changes that a consumer is given leave nothing to write. */
  #writes: WriteBuffer | undefined
  #snapshot: StoreSnapshot | undefined
  #pin: LogPin | undefined
  /** Stands where the log was last compared with what was read. */
  #checked: LogCursor | undefined
  #hasConflict = false
  #isClosed = false

  /** @param isBrief its owner is sure to close it. */
  constructor(typed: TypedStore<K, V>, signal: AbortSignal, isBrief = true) {
    this.#typed = typed
    this.signal = signal
    this.#isBrief = isBrief
  }

  get position(): Position {
    return this.begin().position
  }

  /** Whether something that was read has changed since, as far as was looked. */
  get hasConflict(): boolean {
    return this.#hasConflict
  }

  get hasWrites(): boolean {
    return this.#writes !== undefined && !this.#writes.isEmpty
  }

  get(key: K): Promise<V | undefined> {
    try {
      const prepared = this.#prepare(key)
      const own = this.#writes?.find(prepared)
      if (own) return Promise.resolve(this.#decode(own.value))
      const { reader } = this.#typed
      const snapshot = this.#noteRead(prepared)
      return reader.get(key, snapshot, reader.decodeValue)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  getSync(key: K): V | undefined {
    const prepared = this.#prepare(key)
    const own = this.#writes?.find(prepared)
    if (own) return this.#decode(own.value)
    return this.#typed.reader.getSync(key, this.#noteRead(prepared))
  }

  async getMany(keys: readonly K[]): Promise<(V | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid('getMany takes an array of keys')
    const prepared = (keys as readonly K[]).map((key) => this.#prepare(key))
    const own = prepared.map((key) => this.#writes?.find(key))
    const missing = keys.filter((_, i) => !own[i])
    let snapshot = this.#snapshot
    for (const [i, key] of prepared.entries()) if (!own[i]) snapshot = this.#noteRead(key)
    const stored = missing.length === 0 ? [] : await this.#typed.reader.getMany(missing, snapshot)
    let next = 0
    return own.map((write) => (write ? this.#decode(write.value) : stored[next++]))
  }

  async has(key: K): Promise<boolean> {
    const prepared = this.#prepare(key)
    const own = this.#writes?.find(prepared)
    if (own) return own.value !== undefined
    return this.#typed.reader.has(key, this.#noteRead(prepared))
  }

  entries(range: Range<K> = {}): AsyncIterableIterator<[K, V]> {
    this.#throwIfClosed()
    const keyRange = this.#typed.ranges.rangeOf(range)
    if (range.snapshot !== undefined) throw invalid('a transaction reads at its own position')
    this.begin()
    const isReverse = range.reverse ?? false
    const own = this.#writes?.inRange(keyRange, isReverse) ?? []
    return this.#walk(keyRange, range, own)
  }

  put(key: K, value: V, options?: Expiry): void {
    const prepared = this.#prepare(key)
    checkOptionNames('a put of a transaction', options, EXPIRY_NAMES)
    const expiresAt = options && expiryFrom(options, this.#typed.store)
    this.#write().set(owned(prepared), owned(checkValue(this.#typed.values.prepare(value))), expiresAt)
  }

  del(key: K): void {
    this.#write().set(owned(this.#prepare(key)), undefined)
  }

  clear(range: Range<K> = {}): void {
    this.#throwIfClosed()
    const { reverse, limit, snapshot } = range
    if (reverse !== undefined || limit !== undefined || snapshot !== undefined) {
      throw invalid('clear takes no reverse, limit or snapshot')
    }
    this.#write().clear(this.#typed.ranges.rangeOf(range))
  }

  async commit(options: { readonly durability?: Durability } = {}): Promise<Position> {
    this.#throwIfClosed()
    const { durability } = options
    if (durability !== undefined) checkDurability(durability)
    if (this.signal.aborted) throw new VarveError('VARVE_ABORTED', 'the signal ended the transaction')
    try {
      if (!this.hasWrites) return this.position
      while (!this.validateNow()) await this.catchUp()
      return await this.write([], durability)
    } finally {
      this.close()
    }
  }

  /**
   * Compares what was read with everything committed since. True: nothing stands in the way of a write before the
   * next `await`. False: call `catchUp` first.
   * @throws VarveError `VARVE_CONFLICT`.
   */
  validateNow(): boolean {
    this.#throwIfClosed()
    const log = this.#checked
    if (!log || !this.#reads || this.#reads.isEmpty) return true
    const { store } = this.#typed
    store.pipeline.commitNow()
    while (log.position < store.position) {
      if (!log.stepNow(store.position, this.#compare())) return false
      this.#throwIfConflict()
    }
    return true
  }

  /** Compares with what is in files by now. */
  async catchUp(): Promise<void> {
    const { store } = this.#typed
    try {
      while (this.#checked && this.#checked.position < store.position) {
        await this.#checked.step(store.position, this.#compare())
        this.#throwIfConflict()
        await store.fairTurn.due()
      }
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'VARVE_POSITION_LOST') throw error
      this.#hasConflict = true
      const message = 'the transaction took longer than the log is kept'
      throw new VarveError('VARVE_CONFLICT', message, { cause: error })
    }
  }

  /** One batch of the writes and of consumers' states. Must follow `validateNow` without an `await`. */
  write(cursors: readonly CursorState[], durability: Durability | undefined): Promise<Position> {
    return this.#typed.writer.commit(this.#writes?.ops() ?? [], cursors, durability)
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#snapshot?.close()
    this.#pin?.release()
    this.#checked?.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Made when it is needed: a transaction without reads has nothing to compare. */
  #compare(): BatchVisitor {
    return (_position, _timestamp, bytes, batchOffset) => {
      if (!this.#hasConflict) this.#hasConflict = this.#reads!.isTouchedBy(bytes, batchOffset)
      return undefined
    }
  }

  /** Stored entries and own writes as one ordered walk; notes how far it came. */
  async *#walk(
    keyRange: KeyRange,
    range: Range<K>,
    own: readonly { readonly bytes: Bytes; readonly write: { readonly value: Prepared | undefined } }[],
  ): AsyncGenerator<[K, V]> {
    const { keys, ranges } = this.#typed
    const { reverse: isReverse = false, limit } = range
    const { start, end } = keyRange
    let read: ReadRange | undefined
    const noteRead = (from: Bytes, to: Bytes | undefined) => {
      if (!read) {
        read = { start: from, end: to }
        this.#reads!.addRange(read)
      }
      read.start = from
      read.end = to
    }
    const stored = ranges.entries({ ...range, limit: undefined, snapshot: this.begin() })
    let left = limit === undefined || limit === -1 ? Number.POSITIVE_INFINITY : limit
    let next = 0
    try {
      let entry = await this.#nextStored(stored)
      while (left > 0) {
        const mine = own[next]
        const order = !mine ? -1 : !entry ? 1 : compareBytes(entry.bytes, mine.bytes) * (isReverse ? -1 : 1)
        if (!mine && !entry) {
          noteRead(start, end)
          return
        }
        const bytes = order < 0 ? entry!.bytes : mine!.bytes
        if (isReverse) noteRead(bytes, end)
        else noteRead(start, successor(bytes))
        let value: { readonly value: V } | undefined
        if (order >= 0) {
          next++
          const written = mine!.write.value
          if (written !== undefined) value = { value: this.#decode(written)! }
        } else if (!this.#writes?.isCleared(bytes)) {
          value = { value: entry!.value }
        }
        if (order <= 0) entry = await this.#nextStored(stored)
        if (!value) continue
        left--
        yield [keys.decode(toBytes(cloneBytes(bytes)), 0, bytes.length), value.value]
        this.#throwIfClosed()
      }
    } finally {
      await stored.close()
    }
  }

  async #nextStored(
    stored: AsyncIterator<[K, V]>,
  ): Promise<{ readonly bytes: Bytes; readonly value: V } | undefined> {
    const { value, done } = await stored.next()
    if (done) return undefined
    return { bytes: cloneBytes(toBytes(this.#typed.keys.prepare(value[0]))), value: value[1] }
  }

  /** Fixes what its reads see; does nothing the second time. */
  begin(): StoreSnapshot {
    if (this.#snapshot) return this.#snapshot
    this.#throwIfClosed()
    const { store } = this.#typed
    // Reads see every write that was called before.
    store.pipeline.commitNow()
    this.#snapshot = new StoreSnapshot(store, this.#isBrief)
    this.#reads = new ReadSet()
    this.#checked = new LogCursor(store, this.#snapshot.position)
    this.#pin = store.archive.pin(this.#snapshot.position)
    return this.#snapshot
  }

  #noteRead(key: Prepared): StoreSnapshot {
    const snapshot = this.begin()
    this.#reads!.addKey(typeof key === 'string' ? Buffer.from(key) : ownedBytes(key))
    return snapshot
  }

  #write(): WriteBuffer {
    this.#writes ??= new WriteBuffer()
    return this.#writes
  }

  #prepare(key: K): Prepared {
    this.#throwIfClosed()
    return checkKey(this.#typed.keys.prepare(key))
  }

  #decode(value: Prepared | undefined): V | undefined {
    if (value === undefined) return undefined
    const bytes = toBytes(value)
    return this.#typed.values.decode(bytes, 0, bytes.length)
  }

  #throwIfConflict(): void {
    if (!this.#hasConflict) return
    throw new VarveError('VARVE_CONFLICT', 'what the transaction read has changed since', {
      position: this.#checked!.position,
    })
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the transaction is over')
  }
}

/** Copies up to this are pieces of Node's pool: memory of their own would cost more than they do. */
const POOLED_BYTES_MAX = 1024

/** Callers may change their buffers as soon as a call returned. */
function owned(value: Prepared): Prepared {
  return typeof value === 'string' ? value : ownedBytes(value)
}

function ownedBytes(value: Uint8Array): Bytes {
  return value.length <= POOLED_BYTES_MAX ? Buffer.from(value) : cloneBytes(value)
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
