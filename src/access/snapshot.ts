import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { Snapshot } from '../store/contract.js'
import type { Store } from '../store/store.js'

/** Lets go of the pin of a snapshot that was dropped without `close`. */
const abandoned = new FinalizationRegistry<{ readonly store: Store; readonly position: Position }>(
  ({ store, position }) => store.tree.unpin(position),
)

/** A pinned position of one store. */
export class StoreSnapshot implements Snapshot {
  readonly position: Position
  readonly #store: Store
  readonly #isBrief: boolean
  #isClosed = false

  /** @param isBrief its owner is sure to close it, and soon: nothing has to watch over that. */
  constructor(store: Store, isBrief = false) {
    this.#store = store
    this.#isBrief = isBrief
    this.position = store.position
    store.tree.pin(this.position)
    if (!isBrief) abandoned.register(this, { store, position: this.position }, this)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  belongsTo(store: Store): boolean {
    return this.#store === store
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#store.tree.unpin(this.position)
    if (this.#isBrief) return
    abandoned.unregister(this)
    this.#store.scheduler.wake()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** The position that a read with this snapshot sees. @throws VarveError. */
export function positionOf(store: Store, snapshot: Snapshot | undefined): Position {
  if (snapshot === undefined) return store.position
  if (!(snapshot instanceof StoreSnapshot) || !snapshot.belongsTo(store)) {
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a snapshot is one that snapshot() of this store made')
  }
  if (snapshot.isClosed) throw new VarveError('VARVE_CLOSED', 'the snapshot is closed')
  return snapshot.position
}
