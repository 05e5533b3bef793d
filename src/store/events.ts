import type { TreeEvent } from '../tree/tree-events.js'

/** Everything that `Database.on` can tell. */
export type StoreEvent =
  | TreeEvent
  | { readonly type: 'stall.began'; readonly waitingMemtables: number; readonly l0Segments: number }
  | { readonly type: 'stall.ended'; readonly durationMs: number }
  | { readonly type: 'log.rotated'; readonly logNumber: number }
  /** Readers that held the log at `position` held more than `log.pinnedMaxBytes`: they have lost changes. */
  | { readonly type: 'log.evicted'; readonly position: number; readonly oldestPosition: number }
  /** A consumer, or a change it had parked, needed what comes after `position`, and the log was full: that is lost. */
  | {
      readonly type: 'consumer.evicted'
      readonly name: string
      readonly position: number
      readonly oldestPosition: number
    }
  /** A view's reads are answered by this version from now on. */
  | { readonly type: 'view.switched'; readonly name: string; readonly version: string }
  /** A view no longer follows the log; its `retry` lets it go on. */
  | {
      readonly type: 'view.failed'
      readonly name: string
      readonly version: string
      readonly error: Error
    }
  /** Writes have stopped for good; `health` in `stats()` says the same. */
  | { readonly type: 'store.failed'; readonly error: Error }
  /** A follower takes its leader's log. */
  | { readonly type: 'follower.connected'; readonly leader: string; readonly position: number }
  /** It does not any more; it tries again after `retryMs`, or, undefined, never. */
  | {
      readonly type: 'follower.disconnected'
      readonly leader: string
      readonly error: Error | undefined
      readonly retryMs: number | undefined
    }
  /** The leader's log no longer reached back: a copy of its state at `position` took the place of the follower's. */
  | { readonly type: 'follower.bootstrapped'; readonly leader: string; readonly position: number }
  /** The two logs differ from `position` on; `keptAt` is where the follower's own data was moved to. */
  | {
      readonly type: 'follower.diverged'
      readonly leader: string
      readonly position: number
      readonly keptAt: string | undefined
    }
  /** The store leads from now on. */
  | { readonly type: 'follower.promoted'; readonly epoch: number; readonly position: number }
  | { readonly type: 'store.closed' }

/** What `Database.on` can be asked for. */
export type EventName = StoreEvent['type']
/** The event of one name. */
export type EventOf<E extends EventName> = Extract<StoreEvent, { type: E }>

/** Hands events to listeners. A listener that throws is dropped from nothing and stops nobody. */
export class Events {
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>()

  on<E extends EventName>(name: E, listener: (event: EventOf<E>) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** The listeners of a store that this one takes the place of. */
  adopt(previous: Events): void {
    for (const [name, listeners] of previous.#listeners) this.#listeners.set(name, listeners)
  }

  emit(event: StoreEvent): void {
    for (const listener of this.#listeners.get(event.type) ?? []) {
      try {
        listener(event as never)
      } catch {
        // What an observer does wrong must not fail a flush.
      }
    }
  }
}
