import type { Clock } from '../env/env.js'
import type { Position } from '../key/position.js'
import type { LogWriter } from '../log/log-writer.js'
import type { Durability } from './contract.js'
import type { EventOf } from './events.js'
import { SyncPacer } from './sync-pacer.js'

/** A write that somebody may await. */
export interface Waiter {
  readonly position: Position
  readonly isDurable: boolean
  readonly promise: Promise<Position>
  resolve(position: Position): void
  reject(error: unknown): void
}

export interface SyncHooks {
  /** More is on disk. */
  onDurable(): void
  /** Whether it matters how long syncs take. */
  isTimed(): boolean
  onTimed(event: EventOf<'sync.ended'>): void
}

/** What the queue is told about, and tells, whoever commits. */
export interface SyncOwner {
  /** Last committed. */
  readonly position: Position
  /** A sync has failed. */
  fail(cause: unknown): void
}

/**
 * Committed writes that wait for an fdatasync, and the ones they share: those that arrive while one runs share the
 * next. After a failure or the end none begins.
 */
export class SyncQueue {
  readonly #clock: Clock
  readonly #log: LogWriter
  readonly #hooks: SyncHooks
  readonly #owner: SyncOwner
  readonly #durability: Durability
  readonly #pacer: SyncPacer
  #durablePosition: Position
  #waiters: Waiter[] = []
  #running: Promise<void> | undefined
  /** The oldest write that the running fdatasync is for. */
  #runningFrom: Position | undefined
  #cancelInterval: (() => void) | undefined
  #isStopped = false

  constructor(clock: Clock, log: LogWriter, hooks: SyncHooks, owner: SyncOwner, durability: Durability) {
    this.#clock = clock
    this.#log = log
    this.#hooks = hooks
    this.#owner = owner
    this.#durability = durability
    this.#pacer = new SyncPacer(clock)
    this.#durablePosition = owner.position
  }

  get durablePosition(): Position {
    return this.#durablePosition
  }

  /** Nobody waits for anything up to here. */
  get settledPosition(): Position {
    const oldestWaiting = this.#runningFrom ?? this.#waiters[0]?.position
    if (oldestWaiting === undefined) return this.#owner.position
    return Math.max(oldestWaiting - 1, this.#durablePosition)
  }

  add(waiter: Waiter): void {
    this.#waiters.push(waiter)
  }

  /** Those that wait do so no longer. */
  take(): Waiter[] {
    return this.#waiters.splice(0)
  }

  /** Positions up to here are on disk. */
  noteDurable(position: Position): void {
    if (position > this.#durablePosition) this.#durablePosition = position
  }

  /** A single durable write on a quick disk is synced in the thread, as SQLite does; else on another one. */
  syncSoon(): void {
    if (this.#running) return
    if (this.#waiters.length > 1 || !this.#pacer.isQuick || this.#log.isSyncing) {
      void this.sync()
      return
    }
    try {
      this.#log.write()
      this.#log.reserve()
      const startMs = this.#startTime()
      this.#pacer.time(() => this.#log.sync())
      this.#finish(this.#owner.position, this.take(), startMs)
    } catch (error) {
      this.#owner.fail(error)
    }
  }

  /** Never rejects: a failure is told to every waiter, and to the owner. */
  sync(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#waiters.length > 0 && !this.#isStopped) void this.sync()
    })
    return this.#running
  }

  /** Where the durability is an interval: what was committed now is synced at its end. */
  armInterval(): void {
    if (this.#cancelInterval || typeof this.#durability !== 'object' || this.#isStopped) return
    this.#cancelInterval = this.#clock.afterUnref(this.#durability.intervalMs, () => {
      this.#cancelInterval = undefined
      if (this.#log.hasUnsynced && !this.#isStopped) void this.sync()
    })
  }

  /** No sync begins from now on; one may be running. */
  stop(): void {
    this.#isStopped = true
    this.#cancelInterval?.()
    this.#cancelInterval = undefined
  }

  /** The end of the running sync. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    const waiters = this.take()
    const { position } = this.#owner
    this.#runningFrom = waiters[0]?.position
    try {
      this.#log.write()
      if (waiters.length > 0) this.#log.reserve()
      const startMs = this.#startTime()
      await this.#log.syncAsync()
      this.#finish(position, waiters, startMs)
    } catch (error) {
      this.#waiters.unshift(...waiters)
      this.#owner.fail(error)
      this.#runningFrom = undefined
    }
  }

  #finish(position: Position, waiters: readonly Waiter[], startMs: number | undefined): void {
    this.noteDurable(position)
    this.#runningFrom = undefined
    for (const waiter of waiters) waiter.resolve(waiter.position)
    this.#hooks.onDurable()
    if (startMs === undefined) return
    const durationMs = this.#clock.monotonicMs() - startMs
    this.#hooks.onTimed({ type: 'sync.ended', position, durationMs })
  }

  #startTime(): number | undefined {
    return this.#hooks.isTimed() ? this.#clock.monotonicMs() : undefined
  }
}
