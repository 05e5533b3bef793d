// @ts-check
// A full-text index (MiniSearch, in memory) of the store's values, kept in one file together with its position: written
// beside it, synced, and renamed over it, so that whatever crashes the file is one state of the index and its position.
// What was applied after the last saving is delivered again.
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import MiniSearch from 'minisearch'
import { isWithin, stepsOf } from './changes.js'

const FIELDS = { fields: ['text'] }

export class SearchSink {
  #path
  #saveEvery
  #index = new MiniSearch(FIELDS)
  /** @type {Set<string>} */ #keys = new Set()
  /** @type {number | undefined} */ #position
  /** @type {number | undefined} */ #savedPosition

  /** @param {string} path @param {number} [saveEvery] positions between two savings */
  constructor(path, saveEvery = 5000) {
    this.#path = path
    this.#saveEvery = saveEvery
  }

  /** Back to what the file holds. */
  async position() {
    const text = await readFile(this.#path, 'utf8').catch((error) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    this.#empty()
    if (text === undefined) return undefined
    const { position, keys, index } = JSON.parse(text)
    this.#index = MiniSearch.loadJS(index, FIELDS)
    this.#keys = new Set(keys)
    this.#position = position
    this.#savedPosition = position
    return this.#savedPosition
  }

  async clear() {
    this.#empty()
    await rm(this.#path, { force: true })
  }

  /** @param {string} text @returns {string[]} keys, the best first */
  search(text) {
    return this.#index.search(text).map(({ id }) => id)
  }

  get size() {
    return this.#index.documentCount
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} _before
   * @param {number | undefined} after
   */
  async apply(changes, _before, after) {
    for (const step of stepsOf(changes)) {
      if (step.type === 'clear') {
        for (const key of this.#keys) if (isWithin(key, step.start, step.end)) this.#set(key, null)
      } else for (const [key, value] of step.entries) this.#set(key, value)
    }
    if (after === undefined) return undefined
    this.#position = after
    const isDue = this.#savedPosition === undefined || after - this.#savedPosition >= this.#saveEvery
    return isDue ? this.flush() : this.#savedPosition
  }

  async flush() {
    if (this.#position === undefined || this.#position === this.#savedPosition) return this.#savedPosition
    const position = this.#position
    const beside = `${this.#path}.new`
    const file = await open(beside, 'w')
    try {
      await file.writeFile(JSON.stringify({ position, keys: [...this.#keys], index: this.#index.toJSON() }))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, this.#path)
    const directory = await open(dirname(this.#path))
    await directory.sync().finally(() => directory.close())
    this.#savedPosition = position
    return position
  }

  /** @param {string} key @param {string | null} value */
  #set(key, value) {
    if (this.#keys.delete(key)) this.#index.discard(key)
    if (value === null) return
    this.#index.add({ id: key, text: value })
    this.#keys.add(key)
  }

  #empty() {
    this.#index = new MiniSearch(FIELDS)
    this.#keys = new Set()
    this.#position = undefined
    this.#savedPosition = undefined
  }
}
