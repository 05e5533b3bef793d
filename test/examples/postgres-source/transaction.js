// @ts-check
// One PostgreSQL transaction on its way into the store: the last state of every row that it touched. A later change
// of the same transaction sees the earlier ones. Becomes one batch, so no reader ever sees half of it.
import { ROWS, rowKey, rowPrefix } from './tables.js'

/**
 * @typedef {import('./tables.js').Row} Row
 * @typedef {import('./tables.js').Table} Table
 * @typedef {import('varve').Database<string, unknown>} Store
 * @typedef {import('pg-logical-replication').Pgoutput.MessageUpdate} Update
 */

export class PendingTransaction {
  #store
  #bytesMax
  #bytes = 0
  /** @type {Map<string, Row | null>} by key; null: deleted */ #rows = new Map()
  /** @type {Set<string>} prefixes */ #truncated = new Set()

  /** @param {Store} store @param {number} bytesMax */
  constructor(store, bytesMax) {
    this.#store = store
    this.#bytesMax = bytesMax
  }

  /** @param {Table} table @param {Row} row */
  insert(table, row) {
    this.#set(rowKey(table, row), row)
  }

  /**
   * A value that is stored out of line and did not change is not sent (it is undefined here): it is taken from the
   * old row where that is sent (REPLICA IDENTITY FULL), else from the row as it is stored.
   *
   * @param {Table} table @param {Update} update
   */
  async update(table, update) {
    const before = update.old ?? update.key
    const previousKey = rowKey(table, before ?? update.new)
    /** @type {Row} */
    const row = { ...update.new }
    const unsent = Object.keys(row).filter((column) => row[column] === undefined)
    if (unsent.length > 0) {
      const stored = await this.#get(previousKey)
      for (const column of unsent) {
        const value = before?.[column] ?? stored?.[column]
        if (value === undefined) throw new Error(`${previousKey}: no stored row to take ${column} from`)
        row[column] = value
      }
    }
    const key = rowKey(table, row)
    if (key !== previousKey) this.#set(previousKey, null)
    this.#set(key, row)
  }

  /** @param {Table} table @param {Record<string, unknown>} old */
  delete(table, old) {
    this.#set(rowKey(table, old), null)
  }

  /** @param {Table} table */
  truncate(table) {
    const prefix = rowPrefix(table)
    this.#truncated.add(prefix)
    for (const key of this.#rows.keys()) if (key.startsWith(prefix)) this.#rows.delete(key)
  }

  /** @returns {Promise<import('varve').BatchOp<string, unknown>[]>} */
  async operations() {
    /** @type {import('varve').BatchOp<string, unknown>[]} */
    const ops = []
    for (const prefix of this.#truncated) {
      for await (const key of this.#store.keys({ prefix })) {
        if (!this.#rows.has(key)) ops.push({ type: 'del', key })
      }
    }
    for (const [key, value] of this.#rows) {
      ops.push(value === null ? { type: 'del', key } : { type: 'put', key, value })
    }
    return ops
  }

  /** @param {string} key @returns {Promise<Row | undefined>} */
  async #get(key) {
    const pending = this.#rows.get(key)
    if (pending !== undefined) return pending ?? undefined
    const [schema, table] = key.slice(ROWS.length).split('/')
    if (this.#truncated.has(`${ROWS}${schema}/${table}/`)) return undefined
    return /** @type {Row | undefined} */ (await this.#store.get(key))
  }

  /** @param {string} key @param {Row | null} row */
  #set(key, row) {
    this.#rows.set(key, row)
    this.#bytes += key.length
    for (const value of Object.values(row ?? {})) this.#bytes += value?.length ?? 0
    if (this.#bytes > this.#bytesMax) {
      throw new Error(
        `a transaction of more than ${this.#bytesMax} bytes: raise transactionBytesMax, or copy again`,
      )
    }
  }
}
