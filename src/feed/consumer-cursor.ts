import type { TypedStore } from '../access/typed-store.js'
import type { Position } from '../key/position.js'
import type { Durability } from '../store/contract.js'
import {
  type CursorPlace,
  type CursorState,
  decodePlace,
  encodeParked,
  encodePlace,
  type ParkedChange,
  parkedKey,
} from '../store/cursor-state.js'
import { EMPTY_BYTES } from '../util/bytes.js'
import type { StoreTransaction } from './transaction.js'

/** Progress that nothing else is written with is saved up so long: a crash repeats what had no effects. */
const SAVE_MS = 1000

/** Where a consumer stands, in memory and in the log. The only writer of its state. */
export class ConsumerCursor<K, V> {
  readonly name: string
  readonly #typed: TypedStore<K, V>
  readonly #key: Buffer
  #position: Position
  #seen: Position
  /** `#seen` as it was last handed to the log. */
  #saved: Position
  /** All batches from the first to the last of these are its own, and nothing to deal with. */
  #ownFrom: Position = 0
  #ownTo: Position = 0
  /** Changes were dealt with since. */
  #hasProgress = false
  #generation = 0
  #cancelSave: (() => void) | undefined

  constructor(typed: TypedStore<K, V>, name: string, { position, seen }: CursorPlace) {
    this.name = name
    this.#typed = typed
    this.#key = Buffer.from(name)
    this.#position = position
    this.#seen = seen
    this.#saved = seen
  }

  /** The place that a store holds for the consumer; undefined if there is none. */
  static placeOf<K, V>({ store }: TypedStore<K, V>, name: string): CursorPlace | undefined {
    const state = store.tree.cursors().get(name)
    return state && decodePlace(state)
  }

  /** The last change that was dealt with. */
  get position(): Position {
    return this.#position
  }

  /** Up to here nothing is left to deal with: what lies between `position` and this holds no data, or is its own. */
  get seen(): Position {
    return this.#seen
  }

  /** Grows when the place was moved by hand: what was read ahead is void then. */
  get generation(): number {
    return this.#generation
  }

  /** A change was dealt with and left nothing to write. */
  pass(position: Position): void {
    this.#position = position
    this.#seen = position
    this.#hasProgress = true
    this.#saveSoon()
  }

  /** Nothing up to `seen` is left to deal with. */
  see(seen: Position): void {
    if (seen > this.#seen) this.#seen = seen
  }

  /**
   * A change was dealt with: its effects and the place after it become one batch. Without an `await` since the
   * transaction was validated. A change that was overtaken by a move leaves its effects only.
   */
  commit(
    tx: StoreTransaction<K, V>,
    position: Position,
    generation: number,
    { durability, showsOwn }: { readonly durability: Durability | undefined; readonly showsOwn: boolean },
  ): Promise<Position> {
    const isMoved = generation !== this.#generation
    const place = isMoved ? { position: this.#position, seen: this.#seen } : { position, seen: position }
    return this.#write(place, (cursors) => tx.write(cursors, durability), showsOwn ? 'none' : 'own')
  }

  /** A reader outside the store has dealt with everything up to `position`, and `seen` holds nothing more for it. */
  acknowledge(position: Position, seen: Position): Promise<Position> {
    return this.#write({ position, seen }, (cursors) => this.#typed.writer.commit([], cursors, undefined))
  }

  /** As `commit`, for a change that is put aside. */
  park(parked: ParkedChange): Promise<Position> {
    const { position } = parked
    const record = { name: this.#parkedKey(position), state: encodeParked(parked) }
    return this.#write(
      { position, seen: position },
      (cursors) => this.#typed.writer.commit([], [...cursors, record], undefined),
      'own',
    )
  }

  /** Effects of a change that had been put aside, and the end of that, in one batch. */
  unpark(position: Position, tx: StoreTransaction<K, V> | undefined): Promise<Position> {
    const record = { name: this.#parkedKey(position), state: EMPTY_BYTES }
    const place = { position: this.#position, seen: this.#seen }
    return this.#write(place, (cursors) => {
      const states = [...cursors, record]
      return tx ? tx.write(states, undefined) : this.#typed.writer.commit([], states, undefined)
    })
  }

  /** To another place. */
  move(position: Position): Promise<Position> {
    this.#generation++
    return this.#write({ position, seen: position }, (cursors) =>
      this.#typed.writer.commit([], cursors, undefined),
    )
  }

  /** Writes the place if changes were dealt with that are not in it. */
  async save(): Promise<void> {
    if (!this.#hasProgress) return
    const place = { position: this.#position, seen: this.#seen }
    await this.#write(place, (cursors) => this.#typed.writer.commit([], cursors, undefined), 'own')
  }

  /** The consumer and all that it had put aside are forgotten. */
  async drop(parked: readonly ParkedChange[]): Promise<void> {
    this.release()
    const keys = [this.#key, ...parked.map(({ position }) => this.#parkedKey(position))]
    const cursors = keys.map((name) => ({ name, state: EMPTY_BYTES }))
    await this.#typed.writer.commit([], cursors, undefined)
    this.#typed.store.archive.noteProgress(this.#saved)
  }

  /** No timer runs any more. */
  release(): void {
    this.#cancelSave?.()
    this.#cancelSave = undefined
  }

  /** @param covers which batches that directly follow the place, this one included, are nothing to deal with. */
  #write(
    place: CursorPlace,
    write: (cursors: CursorState[]) => Promise<Position>,
    covers: 'none' | 'this' | 'own' = 'this',
  ): Promise<Position> {
    const { store } = this.#typed
    const { position } = place
    const next = store.pipeline.nextPosition
    // Where nothing else lies between the place and the batch that holds it, that batch is dealt with too.
    const ownFrom = covers !== 'none' && next === this.#ownTo + 1 ? this.#ownFrom : next
    const from = covers === 'own' ? ownFrom : next
    const seen = covers !== 'none' && place.seen >= from - 1 ? next : place.seen
    const written = write([{ name: this.#key, state: encodePlace({ position, seen }) }])
    this.#ownFrom = ownFrom
    if (covers !== 'none') this.#ownTo = next
    this.#position = position
    this.#seen = seen
    this.#hasProgress = false
    const before = this.#saved
    this.#saved = seen
    store.archive.noteProgress(before, seen)
    return written
  }

  #parkedKey(position: Position): Buffer {
    return Buffer.from(parkedKey(this.name, position))
  }

  #saveSoon(): void {
    this.#cancelSave ??= this.#typed.store.env.clock.afterUnref(SAVE_MS, () => {
      this.#cancelSave = undefined
      const { store } = this.#typed
      // A failure of the store is told by the next change, or by `health`.
      if (!store.isClosed && !store.failure) this.save().catch(() => {})
    })
  }
}
