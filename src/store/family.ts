import { VarveError } from '../errors.js'
import type { StoreOptions } from './options.js'
import { Store } from './store.js'

/** What a store has to do with those who see it. */
export interface FamilyHooks<M> {
  /** From now on this one is the member's. */
  enter(member: M, store: Store): void
  /** Ends what goes on in a store that another one is to replace. */
  leave(store: Store): Promise<unknown>
  /** Ends what goes on in a store that is to be closed for good; undefined: nothing does. */
  end(store: Store): Promise<unknown> | undefined
}

/**
 * All who see one store, and what has the store as a whole: another one that takes its place, or its end. One after
 * another, and nothing after the end: whoever came in between would find the lock taken, or open a store for nobody.
 */
export class Family<M extends object> {
  readonly path: string
  readonly options: StoreOptions
  readonly #hooks: FamilyHooks<M>
  readonly #references = new Set<WeakRef<M>>()
  #store: Store
  #replacing: Promise<void> | undefined
  #isClosed = false

  constructor(path: string, options: StoreOptions, store: Store, hooks: FamilyHooks<M>) {
    this.path = path
    this.options = options
    this.#store = store
    this.#hooks = hooks
  }

  /** While another store takes the place of the one there was; never rejects. */
  get replacing(): Promise<void> | undefined {
    return this.#replacing
  }

  add(member: M): void {
    for (const reference of this.#references) if (!reference.deref()) this.#references.delete(reference)
    this.#references.add(new WeakRef(member))
  }

  /**
   * Closes the store, does something with its directory and opens it again, whether that failed or not.
   * @param onOpened before anybody sees the new store.
   * @throws VarveError `VARVE_CLOSED` after `close`; what opening throws; what `between` rejects with.
   */
  async reopen(
    between: () => Promise<void>,
    onOpened: (store: Store) => void,
    createIfMissing: boolean,
  ): Promise<void> {
    while (this.#replacing) await this.#replacing
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
    const replacing = this.#replace(between, onOpened, createIfMissing).finally(() => {
      this.#replacing = undefined
    })
    this.#replacing = replacing.catch(() => {})
    return replacing
  }

  /** At once, or for the store that is being opened once it is there. Idempotent. */
  close(): Promise<void> {
    this.#isClosed = true
    return this.#replacing ? this.#replacing.then(() => this.#close()) : this.#close()
  }

  #close(): Promise<void> {
    const store = this.#store
    const ended = this.#hooks.end(store)
    return ended ? ended.then(() => store.close()) : store.close()
  }

  async #replace(
    between: () => Promise<void>,
    onOpened: (store: Store) => void,
    createIfMissing: boolean,
  ): Promise<void> {
    const previous = this.#store
    await this.#hooks.leave(previous)
    // Its failure, if any, is known and the reason to be here.
    await previous.close().catch(() => {})
    let failure: unknown
    await between().catch((error: unknown) => {
      failure = error
    })
    const store = await Store.open(this.path, { ...this.options, createIfMissing, errorIfExists: false })
    store.events.adopt(previous.events)
    onOpened(store)
    this.#store = store
    for (const reference of this.#references) {
      const member = reference.deref()
      if (member) this.#hooks.enter(member, store)
    }
    if (failure !== undefined) throw failure
  }
}
