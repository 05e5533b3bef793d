// @ts-check
// A sink without any transactions: two commands, the changes and then the position. What is between them when it
// crashes is applied again: puts and deletes may be, so at the position that it tells it is always right. No two-phase
// commit, no lock. The store is a Redis hash here; a bucket of objects or another service does as well.
import { isWithin, stepsOf } from './changes.js'

export class PlainSink {
  #client
  #name

  /** @param {import('redis').RedisClientType} client connected @param {string} name */
  constructor(client, name) {
    this.#client = client
    this.#name = name
  }

  async position() {
    const text = await this.#client.get(`${this.#name}:position`)
    return text === null ? undefined : Number(text)
  }

  async clear() {
    await this.#client.del(`${this.#name}:position`)
    await this.#client.del(this.#name)
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} _before
   * @param {number | undefined} after
   */
  async apply(changes, _before, after) {
    for (const step of stepsOf(changes)) {
      if (step.type === 'clear') await this.#clearRange(step.start, step.end)
      else {
        for (const [key, value] of step.entries) {
          if (value === null) await this.#client.hDel(this.#name, key)
          else await this.#client.hSet(this.#name, key, value)
        }
      }
    }
    if (after !== undefined) await this.#client.set(`${this.#name}:position`, String(after))
    return after
  }

  /** @param {Buffer} start @param {Buffer | undefined} end */
  async #clearRange(start, end) {
    for await (const entries of this.#client.hScanIterator(this.#name)) {
      const gone = entries.map(({ field }) => field).filter((key) => isWithin(key, start, end))
      if (gone.length > 0) await this.#client.hDel(this.#name, gone)
    }
  }
}
