// @ts-check
// A second Varve store that holds what the first one holds, or whatever is made of it here. The position is a key of
// the same batch, so both are there, or neither.
import { isWithin } from './changes.js'

const POSITION = '!position'

export class StoreSink {
  #store

  /** @param {import('varve').Database<string, string>} store */
  constructor(store) {
    this.#store = store
  }

  async position() {
    const text = await this.#store.get(POSITION)
    return text === undefined ? undefined : Number(text)
  }

  async clear() {
    await this.#store.del(POSITION)
    await this.#store.clear()
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} _before
   * @param {number | undefined} after
   */
  async apply(changes, _before, after) {
    /** @type {Map<string, string | null>} */
    const entries = new Map()
    for (const op of changes.flatMap(({ ops }) => ops)) {
      if (op.type !== 'clear') entries.set(op.key, op.type === 'put' ? op.value : null)
      else {
        for (const key of entries.keys()) if (isWithin(key, op.start, op.end)) entries.set(key, null)
        for await (const key of this.#store.keys(op.range)) if (key !== POSITION) entries.set(key, null)
      }
    }
    if (after !== undefined) entries.set(POSITION, String(after))
    await this.#store.batch(
      [...entries].map(([key, value]) =>
        value === null ? { type: 'del', key } : { type: 'put', key, value },
      ),
    )
    return after
  }
}
