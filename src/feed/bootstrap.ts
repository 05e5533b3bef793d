import type { Codec } from '../access/codec.js'
import type { RangeCursor } from '../access/range-cursor.js'
import { StoreRangeIterator } from '../access/range-iterator.js'
import { VarveError } from '../errors.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { ClosableIterator } from '../store/contract.js'
import type { LogPin } from '../store/log-archive.js'
import type { Store } from '../store/store.js'
import { type Bytes, cloneBytes, EMPTY_BYTES, successor } from '../util/bytes.js'
import type { Change } from './change.js'
import { ChangeFeed } from './change-feed.js'
import { CommitWait } from './commit-wait.js'
import { type Region, readToken, TokenWriter } from './resume-token.js'

/** What one event holds at most, but for a single entry that is larger. */
const EVENT_ENTRIES = 256
const EVENT_BYTES = 256 * 1024
/** Events read from one view of the tree: a slow reader must not hold memtables and segments for long. */
const EVENTS_PER_VIEW = 16

/** Key, value, the position that wrote it, and when it expires if it does. */
export type BootstrapEntry<K, V> = readonly [K, V, Position] | readonly [K, V, Position, number]

/** A step of `bootstrap`. `resume` goes on after it, wherever it is passed to. */
export type BootstrapEvent<K, V> =
  /** Entries in the order of their keys, each with the position that wrote it. */
  | {
      readonly type: 'snapshot'
      readonly entries: readonly BootstrapEntry<K, V>[]
      readonly resume: string
    }
  /** What was given up to here, applied in order, is the store as it was at `position`. */
  | { readonly type: 'snapshot.ended'; readonly position: Position; readonly resume: string }
  | { readonly type: 'change'; readonly change: Change<K, V>; readonly resume: string }

export interface BootstrapSetup<K, V> {
  readonly store: Store
  readonly keys: Codec<K>
  readonly values: Codec<V>
  readonly resume: string | undefined
  readonly isLive: boolean
  readonly signal: AbortSignal | undefined
}

/**
 * A snapshot and then the log from there on. Resumed in the middle of the snapshot it reads the other keys as they
 * are by then, since the old snapshot is gone with its process, and then the log from the first snapshot on, less
 * what the later ones hold already: of every key each write is given once, in order.
 */
export class Bootstrap<K, V> implements ClosableIterator<BootstrapEvent<K, V>> {
  readonly #setup: BootstrapSetup<K, V>
  readonly #wait: CommitWait
  /** The keys that were read, and as they were when; the last one is the part that is being read. */
  readonly #regions: Region[]
  /** Changes up to here were given, or are in the snapshot. */
  #position: Position
  /** Where this run reads keys; pinned in the tree until they are read. */
  readonly #snapshotPosition: Position | undefined
  readonly #pin: LogPin
  readonly #events: AsyncGenerator<BootstrapEvent<K, V>>
  #feed: ChangeFeed<K, V> | undefined
  #hasUnpinned = false
  #isClosed = false
  #isReleased = false

  constructor(setup: BootstrapSetup<K, V>) {
    const { store, resume } = setup
    this.#setup = setup
    this.#wait = new CommitWait(store, setup.signal)
    const point = resume === undefined ? undefined : readToken(resume, store.storeId)
    this.#regions = [...(point?.regions ?? [])]
    this.#position = point?.position ?? store.position
    checkReach(store, this.#position, this.#regions)
    const hasKeys = point !== undefined && this.#regions.at(-1)?.lastKey === undefined
    this.#snapshotPosition = hasKeys ? undefined : store.position
    if (this.#snapshotPosition !== undefined) store.tree.pin(this.#snapshotPosition)
    this.#pin = store.archive.pin(this.#position)
    this.#events = this.#run()
  }

  next(): Promise<IteratorResult<BootstrapEvent<K, V>>> {
    return this.#events.next()
  }

  async return(): Promise<IteratorResult<BootstrapEvent<K, V>>> {
    this.#isClosed = true
    this.#wait.wake()
    // A generator that waits hears of nothing: its waits are ended first.
    await this.#feed?.return()
    await this.#events.return(undefined)
    this.#release()
    return { value: undefined, done: true }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async *#run(): AsyncGenerator<BootstrapEvent<K, V>> {
    try {
      this.#wait.check()
      if (this.#snapshotPosition !== undefined) yield* this.#readKeys(this.#snapshotPosition)
      yield* this.#catchUp()
      yield* this.#tail()
    } finally {
      this.#release()
    }
  }

  async *#readKeys(position: Position): AsyncGenerator<BootstrapEvent<K, V>> {
    const { store } = this.#setup
    await this.#wait.promised(position, () => this.#isClosed)
    const previous = this.#regions.at(-1)?.lastKey
    const range = { start: previous ? successor(previous) : EMPTY_BYTES, end: undefined }
    // Nothing was written since the last run: its region goes on.
    let isFirst = this.#regions.at(-1)?.position !== position
    for await (const { entries, lastKey } of this.#chunks(range, position)) {
      if (this.#isClosed) return
      this.#wait.check()
      if (!isFirst) this.#regions.pop()
      isFirst = false
      this.#regions.push({ position, lastKey })
      yield { type: 'snapshot', entries, resume: this.#token(this.#position) }
    }
    if (!isFirst) this.#regions.pop()
    this.#regions.push({ position, lastKey: undefined })
    store.tree.unpin(position)
    store.scheduler.wake()
    this.#hasUnpinned = true
  }

  /** The entries of the range as they were at a position that is pinned, a few at a time. */
  async *#chunks(
    range: KeyRange,
    position: Position,
  ): AsyncGenerator<{ entries: BootstrapEntry<K, V>[]; lastKey: Bytes }> {
    const { store, keys, values } = this.#setup
    let { start } = range
    let lastKey: Bytes = EMPTY_BYTES
    let bytes = 0
    const decode = (cursor: RangeCursor): BootstrapEntry<K, V> => {
      lastKey = cursor.bytes.subarray(cursor.keyStart, cursor.keyEnd)
      bytes += cursor.valueEnd - cursor.valueStart + lastKey.length
      const key = keys.decode(cursor.bytes as Buffer, cursor.keyStart, cursor.keyEnd)
      const value = values.decode(cursor.bytes as Buffer, cursor.valueStart, cursor.valueEnd)
      const { position, expiresAt } = cursor
      return expiresAt === undefined ? [key, value, position] : [key, value, position, expiresAt]
    }
    for (;;) {
      const iterator = new StoreRangeIterator({
        store,
        range: { start, end: range.end },
        isReverse: false,
        limit: Number.POSITIVE_INFINITY,
        position,
        decode,
        encodeKey: (key) => key as Bytes,
      })
      try {
        for (let count = 0; count < EVENTS_PER_VIEW; count++) {
          const entries: BootstrapEntry<K, V>[] = []
          bytes = 0
          while (entries.length < EVENT_ENTRIES && bytes < EVENT_BYTES) {
            const { value, done } = await iterator.next()
            if (done) break
            entries.push(value)
          }
          if (entries.length === 0) return
          lastKey = cloneBytes(lastKey)
          yield { entries, lastKey }
        }
      } finally {
        await iterator.close()
      }
      start = successor(lastKey)
    }
  }

  /** The changes between the first snapshot and the last one, of the keys that the earlier ones hold. */
  async *#catchUp(): AsyncGenerator<BootstrapEvent<K, V>> {
    const last = this.#regions.at(-1)
    if (!last) return
    for (const [i, { position, lastKey }] of this.#regions.entries()) {
      const next = this.#regions[i + 1]
      if (!next || this.#position >= next.position) continue
      // Below `next.position` only the regions up to this one are older than the change.
      this.#position = Math.max(this.#position, position)
      const range = { start: EMPTY_BYTES, end: successor(lastKey!) }
      yield* this.#changes({ upTo: next.position, range, isClipping: true, isLive: false })
      if (this.#isClosed) return
      this.#position = next.position
    }
    this.#regions.length = 0
    this.#position = Math.max(this.#position, last.position)
    yield { type: 'snapshot.ended', position: this.#position, resume: this.#token(this.#position) }
  }

  #tail(): AsyncGenerator<BootstrapEvent<K, V>> {
    return this.#changes({ range: undefined, isLive: this.#setup.isLive })
  }

  async *#changes(part: {
    readonly upTo?: Position
    readonly range: KeyRange | undefined
    readonly isClipping?: boolean
    readonly isLive: boolean
  }): AsyncGenerator<BootstrapEvent<K, V>> {
    const { store, keys, values, signal } = this.#setup
    const feed = new ChangeFeed({ store, keys, values, signal, after: this.#position, ...part })
    this.#feed = feed
    // The feed holds the log itself; what comes after a part of it is still to be held.
    if (part.upTo === undefined) this.#pin.release()
    const tokens = new TokenWriter(store.storeId, this.#regions)
    for await (const change of feed) {
      if (this.#isClosed) return
      this.#position = change.position
      yield { type: 'change', change, resume: tokens.at(change.position) }
    }
  }

  #token(position: Position): string {
    return new TokenWriter(this.#setup.store.storeId, this.#regions).at(position)
  }

  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#isClosed = true
    this.#pin.release()
    if (this.#snapshotPosition === undefined || this.#hasUnpinned) return
    this.#setup.store.tree.unpin(this.#snapshotPosition)
    this.#setup.store.scheduler.wake()
  }
}

/** Whether the log still has, and already has, what a token asks for. */
function checkReach(store: Store, position: Position, regions: readonly Region[]): void {
  const newest = regions.reduce((highest, region) => Math.max(highest, region.position), position)
  if (newest > store.position) {
    const message = `resume is of position ${newest}, but the store is at ${store.position}`
    throw new VarveError('VARVE_INVALID_ARGUMENT', message)
  }
  const oldest = store.oldestPosition
  if (position >= oldest - 1) return
  const message = `the log no longer holds position ${position + 1}: it starts at ${oldest}`
  throw new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
}
