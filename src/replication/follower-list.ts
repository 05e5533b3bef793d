import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { LogPin } from '../store/log-archive.js'
import type { Store } from '../store/store.js'
import { abortedError, onAbort, throwIfAborted } from '../util/abort.js'

/** One follower, connected or away for a while, with the log that is kept for it. */
export interface FollowerEntry {
  readonly id: string
  /** A reader without an id: it does not say what it has, and nothing is kept for it once it is gone. */
  readonly isAnonymous: boolean
  isConnected: boolean
  /** What it said it has. */
  position: Position
  sentPosition: Position
  sentBytes: number
  isCut: boolean
  wake: (() => void) | undefined
  cutTransport: (() => void) | undefined
  pin: LogPin
  pinnedStore: Store
  cancelExpiry: (() => void) | undefined
}

interface Waiter {
  readonly position: Position
  readonly count: number
  resolve(): void
}

/** Who follows, how far each one is, and what of the log is kept for it. */
export class FollowerList {
  readonly #store: () => Store
  readonly #retainMs: number
  readonly #entries = new Map<string, FollowerEntry>()
  readonly #waiters = new Set<Waiter>()
  #nextAnonymous = 1
  #isClosed = false

  constructor(store: () => Store, retainMs: number) {
    this.#store = store
    this.#retainMs = retainMs
  }

  get entries(): readonly FollowerEntry[] {
    return [...this.#entries.values()]
  }

  get connectedCount(): number {
    return this.entries.filter(({ isConnected }) => isConnected).length
  }

  /** A stream begins after `after`. A follower that comes back takes its old stream's place. */
  connect(id: string | undefined, after: Position, cutTransport: () => void): FollowerEntry {
    const previous = id === undefined ? undefined : this.#entries.get(id)
    const entry = this.#add(id ?? `reader-${this.#nextAnonymous++}`, id === undefined, after)
    // Only now: between the two pins the log could be trimmed.
    if (previous) this.#drop(previous)
    entry.isConnected = true
    entry.cutTransport = cutTransport
    this.#settle()
    return entry
  }

  disconnect(entry: FollowerEntry): void {
    entry.isConnected = false
    entry.wake = undefined
    if (this.#entries.get(entry.id) !== entry) return
    if (entry.isAnonymous) this.#drop(entry)
    else this.#expireLater(entry)
  }

  /** Keeps the log after `position` for a follower that is about to come. */
  hold(id: string, position: Position): void {
    const previous = this.#entries.get(id)
    this.#expireLater(this.#add(id, false, position))
    if (previous) this.#drop(previous)
  }

  /** Takes note of what a follower has; one that is not connected shows at least that it is there. */
  ack(id: string, position: Position): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    if (!entry.isConnected) {
      this.#expireLater(entry)
      return
    }
    // More than was sent cannot be had from here.
    if (position > entry.sentPosition || position <= entry.position) return
    this.advance(entry, position)
    this.#settle()
  }

  advance(entry: FollowerEntry, position: Position): void {
    entry.position = position
    entry.pin.advance(position)
  }

  cut(entry: FollowerEntry): void {
    entry.isCut = true
    entry.wake?.()
    entry.cutTransport?.()
  }

  /** Resolves once `count` followers that are connected have everything up to `position`. */
  async wait(
    position: Position,
    count: number,
    { timeoutMs, signal }: { readonly timeoutMs?: number; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    if (this.#haveReached(position) >= count) return
    throwIfAborted(signal, 'the wait')
    const { clock } = this.#store().env
    await new Promise<void>((resolve, reject) => {
      let cancel: (() => void) | undefined
      let forgetSignal = () => {}
      const waiter: Waiter = {
        position,
        count,
        resolve: () => {
          this.#waiters.delete(waiter)
          cancel?.()
          forgetSignal()
          if (signal?.aborted) reject(abortedError(signal, 'the wait'))
          else if (this.#isClosed) reject(new VarveError('VARVE_CLOSED', 'the log is not served any more'))
          else resolve()
        },
      }
      this.#waiters.add(waiter)
      forgetSignal = onAbort(signal, waiter.resolve)
      if (this.#isClosed) waiter.resolve()
      else if (timeoutMs !== undefined) {
        cancel = clock.after(timeoutMs, () => {
          this.#waiters.delete(waiter)
          forgetSignal()
          const message = `${this.#haveReached(position)} of ${count} followers have reached position ${position}`
          reject(new VarveError('VARVE_TIMEOUT', message, { position }))
        })
      }
    })
  }

  close(): void {
    this.#isClosed = true
    for (const entry of this.entries) {
      this.cut(entry)
      this.#drop(entry)
    }
    for (const waiter of [...this.#waiters]) waiter.resolve()
  }

  #haveReached(position: Position): number {
    return this.entries.filter(
      (entry) => entry.isConnected && !entry.isAnonymous && entry.position >= position,
    ).length
  }

  #settle(): void {
    for (const waiter of [...this.#waiters]) {
      if (this.#haveReached(waiter.position) >= waiter.count) waiter.resolve()
    }
  }

  #add(id: string, isAnonymous: boolean, position: Position): FollowerEntry {
    const store = this.#store()
    const entry: FollowerEntry = {
      id,
      isAnonymous,
      isConnected: false,
      position,
      sentPosition: position,
      sentBytes: 0,
      isCut: false,
      wake: undefined,
      cutTransport: undefined,
      pin: store.archive.pin(position),
      pinnedStore: store,
      cancelExpiry: undefined,
    }
    this.#entries.set(id, entry)
    return entry
  }

  #expireLater(entry: FollowerEntry): void {
    entry.cancelExpiry?.()
    entry.cancelExpiry = entry.pinnedStore.env.clock.afterUnref(this.#retainMs, () => this.#drop(entry))
  }

  #drop(entry: FollowerEntry): void {
    if (entry.isConnected) this.cut(entry)
    entry.cancelExpiry?.()
    entry.pin.release()
    if (this.#entries.get(entry.id) === entry) this.#entries.delete(entry.id)
  }
}
