import { VarveError } from '../errors.js'

/**
 * All who see one store, and what has the store as a whole: another one that takes its place, or its end. One after
 * another, and nothing after the end: whoever came in between would find the lock taken, or open a store for nobody.
 */
export class Family<M extends object> {
  readonly #references = new Set<WeakRef<M>>()
  #replacing: Promise<void> | undefined
  #isClosed = false

  /** While another store takes the place of the one there was; never rejects. */
  get replacing(): Promise<void> | undefined {
    return this.#replacing
  }

  get members(): M[] {
    return [...this.#references].flatMap((reference) => reference.deref() ?? [])
  }

  add(member: M): void {
    for (const reference of this.#references) if (!reference.deref()) this.#references.delete(reference)
    this.#references.add(new WeakRef(member))
  }

  /** @throws VarveError `VARVE_CLOSED` after `close`; what `work` throws. */
  async replace(work: () => Promise<void>): Promise<void> {
    while (this.#replacing) await this.#replacing
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
    const replacing = work().finally(() => {
      this.#replacing = undefined
    })
    this.#replacing = replacing.catch(() => {})
    return replacing
  }

  /** Calls `close` at once, or for the store that is being opened once it is there. */
  close(close: () => Promise<void>): Promise<void> {
    this.#isClosed = true
    return this.#replacing ? this.#replacing.then(close) : close()
  }
}
