import { TypedStore } from '../access/typed-store.js'
import { ioError, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { LogPin } from '../store/log-archive.js'
import type { StoreOptions } from '../store/options.js'
import { Store } from '../store/store.js'
import type { ViewMemory } from './contract.js'
import { commitGroup } from './group-batch.js'
import { logNumberOf, pinFor } from './log-place.js'
import { Readers } from './readers.js'
import { decodeRecord, encodeRecord, type ViewRecord } from './record.js'
import type { Definition } from './resolve.js'
import { ChangeSource } from './source.js'
import { Stopped, StopSignal } from './stop-signal.js'
import { GroupState } from './view-state.js'

/** A group commits once it holds so much: that takes a few milliseconds, and as much again is done over if it fails. */
const GROUP_OPS_MAX = 1024
const GROUP_BYTES_MAX = 512 * 1024
/** What ranges are read of must stay small: it is sorted again and again. */
const GROUP_SORTED_MAX = 256
/** Changes between two looks at the clock. */
const CHECK_EVERY = 16
/** A group with changes that take their time commits after this. */
const GROUP_MS_MAX = 20

export interface BuildHooks {
  /** The output reflects more; called at the very moment that reads see it. */
  onAdvance(): void
  /**
   * After each group, while nothing is applied.
   * @param isCaughtUp whether it reached what was the end of the log when it began.
   */
  onGroup(isCaughtUp: boolean): Promise<void>
  onFailure(error: VarveError): void
}

export interface BuildSetup {
  readonly main: TypedStore<unknown, unknown>
  readonly directory: string
  /** May depend on what is there. */
  definitionOf(record: ViewRecord): Definition
  /** For opening its store. */
  readonly storeOptions: StoreOptions
  readonly hooks: BuildHooks
}

/**
 * One version of a view: a store of its own, and the loop that applies the main store's changes to it. One writer:
 * the loop. Its position moves in the same moment as what reads see.
 */
export class Build {
  readonly directory: string
  readonly definition: Definition
  /** Reads that must come to their end before the directory goes. */
  readonly readers = new Readers()
  /** Whether anything was ever committed. */
  readonly hasRecord: boolean
  readonly #setup: BuildSetup
  readonly #store: Store
  readonly #typed: TypedStore<unknown, unknown>
  readonly #state: GroupState<unknown, unknown, unknown>
  #record: ViewRecord
  /** Handed to the view's store, visible once that is at `own`. */
  #pending: { readonly own: Position; readonly record: ViewRecord } | undefined
  /** What is to be pinned once the view's store has `own` on disk. */
  #unsynced: { readonly own: Position; readonly position: Position } | undefined
  #pin: LogPin | undefined
  #source: ChangeSource<unknown, unknown> | undefined
  #memory: ViewMemory | undefined
  #loop: Promise<void> | undefined
  readonly #stop = new StopSignal()
  #error: VarveError | undefined
  #isClosed = false

  private constructor(setup: BuildSetup, store: Store, record: ViewRecord, hasRecord: boolean) {
    this.hasRecord = hasRecord
    this.#setup = setup
    this.directory = setup.directory
    this.definition = setup.definitionOf(record)
    this.#store = store
    this.#record = record
    const { keys, values } = this.definition
    this.#typed = new TypedStore(store, keys, values)
    this.#state = new GroupState(this.#typed, setup.main.keys, this.definition.hooks !== undefined)
    store.onCommit(() => this.#onOwnCommit())
  }

  /** Opens what is there, or creates it with `fresh`. Takes no position yet; see `start`. */
  static async open(setup: BuildSetup, fresh: ViewRecord): Promise<Build> {
    const store = await Store.open(setup.directory, setup.storeOptions)
    try {
      const record = decodeRecord(store.tree.cursors(), setup.directory)
      return new Build(setup, store, record ?? fresh, record !== undefined)
    } catch (error) {
      await store.close().catch(() => {})
      throw error
    }
  }

  get typed(): TypedStore<unknown, unknown> {
    return this.#typed
  }

  get record(): ViewRecord {
    return this.#record
  }

  /** What reads see reflects everything up to here. While a snapshot is read: nothing. */
  get position(): Position {
    return this.#record.parts.length > 0 ? 0 : this.#record.position
  }

  get error(): VarveError | undefined {
    return this.#error
  }

  get isFollowing(): boolean {
    return this.#loop !== undefined
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get memory(): ViewMemory | undefined {
    return this.#memory
  }

  /** Keeps the log from the record's position on. */
  pin(): void {
    this.#pin ??= this.#setup.main.store.archive.pin(pinFor(this.#setup.main.store, this.#record.position))
  }

  /** Fills the memory that a helper keeps, in slices. */
  async loadMemory(): Promise<void> {
    const create = this.definition.hooks?.memory
    if (!create || this.#memory) return
    const memory = create()
    const entries = this.#typed.ranges.entries({})
    try {
      for (let i = 0; ; i++) {
        const { value, done } = await entries.next()
        if (done) break
        const [key, data] = value as [Buffer, Buffer]
        memory.put(key, data)
        if (i % CHECK_EVERY === 0) await this.#setup.main.store.fairTurn.due()
      }
    } finally {
      await entries.close()
    }
    this.#memory = memory
  }

  /** Applies what is new from now on. */
  start(): void {
    if (this.#loop || this.#isClosed || this.definition.isFrozen) return
    this.pin()
    this.#error = undefined
    this.#stop.turnOff()
    this.#loop = this.#follow().finally(() => {
      this.#loop = undefined
    })
  }

  /** The running change is given up; nothing of its group is kept. Not from within the loop. */
  async stop(): Promise<void> {
    this.#stop.turnOn()
    await this.#loop
  }

  /** Ends the wait for a change that takes its time, and for more. */
  interrupt(): void {
    this.#stop.turnOn()
  }

  /** Until everything up to `position` is applied, or it has failed or stopped. */
  async reach(position: Position): Promise<void> {
    const { clock } = this.#setup.main.store.env
    while (this.position < position && this.#loop) await clock.sleep(1)
  }

  /** Writes another record, durably. While nothing is applied. */
  async adopt(record: ViewRecord): Promise<void> {
    await this.#commit(record, true)
  }

  /** Writes the record with a new number, durably. From within `onGroup`, or while nothing is applied. */
  async commitServing(serving: number): Promise<void> {
    await this.#commit({ ...this.#record, serving }, true)
  }

  /** Idempotent. What the view's store failed with is known, or will be found again. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.stop()
    await this.#source?.close()
    this.#source = undefined
    await this.#store.close().catch(() => {})
    this.#pin?.release()
  }

  get store(): Store {
    return this.#store
  }

  async #follow(): Promise<void> {
    const { store } = this.#setup.main
    try {
      await this.loadMemory()
      while (!this.#stop.isOn) {
        store.throwIfClosed()
        this.#source ??= new ChangeSource(this.#setup.main, this.#record)
        if (this.#source.isSnapshot) await this.#applySnapshot(this.#source)
        else if (this.#record.position < store.promisedPosition) await this.#applyLog(this.#source)
        else if (!(await this.#tidyOnce())) {
          await this.#setup.hooks.onGroup(true)
          await this.#waitForMore()
        }
      }
    } catch (error) {
      await this.#giveUp(error)
    } finally {
      this.#state.isOpen = false
      this.#state.overlay.reset()
    }
  }

  async #applySnapshot(source: ChangeSource<unknown, unknown>): Promise<void> {
    const change = await source.nextOfSnapshot()
    if (this.#stop.isOn) throw new Stopped()
    try {
      if (change) await this.#apply(change)
    } catch (error) {
      throw error instanceof Stopped ? error : failed(this.definition, change!.position, error)
    }
    if (change && !this.#isFull) return
    await this.#commitPlace(source)
    await this.#setup.main.store.fairTurn.due()
  }

  /** One group. A change that fails is tried again in a group of its own, so that what came before it is kept. */
  async #applyLog(source: ChangeSource<unknown, unknown>): Promise<void> {
    const { store } = this.#setup.main
    const head = store.promisedPosition
    const { clock } = store.env
    const endMs = clock.monotonicMs() + GROUP_MS_MAX
    let failure: { readonly error: unknown; readonly position: Position } | undefined
    let count = 0
    let isLate = false
    while (source.place.position < head && !this.#isFull && !isLate) {
      const change = source.peek()
      if (!change) {
        await source.load(head)
        continue
      }
      try {
        // Without an await where there is nothing to wait for.
        const applied = this.#apply(change)
        if (applied) {
          await applied
          isLate = clock.monotonicMs() > endMs
        }
      } catch (error) {
        if (error instanceof Stopped) throw error
        failure = { error, position: change.position }
        break
      }
      source.take()
      if (++count % CHECK_EVERY !== 0) continue
      const turn = store.fairTurn.due()
      if (turn) await turn
      if (this.#stop.isOn) throw new Stopped()
    }
    if (failure) return this.#afterFailure(failure, count)
    await this.#tidy()
    await this.#commitPlace(source)
    const turn = store.fairTurn.due()
    if (turn) await turn
    if (this.#record.parts.length === 0) await this.#setup.hooks.onGroup(this.#record.position >= head)
  }

  async #afterFailure(
    { error, position }: { error: unknown; position: Position },
    count: number,
  ): Promise<void> {
    this.#state.overlay.reset()
    await this.#source?.close()
    this.#source = undefined
    if (count === 0) throw failed(this.definition, position, error)
    const source = new ChangeSource(this.#setup.main, this.#record)
    this.#source = source
    while (source.place.position < position - 1) {
      const change = source.peek()
      if (!change) {
        await source.load(position - 1)
        continue
      }
      try {
        await this.#apply(change)
      } catch (cause) {
        if (cause instanceof Stopped) throw cause
        throw failed(this.definition, change.position, cause)
      }
      source.take()
      await this.#setup.main.store.fairTurn.due()
    }
    await this.#commitPlace(source)
  }

  get #isFull(): boolean {
    const { overlay } = this.#state
    if (overlay.isSorting && overlay.count >= GROUP_SORTED_MAX) return true
    return (
      overlay.count >= (this.definition.hooks?.groupOpsMax ?? GROUP_OPS_MAX) ||
      overlay.sizeBytes >= GROUP_BYTES_MAX
    )
  }

  // Hot: once for every change (bench/view.bench.js).
  #apply(change: unknown): Promise<void> | undefined {
    this.#state.isOpen = true
    const result = this.definition.apply(change, this.#state)
    if (!isPromise(result)) return undefined
    return this.#stop.until(result)
  }

  /** True if the helper has more to do. */
  async #tidy(): Promise<boolean> {
    const tidy = this.definition.hooks?.tidy
    if (!tidy) return false
    this.#state.isOpen = true
    return tidy(this.#state as never)
  }

  /** While no change comes. True if there was something to do. */
  async #tidyOnce(): Promise<boolean> {
    if (!this.definition.hooks?.tidy) return false
    const hasMore = await this.#tidy()
    if (this.#state.overlay.order === 0) return false
    await this.#commit(this.#record, false)
    await this.#setup.main.store.fairTurn.due()
    return hasMore
  }

  async #commitPlace(source: ChangeSource<unknown, unknown>): Promise<void> {
    const { store } = this.#setup.main
    const { position, parts } = source.place
    const reached = Math.max(position, parts[parts.length - 1]?.at ?? 0)
    const logNumber = logNumberOf(store, reached)
    await this.#commit({ ...this.#record, position, parts, logNumber, durable: store.durablePosition }, false)
  }

  async #commit(record: ViewRecord, isDurable: boolean): Promise<void> {
    this.#state.isOpen = false
    const { pipeline } = this.#store
    this.#pending = { own: this.#store.position + 1, record }
    try {
      await commitGroup(pipeline, this.#state.overlay, encodeRecord(record), isDurable ? 'disk' : undefined)
    } finally {
      this.#pending = undefined
    }
    this.#state.overlay.reset()
  }

  /** Called while the commit makes its batch visible, when it is on disk, and when the view's store closes. */
  #onOwnCommit(): void {
    const pending = this.#pending
    if (pending && this.#store.position >= pending.own) {
      this.#pending = undefined
      this.#record = pending.record
      this.#unsynced ??= { own: pending.own, position: pending.record.position }
      if (this.#memory) this.#keepMemory(this.#memory)
      this.#setup.hooks.onAdvance()
    }
    if (this.#unsynced && this.#store.durablePosition >= this.#unsynced.own) {
      this.#pin?.advance(pinFor(this.#setup.main.store, this.#unsynced.position))
      const isCurrent = this.#unsynced.own === this.#store.position
      this.#unsynced = isCurrent ? undefined : { own: this.#store.position, position: this.#record.position }
    }
  }

  #keepMemory(memory: ViewMemory): void {
    for (const { key, value } of this.#state.overlay.live()) {
      if (value === undefined) memory.del(key as Buffer)
      else memory.put(key as Buffer, value as Buffer)
    }
  }

  /** Then a turn: what is written in one turn is one group. */
  async #waitForMore(): Promise<void> {
    const { store } = this.#setup.main
    let stop: (() => void) | undefined
    try {
      const more = new Promise<void>((resolve) => {
        stop = store.onCommit(resolve)
      })
      if (this.#record.position < store.promisedPosition || store.isClosed) return
      await this.#stop.until(more)
    } finally {
      stop?.()
    }
    await store.env.clock.sleep(0)
  }

  async #giveUp(error: unknown): Promise<void> {
    await this.#source?.close().catch(() => {})
    this.#source = undefined
    if (error instanceof Stopped || this.#stop.isOn) return
    this.#error = ioError(error, 'keeping', this.directory)
    this.#setup.hooks.onFailure(this.#error)
  }
}

function failed({ name, version }: Definition, position: Position, cause: unknown): VarveError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const message = `view ${name}, version ${version}, at position ${position}: ${reason}`
  return new VarveError('VARVE_BACKGROUND', message, { position, cause })
}

function isPromise(value: unknown): value is Promise<void> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}
