import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { ClosableIterator, Durability } from '../store/contract.js'
import { decodeParked, type ParkedChange, parseCursorKey } from '../store/cursor-state.js'
import { checkDurability } from '../store/options.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import type { Change } from './change.js'
import type { ConsumerCursor } from './consumer-cursor.js'
import { ConsumerFeed } from './consumer-feed.js'
import { ConsumerReader } from './consumer-reader.js'
import { type ConsumerHandler, ConsumerRun, handlerFailed } from './consumer-run.js'
import { type ErrorPolicy, resolvePolicy } from './error-policy.js'
import { lagBehind } from './lag.js'
import { StoreTransaction } from './transaction.js'

/** How `Consumer.run` goes about it. */
export interface RunOptions {
  /** Ends the run with `VARVE_ABORTED`, after the handler that is running or a second. */
  readonly signal?: AbortSignal | undefined
  /** At the end, wait for what is written next; left out, the run ends there. */
  readonly live?: boolean | undefined
  /** What to do when the handler throws; default `'stop'`. */
  readonly onError?: ErrorPolicy
  /** Of the batches that hold effects; default: the store's. */
  readonly durability?: Durability
  /** Hand out what the consumer itself wrote as effects, too; default false, as else it answers itself for ever. */
  readonly showsOwn?: boolean
}

const RUN_NAMES: OptionNames<RunOptions> = {
  signal: true,
  live: true,
  onError: true,
  durability: true,
  showsOwn: true,
}

/** How `Consumer.read` goes about it. */
export interface ReadingOptions {
  /** Ends the iterator with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
  /** At the end, wait for what is written next; left out, the iterator ends there. */
  readonly live?: boolean | undefined
}

const READING_NAMES: OptionNames<ReadingOptions> = { signal: true, live: true }

/**
 * A durable named reader of the log. Its place is kept in the store, survives any crash, and keeps the log from there
 * on, also while nobody has the consumer open, up to `log.pinnedMaxBytes`; beyond that the slowest consumer loses its
 * place, with the event `consumer.evicted`, and its next use fails with `VARVE_POSITION_LOST` and the oldest position
 * there is: `seek` to it, or `drop` the consumer. One call of `run` or `read` at a time.
 */
export class Consumer<K, V> implements AsyncDisposable {
  readonly #typed: TypedStore<K, V>
  readonly #cursor: ConsumerCursor<K, V>
  readonly #onClosed: () => void
  #run: ConsumerRun<K, V> | undefined
  #running: Promise<void> | undefined
  #reader: ConsumerReader<K, V> | undefined
  /** The last change that any reader has handed out. */
  #shown: Position
  #wanted: Position
  #acknowledging: Promise<unknown> | undefined
  /** Handlers of parked changes that are running. */
  readonly #retries = new Set<AbortController>()
  #closing: Promise<void> | undefined

  /** Use `Database.consumer`. */
  constructor(typed: TypedStore<K, V>, cursor: ConsumerCursor<K, V>, onClosed: () => void) {
    this.#typed = typed
    this.#cursor = cursor
    this.#onClosed = onClosed
    this.#shown = cursor.position
    this.#wanted = cursor.position
  }

  /** By which the store knows it. */
  get name(): string {
    return this.#cursor.name
  }

  /** The last change that was handled or acknowledged, or where it was placed. */
  get position(): Position {
    return this.#cursor.position
  }

  /** Positions between it and the end of the log; 0 when nothing is left but its own notes. */
  get lag(): number {
    return lagBehind(this.#typed.store, this.#cursor.seen).lag
  }

  /** Bytes of log that it has not dealt with, about. */
  get lagBytes(): number {
    return lagBehind(this.#typed.store, this.#cursor.seen).lagBytes
  }

  /** How long ago the first change that it has not dealt with was committed, in milliseconds; 0 when there is none. */
  get lagMs(): number {
    return lagBehind(this.#typed.store, this.#cursor.seen).lagMs
  }

  /** Up to here nothing is left to deal with. */
  get seen(): Position {
    return this.#cursor.seen
  }

  /**
   * Hands every change after its position to the handler, one at a time and in order. What the handler writes with
   * `tx` and the new position commit as one batch: its effects happen exactly once, whatever crashes. A change that
   * had no effects may be handed out again after a crash. After a conflict of `tx` with other writers the handler is
   * called again with a new one. Changes that hold nothing but the places of consumers are passed over, and so is what
   * this consumer wrote itself. Resolves at the end of the log, unless `live`, and after `close`.
   * @throws VarveError `VARVE_HANDLER` (the handler threw `cause`; `position` says on which change),
   * `VARVE_POSITION_LOST` with the oldest position, `VARVE_ABORTED`, `VARVE_LOCKED` (it runs or reads already),
   * `VARVE_INVALID_ARGUMENT`, `VARVE_CLOSED`, or what stopped the store.
   */
  async run(handler: ConsumerHandler<K, V>, options: RunOptions = {}): Promise<void> {
    checkOptionNames('run', options, RUN_NAMES)
    const { signal, live = false, onError, durability, showsOwn = false } = options
    if (typeof handler !== 'function') throw invalid('a handler is a function')
    if (durability !== undefined) checkDurability(durability)
    const policy = resolvePolicy(onError)
    this.#throwIfBusy()
    if (signal?.aborted) throw aborted()
    const { cursor, typed } = this.#parts
    const run = new ConsumerRun({ typed, cursor, handler, policy, isLive: live, showsOwn, durability })
    const stop = () => run.stop()
    signal?.addEventListener('abort', stop, { once: true })
    this.#run = run
    const running = run.run()
    this.#running = running.catch(() => {})
    try {
      await running
    } finally {
      signal?.removeEventListener('abort', stop)
      this.#run = undefined
      this.#running = undefined
      this.#note(cursor.position)
    }
    if (signal?.aborted && !this.#closing) throw aborted()
  }

  /**
   * The changes after its position, for sinks outside the store: each is delivered at least once, again after a crash
   * unless it was acknowledged. `for await` closes it; else call `return`.
   * @throws VarveError as `run`.
   */
  read(options: ReadingOptions = {}): ClosableIterator<Change<K, V>> {
    checkOptionNames('read', options, READING_NAMES)
    const { signal, live = false } = options
    this.#throwIfBusy()
    const onEnd = () => {
      this.#reader = undefined
    }
    const { cursor, typed } = this.#parts
    this.#reader = new ConsumerReader({ typed, cursor, isLive: live, signal, onEnd })
    return this.#observed(this.#reader)
  }

  /**
   * Everything up to `position` is dealt with for good. Resolves once that is committed; calls at the same time share
   * a batch. An older position than the last one changes nothing.
   * @throws VarveError `VARVE_INVALID_ARGUMENT` for a position that `read` has not given yet.
   */
  async ack(position: Position): Promise<void> {
    this.#throwIfClosed()
    checkPosition(position)
    const shown = Math.max(this.#shown, this.#reader?.shown ?? 0)
    if (position > shown) throw invalid(`position ${position} was not read yet: ${shown} was the last`)
    if (position > this.#wanted) this.#wanted = position
    const { generation } = this.#cursor
    while (this.#cursor.position < position && this.#cursor.generation === generation) {
      this.#acknowledging ??= this.#acknowledge().finally(() => {
        this.#acknowledging = undefined
      })
      await this.#acknowledging
    }
    await this.#acknowledging
  }

  /**
   * Goes on after `position`, backwards or forwards; 0 is the start of the log. A `run` or `read` goes on there too.
   * @throws VarveError `VARVE_POSITION_LOST` with the oldest position, `VARVE_INVALID_ARGUMENT` for a position that
   * is none or is not there yet.
   */
  async seek(position: Position): Promise<void> {
    this.#throwIfClosed()
    checkPlace(this.#typed, position)
    const moved = this.#cursor.move(position)
    this.#shown = position
    this.#wanted = position
    await moved
  }

  /** The changes that were put aside, in order of position. They keep the log as the consumer itself does. */
  parked(): ParkedChange[] {
    return parkedOf(this.#typed, this.name)
  }

  /** Gives up a change that was put aside. @throws VarveError `VARVE_INVALID_ARGUMENT` where there is none. */
  async unpark(position: Position): Promise<void> {
    this.#throwIfClosed()
    this.#requireParked(position)
    await this.#cursor.unpark(position, undefined)
  }

  /**
   * Hands a change that was put aside to the handler once more; it is no longer put aside once its effects commit.
   * @throws VarveError `VARVE_HANDLER`: it stays put aside; `VARVE_CONFLICT`: try again; `VARVE_POSITION_LOST`;
   * `VARVE_INVALID_ARGUMENT` where there is none.
   */
  async retry(position: Position, handler: ConsumerHandler<K, V>): Promise<void> {
    this.#throwIfClosed()
    if (typeof handler !== 'function') throw invalid('a handler is a function')
    this.#requireParked(position)
    const controller = new AbortController()
    this.#retries.add(controller)
    const tx = new StoreTransaction(this.#typed, controller.signal)
    try {
      const change = await this.#changeAt(position)
      await this.#unlessClosed(async () => handler(change, tx), position, controller.signal)
      while (!tx.validateNow()) await tx.catchUp()
      this.#throwIfClosed()
      this.#requireParked(position)
      await this.#cursor.unpark(position, tx)
    } finally {
      this.#retries.delete(controller)
      controller.abort()
      tx.close()
    }
  }

  /**
   * Ends a `run` or `read` and writes down how far it came. A handler that is running gets a second to end; what it
   * does later has no effect. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close(true)
    return this.#closing
  }

  /** Closes it and forgets its position: a consumer of that name starts anew, and the log is not kept for it. */
  async drop(): Promise<void> {
    if (this.#closing) throw this.#closed()
    const parked = this.parked()
    const dropped = (async () => {
      await this.#close(false)
      await this.#cursor.drop(parked)
    })()
    this.#closing = dropped
    return dropped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #changeAt(position: Position): Promise<Change<K, V>> {
    const feed = new ConsumerFeed(this.#typed, position - 1, false, undefined)
    try {
      while (feed.position < position) {
        const found = (await feed.next())?.find((change) => change.position === position)
        if (found) return found
      }
    } finally {
      feed.close()
    }
    throw invalid(`there is no change at position ${position}`)
  }

  /** As the handler of a parked change, or fails when the consumer is closed first. */
  #unlessClosed(call: () => Promise<void>, position: Position, signal: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(this.#closed()), { once: true })
      call().then(resolve, (error) => reject(handlerFailed(position, error)))
    })
  }

  async #close(savesPlace: boolean): Promise<void> {
    try {
      for (const retry of this.#retries) retry.abort()
      this.#run?.stop()
      await this.#running
      await this.#reader?.return()
      await this.#acknowledging?.catch(() => {})
      const { store } = this.#typed
      if (savesPlace && !store.isClosed && !store.failure) await this.#cursor.save()
    } finally {
      this.#cursor.release()
      this.#onClosed()
    }
  }

  get #parts(): { readonly typed: TypedStore<K, V>; readonly cursor: ConsumerCursor<K, V> } {
    return { typed: this.#typed, cursor: this.#cursor }
  }

  /** Notes what the reader hands out, also after it is gone. */
  #observed(reader: ConsumerReader<K, V>): ClosableIterator<Change<K, V>> {
    const note = (result: IteratorResult<Change<K, V>>) => {
      if (!result.done) this.#note(result.value.position)
      return result
    }
    return {
      next: async () => note(await reader.next()),
      return: () => reader.return(),
      [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  #note(shown: Position): void {
    if (shown > this.#shown) this.#shown = shown
  }

  async #acknowledge(): Promise<void> {
    const position = this.#wanted
    if (position <= this.#cursor.position) return
    await this.#cursor.acknowledge(position, this.#reader?.seenWith(position) ?? position)
  }

  #requireParked(position: Position): void {
    checkPosition(position)
    const isParked = this.parked().some((change) => change.position === position)
    if (!isParked) throw invalid(`no change at position ${position} was put aside`)
  }

  #throwIfBusy(): void {
    this.#throwIfClosed()
    if (!this.#run && !this.#reader) return
    throw new VarveError('VARVE_LOCKED', `the consumer ${this.name} runs or reads already`)
  }

  #throwIfClosed(): void {
    this.#typed.store.throwIfClosed()
    if (this.#closing) throw this.#closed()
  }

  #closed(): VarveError {
    return new VarveError('VARVE_CLOSED', `the consumer ${this.name} is closed`)
  }
}

/** What the consumer of that name has put aside, in order of position. */
export function parkedOf<K, V>({ store }: TypedStore<K, V>, name: string): ParkedChange[] {
  const found: ParkedChange[] = []
  for (const [key, state] of store.tree.cursors()) {
    const { name: owner, parked } = parseCursorKey(key)
    const change = owner === name && parked !== undefined ? decodeParked(state) : undefined
    if (change) found.push(change)
  }
  return found.sort((a, b) => a.position - b.position)
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function checkPosition(position: unknown): void {
  if (typeof position === 'number' && Number.isSafeInteger(position) && position >= 0) return
  throw invalid('a position is a whole number from 0')
}

/** A consumer can stand after `position`. @throws VarveError. */
export function checkPlace<K, V>({ store }: TypedStore<K, V>, position: Position): void {
  checkPosition(position)
  if (position > store.position) {
    throw invalid(`position ${position} is not there yet: the store is at ${store.position}`)
  }
  const oldest = store.oldestPosition
  if (position >= oldest - 1) return
  const message = `the log no longer holds position ${position + 1}: it starts at ${oldest}`
  throw new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
}

function aborted(): VarveError {
  return new VarveError('VARVE_ABORTED', 'the signal ended the run')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
