import { EXPIRY_BYTES, expiryBetween, KIND_DEL, KIND_PUT, KIND_PUT_UNTIL } from '../key/batch-format.js'
import { ALL_KEYS, type KeyRange, rangesOverlap } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone, RangeTombstones } from '../key/range-tombstones.js'
import { isApart } from '../segment/blob-format.js'
import { BlockNeeded, ReadContext } from '../segment/read-context.js'
import type { BatchOp, ClosableIterator } from '../store/contract.js'
import type { LogPin } from '../store/log-archive.js'
import { Lookup, type TreeView } from '../tree/tree-view.js'
import { asBuffer, cloneBytes, compareBytes } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { type Change, type ClearOp, clearOp, putOp } from './change.js'
import { ChangeFeed, type FeedSetup } from './change-feed.js'
import { CommitWait } from './commit-wait.js'
import { EntryWindow, type WindowEntry } from './entry-window.js'
import { NewestEntries } from './newest-entries.js'

/** Longer values are not kept with their entries, but looked up when it is their turn. */
const VALUE_BYTES_KEPT = 4096
/** What of the store's memory the entries that are being sorted may take, and at most. */
const MEMORY_SHARE = 1 / 4
const WINDOW_BYTES_MAX = 64 * 2 ** 20
/** Entries between two looks at the clock. */
const CHECK_EVERY = 128

type Ops<K, V> = (BatchOp<K, V> | ClearOp<K>)[]

/**
 * The last change of each key after a position, in the order of positions, out of the tree instead of the log: it
 * can be had however long ago the log was trimmed. The tree is in the order of keys, so it is read once for each
 * window of positions that fits into memory; segments that hold nothing so new are not read.
 *
 * Of what was deleted the tree forgets with time. A reader from before that (`Version.tombstoneHorizon`) is told to
 * start over: its first change is a clear at position 0, and everything follows.
 */
export class CompactedFeed<K, V> implements ClosableIterator<Change<K, V>> {
  readonly #setup: FeedSetup<K, V>
  readonly #wait: CommitWait
  /** The state that is shown. */
  readonly #upTo: Position
  /** Held to the end of it: a later one may have forgotten deletions. */
  readonly #view: TreeView
  readonly #pin: LogPin
  readonly #changes: AsyncGenerator<Change<K, V>>
  #tail: ChangeFeed<K, V> | undefined
  #isClosed = false
  #isViewHeld = true

  constructor(setup: FeedSetup<K, V>) {
    const { store } = setup
    this.#setup = setup
    this.#wait = new CommitWait(store, setup.signal)
    this.#upTo = store.position
    this.#view = store.tree.view.acquire()
    this.#pin = store.archive.pin(this.#upTo)
    this.#changes = this.#run()
  }

  next(): Promise<IteratorResult<Change<K, V>>> {
    return this.#changes.next()
  }

  async return(): Promise<IteratorResult<Change<K, V>>> {
    this.#isClosed = true
    this.#wait.wake()
    await this.#tail?.return()
    await this.#changes.return(undefined)
    this.#release()
    return { value: undefined, done: true }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async *#run(): AsyncGenerator<Change<K, V>> {
    try {
      await this.#wait.promised(this.#upTo, () => this.#isClosed)
      yield* this.#compacted()
      this.#releaseView()
      if (this.#isClosed || !this.#setup.isLive) return
      this.#tail = new ChangeFeed({ ...this.#setup, after: this.#upTo })
      this.#pin.release()
      yield* this.#tail
    } finally {
      this.#release()
    }
  }

  async *#compacted(): AsyncGenerator<Change<K, V>> {
    const { store, range = ALL_KEYS } = this.#setup
    let { after } = this.#setup
    if (after > 0 && after < this.#view.version.tombstoneHorizon) {
      yield { position: 0, timestamp: 0, ops: [clearOp(range, this.#setup.keys)] }
      after = 0
    }
    const clears = clearsOf(this.#view.tombstones(), range, this.#upTo)
    const window = new EntryWindow(
      Math.min(WINDOW_BYTES_MAX, Math.floor(store.options.memory * MEMORY_SHARE)),
    )
    while (after < this.#upTo) {
      window.clear()
      await this.#fill(window, after)
      const last = Math.min(window.upTo, this.#upTo)
      const due = clears.filter(({ position }) => position > after && position <= last)
      yield* this.#emit(window, due)
      after = last
    }
  }

  /** Reads the whole range for what was changed last after a position, as far up as the window goes. */
  async #fill(window: EntryWindow, after: Position): Promise<void> {
    const { range = ALL_KEYS } = this.#setup
    const scan = new NewestEntries(this.#view, range, after, this.#upTo)
    await scan.prepare(this.#setup.store.fairTurn)
    for (let count = 1; ; count++) {
      try {
        if (!scan.advance()) return
      } catch (error) {
        if (!(error instanceof BlockNeeded)) throw error
        await scan.load(error)
        this.#check()
        continue
      }
      const { bytes, keyStart, keyEnd, position, valueStart, valueEnd } = scan.current
      const kind = valueStart > keyEnd ? KIND_PUT_UNTIL : scan.current.kind
      const isLarge = kind !== KIND_DEL && valueEnd - keyEnd > VALUE_BYTES_KEPT
      const isLeft = isLarge || isApart(bytes, keyEnd, valueStart, valueEnd)
      window.add(position, kind, bytes, keyStart, keyEnd, isLeft ? -1 : valueEnd)
      if (window.isFull) for (const _ of window.shrink()) await this.#turn()
      if (count % CHECK_EVERY === 0) await this.#turn()
    }
  }

  async *#emit(window: EntryWindow, clears: readonly RangeTombstone[]): AsyncGenerator<Change<K, V>> {
    const { keys } = this.#setup
    let position = 0
    let ops: Ops<K, V> = []
    let nextClear = 0
    let count = 0
    const clearsUpTo = (limit: Position): Change<K, V>[] => {
      const found: Change<K, V>[] = []
      for (; clears[nextClear] && clears[nextClear]!.position <= limit; nextClear++) {
        const clear = clears[nextClear]!
        const last = found.at(-1)
        const op = clearOp(clear, keys)
        if (last?.position === clear.position) (last.ops as Ops<K, V>).push(op)
        else found.push({ position: clear.position, timestamp: 0, ops: [op] })
      }
      return found
    }
    for (const entry of window.sorted()) {
      if (++count % CHECK_EVERY === 0 || !entry) await this.#turn()
      if (!entry) continue
      if (entry.position !== position) {
        if (ops.length > 0) yield { position, timestamp: 0, ops }
        for (const change of clearsUpTo(entry.position - 1)) yield change
        position = entry.position
        // What one batch cleared and then wrote again is written after it.
        ops = clearsUpTo(position).flatMap((change) => [...change.ops]) as Ops<K, V>
      }
      ops.push(entry.valueEnd >= 0 ? this.#decode(entry) : await this.#decodeSlowly(entry))
    }
    if (ops.length > 0) yield { position, timestamp: 0, ops }
    for (const change of clearsUpTo(this.#upTo)) yield change
  }

  #decode({ kind, bytes, keyStart, keyEnd, valueEnd }: WindowEntry): BatchOp<K, V> {
    const { keys, values } = this.#setup
    const isView = keys.givesViews || values.givesViews
    const own = isView ? cloneBytes(bytes, keyStart, valueEnd) : asBuffer(bytes)
    const shift = isView ? keyStart : 0
    const key = keys.decode(own, keyStart - shift, keyEnd - shift)
    if (kind === KIND_DEL) return { type: 'del', key }
    const valueStart = kind === KIND_PUT ? keyEnd : keyEnd + EXPIRY_BYTES
    const value = values.decode(own, valueStart - shift, valueEnd - shift)
    return putOp(key, value, expiryBetween(bytes, keyEnd, valueStart))
  }

  /** The value was left where it is. */
  async #decodeSlowly({ bytes, keyStart, keyEnd, position }: WindowEntry): Promise<BatchOp<K, V>> {
    const { keys, values } = this.#setup
    const key = cloneBytes(bytes, keyStart, keyEnd)
    const context = new ReadContext(false)
    const lookup = new Lookup(undefined)
    const hash = hashKey(key, 0, key.length)
    for (;;) {
      try {
        if (!this.#view.find(key, 0, key.length, hash, position, context, lookup))
          throw new Error('an entry of the view is gone')
        const value = values.decode(asBuffer(lookup.bytes), lookup.valueStart, lookup.valueEnd)
        return putOp(keys.decode(key, 0, key.length), value, lookup.expiresAt)
      } catch (error) {
        if (!(error instanceof BlockNeeded)) throw error
        await context.load(error)
        this.#check()
      }
    }
  }

  async #turn(): Promise<void> {
    const turn = this.#setup.store.fairTurn.due()
    if (turn) await turn
    this.#check()
  }

  #check(): void {
    this.#wait.check()
  }

  #releaseView(): void {
    if (!this.#isViewHeld) return
    this.#isViewHeld = false
    this.#view.release()
  }

  #release(): void {
    this.#isClosed = true
    this.#releaseView()
    this.#pin.release()
  }
}

/** The range tombstones that touch the range, by position; the pieces of one that compaction cut are one again. */
function clearsOf(sets: readonly RangeTombstones[], range: KeyRange, upTo: Position): RangeTombstone[] {
  const found = sets.flatMap((set) =>
    set.all.filter((tombstone) => tombstone.position <= upTo && rangesOverlap(tombstone, range)),
  )
  found.sort((a, b) => a.position - b.position || compareBytes(a.start, b.start))
  const clears: RangeTombstone[] = []
  for (const { start, end, position } of found) {
    const last = clears[clears.length - 1]
    const touches = last?.position === position && (!last.end || compareBytes(start, last.end) <= 0)
    if (!touches) clears.push({ start, end, position })
    else if (last.end && (!end || compareBytes(end, last.end) > 0))
      clears[clears.length - 1] = { start: last.start, end, position }
  }
  return clears
}
