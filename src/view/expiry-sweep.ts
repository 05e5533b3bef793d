import type { EncodedOp } from '../access/batch-encoder.js'
import { type Codec, codecOf } from '../access/codec.js'
import { type ExpiryNotes, expiryNotesOf } from '../access/expiry.js'
import { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Store } from '../store/store.js'
import type { Lookup } from '../tree/tree-view.js'
import type { View } from './contract.js'
import { secondaryIndex } from './secondary-index.js'
import { openChecked } from './views.js'

const INDEX_NAME = '\0expiry'
const INDEX_MEMORY = 16 * 2 ** 20
/** Entries that one batch deletes: about a millisecond, and some more where they are in segments. */
const DELETES_MAX = 512
/** A timer does not see the wall clock set forward, or the machine sleep. */
const WAIT_MS_MAX = 10_000
/** Before the index, or a write, is tried again after it failed. */
const RETRY_MS = 1000

const sweeps = new WeakMap<Store, ExpirySweep>()

/** From now on what has expired is deleted, while the store takes writes of its own. Once for each store. */
export function sweepExpired(store: Store): void {
  if (store.options.readOnly || sweeps.has(store)) return
  sweeps.set(store, new ExpirySweep(store))
}

/** Waits for what is in flight. Undefined: nothing is. Before the views are closed. */
export function endSweep(store: Store): Promise<void> | undefined {
  return sweeps.get(store)?.close()
}

type ExpiryIndex = View<NonNullable<Parameters<ReturnType<typeof makeIndex>['apply']>[1]>>

/**
 * Deletes what has expired: as writes of the log, in batches. The index of what expires, by when, is a view like every
 * other, on disk, exact after overwrites, deletes and clears, and built from the entries where it is not there, which
 * is in checkpoints and copies. What it says is only where to look: an entry is deleted if the entry itself, as
 * commit order has it, has expired. Holds nothing in memory but the time to wake.
 */
class ExpirySweep {
  readonly #store: Store
  readonly #typed: TypedStore<Buffer, undefined>
  readonly #notes: ExpiryNotes
  readonly #endListening: () => void
  #index: ExpiryIndex | undefined
  /** When something expires next, as far as is known. */
  #nextAt = Number.POSITIVE_INFINITY
  #cancelTimer: (() => void) | undefined
  #running: Promise<void> | undefined
  #isClosed = false

  constructor(store: Store) {
    this.#store = store
    // Values are not looked at.
    const nothing: Codec<undefined> = { isDirect: true, prepare: () => '', decode: () => undefined }
    this.#typed = new TypedStore(store, codecOf<Buffer>('key', 'buffer'), nothing)
    this.#notes = expiryNotesOf(store)
    // At the first news the index is opened, so that it follows the log long before something is due.
    this.#notes.listen((expiresAt) => this.#expect(this.#index ? expiresAt : 0))
    this.#endListening = store.events.on('follower.promoted', () => this.#begin())
    this.#begin()
  }

  close(): Promise<void> | undefined {
    this.#isClosed = true
    this.#notes.listen(undefined)
    this.#endListening()
    this.#cancelTimer?.()
    return this.#running
  }

  #begin(): void {
    if (!this.#store.pipeline.isRefusing && this.#notes.isMarked) this.#expect(0)
  }

  #expect(expiresAt: number): void {
    if (expiresAt >= this.#nextAt) return
    this.#nextAt = expiresAt
    this.#arm()
  }

  #arm(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#isClosed || this.#running || this.#nextAt === Number.POSITIVE_INFINITY) return
    const { clock } = this.#store.env
    const waitMs = Math.min(WAIT_MS_MAX, Math.max(0, this.#nextAt - clock.wallMs()))
    this.#cancelTimer = clock.afterUnref(waitMs, () => {
      this.#cancelTimer = undefined
      if (clock.wallMs() < this.#nextAt) this.#arm()
      else this.#start()
    })
  }

  #start(): void {
    this.#nextAt = Number.POSITIVE_INFINITY
    this.#running = this.#sweep()
      .then((nextAt) => this.#expect(nextAt))
      .catch(() => {
        // What stopped all writes is told by the store itself, what stopped the index by trying again.
        if (this.#store.failure || this.#store.isClosed) this.#isClosed = true
        else this.#expect(this.#store.env.clock.wallMs() + RETRY_MS)
      })
      .finally(() => {
        this.#running = undefined
        this.#arm()
      })
  }

  /** Deletes what has expired by now; gives when something expires next. */
  async #sweep(): Promise<number> {
    for (;;) {
      if (this.#isClosed || this.#store.pipeline.isRefusing) return Number.POSITIVE_INFINITY
      const index = await this.#reached()
      const now = this.#store.env.clock.wallMs()
      const due: Buffer[] = []
      let nextAt = Number.POSITIVE_INFINITY
      for await (const [expiresAt, key] of index.range({ limit: DELETES_MAX })) {
        if (expiresAt > now) {
          nextAt = expiresAt
          break
        }
        due.push(key)
      }
      if (due.length === 0) return nextAt
      await this.#delete(due)
    }
  }

  /** The index, with everything that was committed so far. */
  async #reached(): Promise<ExpiryIndex> {
    this.#index ??= await openChecked(this.#typed, INDEX_NAME, makeIndex())
    if (this.#index.status === 'failed') await this.#index.retry()
    // What was noted may still be gathered: a sweep that did not see it would not come again for it.
    this.#store.pipeline.commitNow()
    await this.#index.reach()
    return this.#index
  }

  async #delete(keys: readonly Buffer[]): Promise<void> {
    const { store, reader, writer } = this.#typed
    // From disk without holding the thread: the reads below then find it in memory.
    for (const key of keys) {
      await reader.has(key, undefined)
      const turn = store.fairTurn.due()
      if (turn) await turn
    }
    await store.pipeline.pace()
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
    store.pipeline.commitNow()
    // The clock may have been set back meanwhile.
    const now = store.env.clock.wallMs()
    const ops: EncodedOp[] = []
    for (const key of keys) {
      const expiresAt = reader.findKeyNow(key, expiryOf)
      if (expiresAt !== undefined && expiresAt <= now) ops.push({ type: 'del', key })
    }
    if (ops.length > 0) await writer.commit(ops, [], undefined)
  }
}

function expiryOf(lookup: Lookup): number | undefined {
  return lookup.expiresAt
}

function makeIndex() {
  return secondaryIndex<Buffer, undefined, number>({
    version: 1,
    memory: INDEX_MEMORY,
    key: (_key, _value, expiresAt) => expiresAt,
  })
}
