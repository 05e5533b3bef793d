import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { Durability } from '../store/contract.js'
import { backOffMs } from './back-off.js'
import type { Change } from './change.js'
import type { ConsumerCursor } from './consumer-cursor.js'
import { ConsumerFeed, throwIfDown } from './consumer-feed.js'
import { describeFailure, type ResolvedPolicy } from './error-policy.js'
import { StoreTransaction, type Transaction } from './transaction.js'

/** What is done with each change; see `Consumer.run`. */
export type ConsumerHandler<K, V> = (change: Change<K, V>, tx: Transaction<K, V>) => void | Promise<void>

export interface RunSetup<K, V> {
  readonly typed: TypedStore<K, V>
  readonly cursor: ConsumerCursor<K, V>
  readonly handler: ConsumerHandler<K, V>
  readonly policy: ResolvedPolicy
  readonly isLive: boolean
  readonly showsOwn: boolean
  readonly durability: Durability | undefined
}

/** Batches under way at most before the run waits for the last one. */
const UNAWAITED_MAX = 256
/** Changes between two looks at the clock. */
const CHECK_EVERY = 32
/** How long a handler that is running when the run is stopped may take to end. */
const GRACE_MS = 1000
/** Waits after a conflict: others write what the handler reads. */
const CONFLICT_MIN_MS = 1
const CONFLICT_MAX_MS = 50

/** Of one call of the handler: it failed, the run was stopped, or its effects are on their way. */
type Outcome = { readonly failure: unknown } | 'stopped' | 'done'

/**
 * One run of a consumer: hands it each change and commits what it wrote together with the consumer's place. Batches
 * are not waited for one by one: the log keeps their order, and one that is lost takes all later ones with it.
 */
export class ConsumerRun<K, V> {
  readonly #setup: RunSetup<K, V>
  readonly #controller = new AbortController()
  #feed: ConsumerFeed<K, V> | undefined
  #isStopping = false
  /** Ends the wait that is going on. */
  #interrupt: (() => void) | undefined
  /** How long what is waited for may go on once the run is stopped. */
  #graceMs = 0
  #cancelGrace: (() => void) | undefined
  #lastWrite: Promise<Position> | undefined
  #unawaited = 0
  /** What no other try of the handler can mend. */
  #commitFailure: unknown

  constructor(setup: RunSetup<K, V>) {
    this.#setup = setup
  }

  /** Until the end, or `stop`. @throws VarveError. */
  async run(): Promise<void> {
    const { typed, cursor, isLive, showsOwn } = this.#setup
    try {
      while (!this.#isStopping) {
        const feed = new ConsumerFeed(typed, cursor.seen, isLive, showsOwn ? undefined : cursor.name)
        this.#feed = feed
        try {
          if (await this.#follow(feed, cursor.generation)) break
        } finally {
          feed.close()
        }
      }
      await this.#settleWrites()
      if (!typed.store.isClosed && !typed.store.failure) await cursor.save()
    } finally {
      this.#cancelGrace?.()
    }
  }

  /** A handler that runs gets a while to end; after that whatever it does has no effect. Idempotent. */
  stop(): void {
    if (this.#isStopping) return
    this.#isStopping = true
    this.#feed?.stop()
    this.#controller.abort()
    this.#interruptSoon()
  }

  /** Hands out what the feed gives; false where the consumer was moved meanwhile. */
  async #follow(feed: ConsumerFeed<K, V>, generation: number): Promise<boolean> {
    const { typed, cursor } = this.#setup
    let count = 0
    for (;;) {
      if (this.#unawaited > 0 && feed.position >= typed.store.promisedPosition) await this.#settleWrites()
      const changes = await feed.next()
      if (!changes) return true
      for (const change of changes) {
        if (this.#isStopping) return true
        const waiting = this.#handle(change, generation)
        if (waiting) await waiting
        if (cursor.generation !== generation) return false
        if (++count % CHECK_EVERY === 0) await typed.store.fairTurn.due()
      }
      if (this.#isStopping) return true
      if (cursor.generation !== generation) return false
      cursor.see(feed.position)
    }
  }

  /** At once where the handler is quick and nothing has to be waited for. */
  #handle(change: Change<K, V>, generation: number): Promise<void> | undefined {
    const tx = this.#transaction()
    let outcome: Outcome | Promise<void>
    try {
      const result: unknown = this.#setup.handler(change, tx)
      if (!isThenable(result) && tx.validateNow()) {
        this.#commit(change, tx, generation)
        tx.close()
        return this.#unawaited >= UNAWAITED_MAX ? this.#settleWrites() : undefined
      }
      outcome = Promise.resolve(result as void)
    } catch (failure) {
      outcome = { failure }
    }
    return this.#handleSlowly(change, generation, tx, outcome)
  }

  async #handleSlowly(
    change: Change<K, V>,
    generation: number,
    firstTx: StoreTransaction<K, V>,
    first: Outcome | Promise<void>,
  ): Promise<void> {
    const { policy, cursor } = this.#setup
    let outcome = first instanceof Promise ? await this.#finish(change, generation, firstTx, first) : first
    let conflicts = 0
    let tx = firstTx
    for (let attempts = 1; typeof outcome === 'object'; ) {
      tx.close()
      const { store } = this.#setup.typed
      throwIfDown(store)
      if (this.#commitFailure) throw this.#commitFailure
      if (this.#isStopping) return
      const { failure } = outcome
      if (tx.hasConflict) {
        await this.#pause(backOffMs(++conflicts, CONFLICT_MIN_MS, CONFLICT_MAX_MS, store.env.random))
      } else if (attempts < policy.attempts) {
        await this.#pause(backOffMs(attempts, policy.minMs, policy.maxMs, store.env.random))
        attempts++
      } else if (cursor.generation !== generation) {
        return
      } else if (policy.giveUp === 'park') {
        await this.#park(change, attempts, failure)
        return
      } else {
        throw handlerFailed(change.position, failure)
      }
      if (this.#isStopping || cursor.generation !== generation) return
      tx = this.#transaction()
      outcome = await this.#attempt(change, generation, tx)
    }
    tx.close()
    if (this.#unawaited >= UNAWAITED_MAX) await this.#settleWrites()
  }

  #attempt(change: Change<K, V>, generation: number, tx: StoreTransaction<K, V>): Promise<Outcome> {
    const { handler } = this.#setup
    const call = async () => handler(change, tx)
    return this.#finish(change, generation, tx, call())
  }

  /** Waits for the handler and commits. */
  async #finish(
    change: Change<K, V>,
    generation: number,
    tx: StoreTransaction<K, V>,
    call: Promise<void>,
  ): Promise<Outcome> {
    try {
      if (!(await this.#unlessStopped(call, GRACE_MS))) {
        tx.close()
        return 'stopped'
      }
      while (!tx.validateNow()) await tx.catchUp()
      this.#commit(change, tx, generation)
      return 'done'
    } catch (failure) {
      return { failure }
    }
  }

  /** @throws VarveError `VARVE_LIMIT` for effects that are too large: as if the handler had thrown it. */
  #commit(change: Change<K, V>, tx: StoreTransaction<K, V>, generation: number): void {
    const { cursor } = this.#setup
    if (tx.hasWrites) {
      try {
        this.#noteWrite(cursor.commit(tx, change.position, generation, this.#setup))
      } catch (error) {
        if (!(error instanceof VarveError) || error.code !== 'VARVE_LIMIT') this.#commitFailure = error
        throw error
      }
    } else if (generation === cursor.generation) {
      cursor.pass(change.position)
    }
  }

  async #park(change: Change<K, V>, attempts: number, failure: unknown): Promise<void> {
    const { position, timestamp } = change
    const parkedMs = this.#setup.typed.store.env.clock.wallMs()
    const error = describeFailure(failure)
    await this.#setup.cursor.park({ position, timestamp, parkedMs, attempts, error })
  }

  #noteWrite(write: Promise<Position>): void {
    // The pipeline tells every later write of a failure, and `#settleWrites` asks the last one.
    write.catch(() => {})
    this.#lastWrite = write
    this.#unawaited++
  }

  async #settleWrites(): Promise<void> {
    const write = this.#lastWrite
    this.#unawaited = 0
    this.#lastWrite = undefined
    await write
  }

  #transaction(): StoreTransaction<K, V> {
    return new StoreTransaction(this.#setup.typed, this.#controller.signal)
  }

  async #pause(delayMs: number): Promise<void> {
    let cancel: (() => void) | undefined
    const { clock } = this.#setup.typed.store.env
    await this.#unlessStopped(
      new Promise<void>((resolve) => {
        cancel = clock.after(delayMs, resolve)
      }),
      0,
    )
    cancel?.()
  }

  /** False where the run was stopped, and so much time passed, before the work came to its end. */
  #unlessStopped(work: Promise<void>, graceMs: number): Promise<boolean> {
    return new Promise<boolean>((resolve, reject) => {
      this.#interrupt = () => resolve(false)
      this.#graceMs = graceMs
      if (this.#isStopping) this.#interruptSoon()
      work.then(() => resolve(true), reject)
    }).finally(() => {
      this.#interrupt = undefined
    })
  }

  #interruptSoon(): void {
    if (!this.#interrupt || this.#cancelGrace) return
    if (this.#graceMs === 0) this.#interrupt()
    else this.#cancelGrace = this.#setup.typed.store.env.clock.after(this.#graceMs, () => this.#interrupt?.())
  }
}

function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

export function handlerFailed(position: Position, cause: unknown): VarveError {
  const message = `the handler failed on the change at position ${position}: ${describeFailure(cause)}`
  return new VarveError('VARVE_HANDLER', message, { position, cause })
}
