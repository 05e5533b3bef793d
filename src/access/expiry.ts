import { VarveError } from '../errors.js'
import { EXPIRY_MAX } from '../key/batch-format.js'
import type { Expiry } from '../store/contract.js'
import type { CursorState } from '../store/cursor-state.js'
import type { Store } from '../store/store.js'

/**
 * The first batch that writes something that expires says so, as a state that the log carries: whoever opens the
 * store, a copy or a follower of it knows without a look at the entries.
 */
export const EXPIRY_CURSOR = '\0expiry'
export const EXPIRY_MARK: CursorState = { name: Buffer.from(EXPIRY_CURSOR), state: Buffer.from([1]) }

const known = new WeakMap<Store, ExpiryNotes>()

export function expiryNotesOf(store: Store): ExpiryNotes {
  let notes = known.get(store)
  if (!notes) {
    notes = new ExpiryNotes(store)
    known.set(store, notes)
  }
  return notes
}

/** What writers tell whoever deletes what has expired. */
export class ExpiryNotes {
  readonly #store: Store
  #isMarked = false
  #listener: ((expiresAt: number) => void) | undefined

  constructor(store: Store) {
    this.#store = store
  }

  /** Whether anything in the store may expire. */
  get isMarked(): boolean {
    this.#isMarked ||= this.#store.tree.cursors().has(EXPIRY_CURSOR)
    return this.#isMarked
  }

  /** A write of something that expires is on its way, and so is the mark. */
  note(expiresAt: number): void {
    this.#isMarked = true
    this.#listener?.(expiresAt)
  }

  listen(listener: ((expiresAt: number) => void) | undefined): void {
    this.#listener = listener
  }
}

/**
 * When what is written with these options expires, in milliseconds since the epoch; undefined: it does not.
 * @throws VarveError `VARVE_INVALID_ARGUMENT`.
 */
export function expiryFrom({ ttlMs, expiresAt }: Expiry, store: Store): number | undefined {
  if (ttlMs === undefined && expiresAt === undefined) return undefined
  if (ttlMs !== undefined && expiresAt !== undefined) throw invalid('a put has ttlMs or expiresAt, not both')
  if (ttlMs === undefined) {
    if (Number.isSafeInteger(expiresAt) && expiresAt! > 0 && expiresAt! <= EXPIRY_MAX) return expiresAt
    throw invalid('expiresAt is a whole number of milliseconds since the epoch')
  }
  const isTime = typeof ttlMs === 'number' && Number.isFinite(ttlMs) && ttlMs > 0
  if (!isTime) throw invalid('ttlMs is a number of milliseconds above 0')
  const at = Math.ceil(store.env.clock.wallMs() + ttlMs)
  if (at > EXPIRY_MAX) throw invalid('ttlMs reaches beyond the year 10,000')
  return at
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
