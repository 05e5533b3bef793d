import type { Codec } from '../access/codec.js'
import { VarveError } from '../errors.js'
import { batchSizeBytes } from '../key/batch-format.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { ClosableIterator } from '../store/contract.js'
import { type BatchVisitor, SMALL_BATCH_BYTES } from '../store/frame-walk.js'
import type { LogPin } from '../store/log-archive.js'
import { LogTail } from '../store/log-tail.js'
import type { Store } from '../store/store.js'
import { CallQueue } from '../util/call-queue.js'
import { type Change, ChangeDecoder } from './change.js'
import { LogCursor } from './log-cursor.js'

/** How often the files of a store that another process writes are looked at. */
const POLL_MS = 25

export interface FeedSetup<K, V> {
  readonly store: Store
  readonly keys: Codec<K>
  readonly values: Codec<V>
  /** The feed starts after it. */
  readonly after: Position
  /** Waits for new changes at the end instead of ending. */
  readonly isLive: boolean
  /** The feed ends with it. */
  readonly upTo?: Position
  /** Only operations that touch it, and only changes that hold any. */
  readonly range: KeyRange | undefined
  /** Whether clears are shown only as far as `range` goes. */
  readonly isClipping?: boolean
  readonly signal: AbortSignal | undefined
}

/**
 * The log as a sequence of changes, past and to come, at the reader's own pace: it decodes a little ahead of what
 * was asked for and pins the log where it stands. Positions come without a hole, or an error comes.
 */
export class ChangeFeed<K, V> implements ClosableIterator<Change<K, V>> {
  readonly #setup: FeedSetup<K, V>
  readonly #cursor: LogCursor
  readonly #pin: LogPin
  readonly #decoder: ChangeDecoder<K, V>
  #ready: Change<K, V>[] = []
  #next = 0
  #isClosed = false
  /** Calls are served one after another. */
  readonly #calls = new CallQueue()
  #wake: (() => void) | undefined
  #files: LogTail | undefined
  readonly #onAbort = () => this.#wake?.()

  constructor(setup: FeedSetup<K, V>) {
    this.#setup = setup
    this.#cursor = new LogCursor(setup.store, setup.after)
    this.#decoder = new ChangeDecoder(setup.keys, setup.values, setup.range, setup.isClipping)
    this.#pin = setup.store.archive.pin(setup.after)
    setup.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** How far this feed has read; what it has not handed out yet included. */
  get position(): Position {
    return this.#cursor.position
  }

  next(): Promise<IteratorResult<Change<K, V>>> {
    const ready = this.#ready[this.#next]
    if (ready !== undefined && this.#calls.isEmpty && !this.#isClosed && !this.#setup.signal?.aborted) {
      this.#next++
      return Promise.resolve({ value: ready, done: false })
    }
    return this.#calls.run(() => this.#take())
  }

  async return(): Promise<IteratorResult<Change<K, V>>> {
    this.#isClosed = true
    this.#wake?.()
    await this.#calls.done()
    this.#release()
    return { value: undefined, done: true }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async #take(): Promise<IteratorResult<Change<K, V>>> {
    try {
      for (;;) {
        if (this.#setup.signal?.aborted) throw new VarveError('VARVE_ABORTED', 'the signal ended the feed')
        if (this.#isClosed) break
        const ready = this.#ready[this.#next]
        if (ready !== undefined) {
          this.#next++
          return { value: ready, done: false }
        }
        if (!(await this.#fill())) break
      }
    } catch (error) {
      this.#release()
      throw error
    }
    this.#release()
    return { value: undefined, done: true }
  }

  /** Decodes some changes; false at the end of a feed that is not live. */
  async #fill(): Promise<boolean> {
    const { store, isLive, upTo = Number.POSITIVE_INFINITY } = this.#setup
    store.throwIfClosed()
    this.#ready = []
    this.#next = 0
    this.#pin.advance(this.#cursor.position)
    if (this.#cursor.position >= upTo) return false
    if (this.#cursor.position >= store.promisedPosition) {
      if (!isLive) return false
      if (store.options.readOnly) await this.#followFiles()
      else await this.#waitForMore()
      return true
    }
    await this.#cursor.step(Math.min(store.promisedPosition, upTo), this.#visit)
    await store.fairTurn.due()
    return true
  }

  readonly #visit: BatchVisitor = (position, timestampMs, bytes, batchOffset) => {
    if (batchSizeBytes(bytes, batchOffset) > SMALL_BATCH_BYTES) {
      const { fairTurn } = this.#setup.store
      const decoded = this.#decoder.decodeLarge(position, timestampMs, bytes, batchOffset, fairTurn)
      return decoded.then((change) => {
        if (change) this.#ready.push(change)
      })
    }
    const change = this.#decoder.decode(position, timestampMs, bytes, batchOffset)
    if (change) this.#ready.push(change)
    return undefined
  }

  /** A store that is read only sees nothing new of itself: the files tell what the one that writes them has done. */
  async #followFiles(): Promise<void> {
    const { env, directory } = this.#setup.store
    this.#files ??= new LogTail(env, directory, this.#cursor.position)
    if (await this.#files.step(this.#visit)) return
    let cancel: (() => void) | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      cancel = env.clock.after(POLL_MS, resolve)
      if (this.#isClosed || this.#setup.signal?.aborted) resolve()
    })
    cancel?.()
    this.#wake = undefined
  }

  async #waitForMore(): Promise<void> {
    const { store } = this.#setup
    let stop: (() => void) | undefined
    try {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        stop = store.onCommit(resolve)
        if (this.#isClosed || this.#setup.signal?.aborted) resolve()
      })
    } finally {
      stop?.()
      this.#wake = undefined
    }
  }

  #release(): void {
    this.#isClosed = true
    this.#ready = []
    this.#pin.release()
    this.#cursor.close()
    this.#files?.close()
    this.#setup.signal?.removeEventListener('abort', this.#onAbort)
  }
}
