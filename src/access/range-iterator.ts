import { VarveError } from '../errors.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import { BLOCKING, BlockNeeded, ReadContext } from '../segment/read-context.js'
import type { RangeIterator } from '../store/contract.js'
import type { Store } from '../store/store.js'
import type { TreeView } from '../tree/tree-view.js'
import { onAbort, throwIfAborted } from '../util/abort.js'
import { CallQueue } from '../util/call-queue.js'
import { youngArray } from '../util/young-array.js'
import { type CursorOptions, PAUSE, RangeCursor } from './range-cursor.js'

/** Entries between two looks at the clock. */
const CHECK_EVERY = 64
/** Entries of a long read between two notes of how far it is. */
const NOTE_EVERY = 1024

/** What of an entry an iterator gives. */
export type Decode<T> = (cursor: RangeCursor) => T

export interface IteratorSetup<T> {
  readonly store: Store
  readonly range: KeyRange
  readonly isReverse: boolean
  readonly limit: number
  readonly position: Position
  readonly decode: Decode<T>
  /** Values that stand apart are not read. */
  readonly isKeysOnly?: boolean
  /** What `decode` gives has nothing of the cursor's bytes. */
  readonly isCopied?: boolean
  readonly signal?: AbortSignal | undefined
  encodeKey(key: unknown): Uint8Array
}

/**
 * Walks a range, synchronously where blocks are in memory or quick to read; see `RangeIterator`. Pins what it reads
 * until it is closed, which `for await` and `all` do by themselves.
 */
export class StoreRangeIterator<T> implements RangeIterator<T> {
  readonly #setup: IteratorSetup<T>
  readonly #context = new ReadContext(false)
  #view: TreeView | undefined
  #cursor: RangeCursor | undefined
  #sought: Uint8Array | undefined
  #isClosed = false
  #isReleased = false
  /** `for await` has no way to close an iterator that came to its end. */
  #closesAtEnd = false
  #count = 0
  /** Calls are served one after another. */
  readonly #calls = new CallQueue()
  readonly #forgetSignal: () => void

  constructor(setup: IteratorSetup<T>) {
    this.#setup = setup
    this.#view = setup.store.tree.view.acquire()
    setup.store.tree.pin(setup.position)
    this.#forgetSignal = onAbort(setup.signal, () => void this.close())
  }

  next(): Promise<IteratorResult<T>> {
    if (!this.#calls.isEmpty) return this.#calls.run(() => this.#next())
    try {
      // Without a single await where nothing has to be waited for.
      const turn = this.#dueTurn()
      if (turn) return this.#calls.run(() => turn.then(() => this.#next()))
      if (this.#cursor) {
        this.#throwIfUnusable()
        if (this.#advance()) return Promise.resolve({ value: this.#setup.decode(this.#cursor), done: false })
        if (this.#closesAtEnd) this.#release()
        return Promise.resolve({ value: undefined, done: true })
      }
    } catch (error) {
      if (!(error instanceof BlockNeeded || error === PAUSE)) {
        this.#release()
        return Promise.reject(error)
      }
    }
    return this.#calls.run(() => this.#next())
  }

  nextv(size: number): Promise<T[]> {
    if (!Number.isInteger(size) || size < 1) {
      return Promise.reject(new VarveError('VARVE_INVALID_ARGUMENT', 'nextv takes a size of at least 1'))
    }
    return this.#calls.run(() => this.#take(size))
  }

  async all(): Promise<T[]> {
    try {
      return await this.#calls.run(() => this.#take(Number.POSITIVE_INFINITY))
    } finally {
      await this.close()
    }
  }

  seek(key: unknown): void {
    this.#throwIfUnusable()
    const bytes = Buffer.from(this.#setup.encodeKey(key))
    if (this.#cursor) this.#cursor.seek(bytes)
    else this.#sought = bytes
  }

  async return(): Promise<IteratorResult<T>> {
    await this.close()
    return { value: undefined, done: true }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.#calls.done()
    this.#release()
  }

  [Symbol.asyncIterator](): this {
    this.#closesAtEnd = true
    return this
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #next(): Promise<IteratorResult<T>> {
    const values = await this.#take(1)
    return values.length === 0 ? { value: undefined, done: true } : { value: values[0]!, done: false }
  }

  async #take(size: number): Promise<T[]> {
    const values: T[] = youngArray()
    try {
      const cursor = this.#cursor ?? (await this.#start())
      while (values.length < size) {
        this.#throwIfUnusable()
        const turn = this.#dueTurn()
        if (turn) {
          await turn
          this.#throwIfUnusable()
        }
        try {
          if (!cursor || !this.#advance()) {
            if (this.#closesAtEnd) this.#release()
            break
          }
          values.push(this.#setup.decode(cursor))
        } catch (error) {
          if (error === PAUSE) await this.#setup.store.fairTurn.due()
          else if (error instanceof BlockNeeded) await this.#context.load(error)
          else throw error
        }
      }
      return values
    } catch (error) {
      this.#release()
      throw error
    }
  }

  /** Sorting what the memtables have not sorted yet may take a while: in steps, before the cursor is made. */
  async #start(): Promise<RangeCursor | undefined> {
    this.#throwIfUnusable()
    const view = this.#view
    if (!view) return undefined
    noteSorting(this.#setup.store, view)
    for (const memtable of view.memtables) {
      while (!memtable.sortSome()) await this.#setup.store.fairTurn.due()
    }
    this.#throwIfUnusable()
    this.#view = undefined
    this.#cursor = new RangeCursor(view, this.#context, cursorOptions(this.#setup))
    if (this.#sought) this.#cursor.seek(this.#sought)
    return this.#cursor
  }

  #advance(): boolean {
    const isValid = advanceNoted(this.#setup.store, this.#cursor!)
    if (isValid) this.#context.release()
    return isValid
  }

  #dueTurn(): Promise<void> | undefined {
    return this.#count++ % CHECK_EVERY === 0 ? this.#setup.store.fairTurn.due() : undefined
  }

  #throwIfUnusable(): void {
    this.#setup.store.throwIfClosed()
    throwIfAborted(this.#setup.signal, 'the iterator')
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the iterator is closed')
  }

  /** Nothing stays pinned. */
  #release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#forgetSignal()
    this.#view?.release()
    this.#view = undefined
    if (this.#cursor) closeCursor(this.#setup.store, this.#cursor)
    this.#setup.store.tree.unpin(this.#setup.position)
  }
}

/** As `StoreRangeIterator`, without ever waiting: reads block the thread. Ends by itself or by `return`. */
export class SyncRangeIterator<T> implements IterableIterator<T> {
  static {
    // What built-in iterators inherit: `map`, `filter` and their like where the runtime has them.
    const builtIn: object = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()))
    Object.setPrototypeOf(SyncRangeIterator.prototype, builtIn)
  }

  readonly #setup: IteratorSetup<T>
  #cursor: RangeCursor | undefined
  #isDone = false

  constructor(setup: IteratorSetup<T>) {
    this.#setup = setup
  }

  next(): IteratorResult<T> {
    if (this.#isDone) return { value: undefined, done: true }
    try {
      this.#setup.store.throwIfClosed()
      throwIfAborted(this.#setup.signal, 'the iterator')
      const cursor = this.#cursor ?? this.#start()
      if (advanceNoted(this.#setup.store, cursor)) return { value: this.#setup.decode(cursor), done: false }
    } catch (error) {
      this.#end()
      throw error
    }
    this.#end()
    return { value: undefined, done: true }
  }

  return(): IteratorResult<T> {
    this.#end()
    return { value: undefined, done: true }
  }

  [Symbol.iterator](): this {
    return this
  }

  /** Nothing is pinned before the first step. */
  #start(): RangeCursor {
    const { store, position } = this.#setup
    store.tree.pin(position)
    const view = store.tree.view.acquire()
    noteSorting(store, view)
    this.#cursor = new RangeCursor(view, BLOCKING, cursorOptions(this.#setup))
    return this.#cursor
  }

  #end(): void {
    this.#isDone = true
    if (!this.#cursor) return
    closeCursor(this.#setup.store, this.#cursor)
    this.#setup.store.tree.unpin(this.#setup.position)
    this.#cursor = undefined
  }
}

/** Before it: the work that makes it needless for later reads goes on beside it. */
function noteSorting({ idle }: Store, { memtables }: TreeView): void {
  let entries = 0
  for (const memtable of memtables) entries += memtable.unsortedCount
  if (entries > 0) idle.noteEntries(entries)
}

function closeCursor({ idle }: Store, cursor: RangeCursor): void {
  cursor.close()
  idle.noteEnd(cursor.count % NOTE_EVERY)
}

// Hot: every step of a scan (bench/scan.bench.js).
function advanceNoted({ idle }: Store, cursor: RangeCursor): boolean {
  const isValid = cursor.advance()
  if (isValid && cursor.count % NOTE_EVERY === 0) idle.noteEntries(NOTE_EVERY)
  return isValid
}

function cursorOptions<T>(setup: IteratorSetup<T>): CursorOptions {
  const { range, isReverse, position, limit, isKeysOnly = false, isCopied = false } = setup
  return { range, isReverse, position, limit, isKeysOnly, isCopied }
}
