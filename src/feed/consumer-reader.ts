import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { ClosableIterator } from '../store/contract.js'
import { CallQueue } from '../util/call-queue.js'
import type { Change } from './change.js'
import type { ConsumerCursor } from './consumer-cursor.js'
import { ConsumerFeed } from './consumer-feed.js'

export interface ReaderSetup<K, V> {
  readonly typed: TypedStore<K, V>
  readonly cursor: ConsumerCursor<K, V>
  readonly isLive: boolean
  readonly signal: AbortSignal | undefined
  onEnd(): void
}

/** The changes after a consumer's place, at its caller's pace; the place moves when they are acknowledged. */
export class ConsumerReader<K, V> implements ClosableIterator<Change<K, V>> {
  readonly #setup: ReaderSetup<K, V>
  #feed: ConsumerFeed<K, V>
  #generation: number
  #ready: readonly Change<K, V>[] = []
  #next = 0
  /** How far the log was read for what is in `#ready`. The feed itself may be further already. */
  #readTo: Position
  #shown: Position
  #isClosed = false
  /** Calls are served one after another. */
  readonly #calls = new CallQueue()
  readonly #onAbort = () => this.#feed.stop()

  constructor(setup: ReaderSetup<K, V>) {
    this.#setup = setup
    this.#generation = setup.cursor.generation
    this.#shown = setup.cursor.position
    this.#readTo = setup.cursor.seen
    this.#feed = this.#open()
    setup.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** The last change that was handed out. */
  get shown(): Position {
    return this.#isCurrent ? this.#shown : this.#setup.cursor.position
  }

  /** What is dealt with once everything up to `position` is. */
  seenWith(position: Position): Position {
    const isAll = this.#isCurrent && position === this.#shown && this.#next === this.#ready.length
    return isAll ? Math.max(position, this.#readTo) : position
  }

  next(): Promise<IteratorResult<Change<K, V>>> {
    return this.#calls.run(() => this.#take())
  }

  async return(): Promise<IteratorResult<Change<K, V>>> {
    this.#isClosed = true
    this.#feed.stop()
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

  get #isCurrent(): boolean {
    return this.#generation === this.#setup.cursor.generation
  }

  #open(): ConsumerFeed<K, V> {
    const { typed, cursor, isLive } = this.#setup
    return new ConsumerFeed(typed, cursor.seen, isLive, undefined)
  }

  async #take(): Promise<IteratorResult<Change<K, V>>> {
    const { cursor, signal } = this.#setup
    try {
      for (;;) {
        if (signal?.aborted) throw new VarveError('VARVE_ABORTED', 'the signal ended the reading')
        if (this.#isClosed) break
        if (!this.#isCurrent) this.#restart()
        const ready = this.#ready[this.#next]
        if (ready !== undefined) {
          this.#next++
          this.#shown = ready.position
          return { value: ready, done: false }
        }
        if (cursor.position >= this.#shown) cursor.see(this.#readTo)
        const feed = this.#feed
        const changes = await feed.next()
        if (feed !== this.#feed || !this.#isCurrent) continue
        if (changes) {
          this.#ready = changes
          this.#next = 0
          this.#readTo = feed.position
        } else if (!signal?.aborted) break
      }
    } catch (error) {
      this.#release()
      throw error
    }
    this.#release()
    return { value: undefined, done: true }
  }

  /** The consumer was moved. */
  #restart(): void {
    this.#feed.close()
    this.#generation = this.#setup.cursor.generation
    this.#shown = this.#setup.cursor.position
    this.#readTo = this.#setup.cursor.seen
    this.#ready = []
    this.#next = 0
    this.#feed = this.#open()
  }

  #release(): void {
    if (this.#isClosed && this.#ready === NOTHING) return
    this.#isClosed = true
    this.#ready = NOTHING
    this.#next = 0
    this.#feed.close()
    this.#setup.signal?.removeEventListener('abort', this.#onAbort)
    this.#setup.onEnd()
  }
}

const NOTHING: readonly never[] = []
