import { VarveError } from '../errors.js'
import type { TreeEvent } from '../tree/tree-events.js'
import { abortedError, onAbort } from '../util/abort.js'
import { nearestName } from '../util/option-names.js'

/** Everything that `Database.on` can tell. */
export type StoreEvent =
  | TreeEvent
  | { readonly type: 'stall.began'; readonly waitingMemtables: number; readonly l0Segments: number }
  | { readonly type: 'stall.ended'; readonly durationMs: number }
  /** A group of writes is in the log and visible: `batches` positions up to `position`. */
  | {
      readonly type: 'commit.ended'
      readonly position: number
      readonly batches: number
      readonly sizeBytes: number
      readonly durationMs: number
    }
  /** An fdatasync of the log: everything up to `position` is on disk. */
  | { readonly type: 'sync.ended'; readonly position: number; readonly durationMs: number }
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

const TIMED: readonly EventName[] = ['commit.ended', 'sync.ended']

/** Every event: the compiler refuses a table that leaves one out, or has one more. */
const EVENT_NAMES: { readonly [Name in EventName]: true } = {
  'flush.began': true,
  'flush.ended': true,
  'compaction.began': true,
  'compaction.ended': true,
  'segment.moved': true,
  'stall.began': true,
  'stall.ended': true,
  'commit.ended': true,
  'sync.ended': true,
  'log.rotated': true,
  'log.evicted': true,
  'consumer.evicted': true,
  'view.switched': true,
  'view.failed': true,
  'store.failed': true,
  'store.closed': true,
  'follower.connected': true,
  'follower.disconnected': true,
  'follower.bootstrapped': true,
  'follower.diverged': true,
  'follower.promoted': true,
}

/** A listener to an event that never comes would wait without a word. */
function checkEventName(name: unknown): void {
  if (Object.hasOwn(EVENT_NAMES, String(name))) return
  const known = Object.keys(EVENT_NAMES)
  const nearest = nearestName(String(name), known)
  const related = known.filter((each) => each.startsWith(`${String(name).split('.', 1)[0]}.`))
  const hint =
    nearest === undefined
      ? `there is ${(related.length > 0 ? related : known).join(', ')}`
      : `did you mean ${nearest}?`
  throw new VarveError('VARVE_INVALID_ARGUMENT', `there is no event ${String(name).slice(0, 80)}: ${hint}`)
}

/** Hands events to listeners. A listener that throws is dropped from nothing and stops nobody. */
export class Events {
  /** Whether anybody ever asked how long commits take: else no clock is read for it. */
  hasTimed = false
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>()

  /** @throws VarveError `VARVE_INVALID_ARGUMENT` for a name that no event has, and a listener that is no function. */
  on<E extends EventName>(name: E, listener: (event: EventOf<E>) => void): () => void {
    checkEventName(name)
    if (typeof listener !== 'function')
      throw new VarveError('VARVE_INVALID_ARGUMENT', `what listens to ${name} is a function`)
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener)
    if (TIMED.includes(name)) this.hasTimed = true
    return () => listeners.delete(listener)
  }

  /** The next event of that name. Rejects with `VARVE_ABORTED`, and with `VARVE_CLOSED` when the store closes first. */
  once<E extends EventName>(name: E, signal: AbortSignal | undefined): Promise<EventOf<E>> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw abortedError(signal, 'the wait')
      const end = () => {
        for (const stop of stops) stop()
      }
      const stops = [
        this.on(name, (event) => {
          end()
          resolve(event)
        }),
        this.on('store.closed', () => {
          end()
          reject(new VarveError('VARVE_CLOSED', `the store was closed before ${name}`))
        }),
        onAbort(signal, () => {
          end()
          reject(abortedError(signal!, 'the wait'))
        }),
      ]
    })
  }

  /** The listeners of a store that this one takes the place of. */
  adopt(previous: Events): void {
    for (const [name, listeners] of previous.#listeners) this.#listeners.set(name, listeners)
    this.hasTimed = previous.hasTimed
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
