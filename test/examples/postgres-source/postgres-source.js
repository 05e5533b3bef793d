// @ts-check
// PostgreSQL's tables as a Varve store: a consistent snapshot, then every transaction in the order of its commit, one
// batch for each, with the position in PostgreSQL's log (LSN) in that same batch. So after any crash of either side
// each transaction is there once and whole. PostgreSQL needs wal_level=logical, a publication, and for each published
// table a primary key that is checked at once; REPLICA IDENTITY FULL is not needed. One slot serves one store.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { formatLsn, lsnOf } from './lsn.js'
import { asText, ReplicationStream, TEXT_SETTINGS } from './replication-stream.js'
import { isSlotInDanger, lossOf, readSlot } from './slot.js'
import { adoptRelation, describeTables, ROWS, rowKey, tableName } from './tables.js'
import { PendingTransaction } from './transaction.js'

/** Reserved keys: everything up to this LSN is in the store; the tables as they were when that was written. */
export const LSN_KEY = 'source/lsn'
export const TABLES_KEY = 'source/tables'

const FETCH_ROWS_MAX = 4096
const FETCH_BYTES = 4 * 1024 * 1024
const QUIET_BYTES = 1024n * 1024n
const RETRY_MS = 200
/** Connections lost, refused, or of a server that starts or stops; a slot whose last reader is not gone yet. */
const PASSING = /^(08|57P|53300|55006|ECONN|EPIPE|ETIMEDOUT)/

/**
 * @typedef {import('pg-logical-replication').Pgoutput.MessageRelation} Relation
 * @typedef {import('./tables.js').Table} Table
 * @typedef {import('./transaction.js').Store} Store
 * @typedef {(
 *   | { type: 'copying', reason: string }
 *   | { type: 'streaming', lsn: string }
 *   | { type: 'applied', lsn: string, operations: number }
 *   | { type: 'skipped', lsn: string }
 *   | { type: 'lag', lagBytes: number, walStatus: string, safeBytes: number | undefined, isWarning: boolean }
 *   | { type: 'retrying', error: Error }
 * )} SourceEvent
 *
 * @typedef {object} SourceOptions
 * @property {pg.ClientConfig} connection
 * @property {string} publication
 * @property {string} slot created here; a name of its own for each store
 * @property {'stop' | 'copy'} [whenLost] when the stream cannot tell the whole story any more (the slot is gone, or a
 * table has other columns): fail with SourceLostError, the default, or copy all tables again
 * @property {number} [lagWarningBytes] default 256 MiB; lag is reported with every `lagEveryMs`, default 10 seconds
 * @property {number} [lagEveryMs]
 * @property {number} [transactionBytesMax] of one transaction's rows in memory, default 256 MiB
 * @property {(event: SourceEvent) => void} [onEvent]
 * @property {AbortSignal} [signal] ends it, with all that was applied durable and acknowledged
 */

export class SourceLostError extends Error {
  /** @override */
  name = 'SourceLostError'
}

/**
 * Follows PostgreSQL until the signal ends it. Reconnects by itself. The store is to be opened with JSON values.
 *
 * @param {Store} store
 * @param {SourceOptions} options
 * @throws {SourceLostError} with `whenLost: 'stop'`; nothing is applied past that point
 */
export async function followPostgres(store, options) {
  const source = new PostgresSource(store, options)
  const { signal, whenLost = 'stop', onEvent } = options
  /** @type {string | undefined} */
  let reason
  while (!signal?.aborted) {
    try {
      await source.prepare(reason)
      reason = undefined
      await source.stream()
    } catch (error) {
      if (signal?.aborted) return
      if (error instanceof SourceLostError && whenLost === 'copy') reason = error.message
      else if (isPassing(error)) {
        onEvent?.({ type: 'retrying', error: /** @type {Error} */ (error) })
        await sleep(RETRY_MS, undefined, { ...(signal && { signal }) }).catch(() => {})
      } else throw error
    }
  }
}

/** @param {unknown} error */
function isPassing(error) {
  const { code, message } = /** @type {{ code?: string, message?: string }} */ (error)
  return PASSING.test(code ?? '') || /^Connection terminated/.test(message ?? '')
}

class PostgresSource {
  #store
  #options
  #savedLsn = 0n
  /** @type {Map<string, Table>} by name */ #tables = new Map()
  /** @type {WeakSet<Relation>} that were compared with the tables */ #known = new WeakSet()
  /** @type {PendingTransaction | undefined} */ #transaction
  #areTablesChanged = false

  /** @param {Store} store @param {SourceOptions} options */
  constructor(store, options) {
    this.#store = store
    this.#options = options
  }

  /** Brings the store to where the slot can take over. @param {string} [reason] why all is to be copied again */
  async prepare(reason) {
    await this.#withClient(async (client) => {
      const slot = await readSlot(client, this.#options.slot)
      const saved = /** @type {string | undefined} */ (await this.#store.get(LSN_KEY))
      // Without an LSN there is nothing, or the half of a copy whose snapshot died with its process.
      if (saved === undefined)
        return this.#copy(client, slot !== undefined, reason ?? 'the store has no position')
      if (reason !== undefined) return this.#copy(client, slot !== undefined, reason)
      this.#savedLsn = lsnOf(saved)
      const tables = /** @type {Table[]} */ (await this.#store.get(TABLES_KEY))
      this.#tables = new Map(tables.map((table) => [table.name, table]))
      const published = new Set(
        (await describeTables(client, this.#options.publication)).map(({ name }) => name),
      )
      const left = tables.filter(({ name }) => !published.has(name)).map(({ name }) => name)
      const loss =
        lossOf(slot, this.#savedLsn) ?? (left.length > 0 ? `no longer published: ${left}` : undefined)
      if (loss !== undefined) throw new SourceLostError(loss)
    })
  }

  /** Applies what the slot sends until the signal, an error, or the end of the connection. */
  async stream() {
    const { connection, slot, publication, signal } = this.#options
    const stream = new ReplicationStream(connection, { slot, publication, flush: () => this.#flush() })
    const stop = () => stream.stop()
    const watching = new AbortController()
    try {
      await stream.start()
      signal?.addEventListener('abort', stop)
      if (signal?.aborted) return
      this.#transaction = undefined
      this.#emit({ type: 'streaming', lsn: formatLsn(this.#savedLsn) })
      void this.#watchLag(watching.signal)
      for await (const message of stream) await this.#apply(message)
    } finally {
      watching.abort()
      signal?.removeEventListener('abort', stop)
      await stream.close()
    }
  }

  /** @param {pg.Client} client @param {boolean} hasSlot @param {string} reason */
  async #copy(client, hasSlot, reason) {
    const { connection, slot, publication } = this.#options
    this.#emit({ type: 'copying', reason })
    await this.#store.del(LSN_KEY)
    await this.#store.clear({ prefix: ROWS })
    if (hasSlot) await client.query('select pg_drop_replication_slot($1)', [slot])
    // The snapshot that comes with a new slot is the state at its start. It lives as long as this connection.
    const exporter = new pg.Client({ ...connection, ...{ replication: 'database' } })
    exporter.on('error', () => {})
    try {
      await exporter.connect()
      const name = exporter.escapeIdentifier(slot)
      const { rows } = await exporter.query(`CREATE_REPLICATION_SLOT ${name} LOGICAL pgoutput`)
      await client.query('begin isolation level repeatable read read only')
      await client.query(`set transaction snapshot ${client.escapeLiteral(rows[0].snapshot_name)}`)
      const tables = await describeTables(client, publication)
      for (const table of tables) await this.#copyTable(client, table)
      await client.query('commit')
      await this.#finishCopy(tables, rows[0].consistent_point)
    } finally {
      await exporter.end().catch(() => {})
    }
  }

  /** @param {Table[]} tables @param {string} lsn */
  async #finishCopy(tables, lsn) {
    const kept = tables.map(({ name, columns, key }) => ({ name, columns, key }))
    await this.#store.batch([
      { type: 'put', key: TABLES_KEY, value: kept },
      { type: 'put', key: LSN_KEY, value: lsn },
    ])
    this.#tables = new Map(kept.map((table) => [table.name, table]))
    this.#savedLsn = lsnOf(lsn)
  }

  /** @param {pg.Client} client @param {import('./tables.js').PublishedTable} table */
  async #copyTable(client, table) {
    const names = table.columns.map(([name]) => name)
    const list = names.map((name) => client.escapeIdentifier(name)).join(', ')
    const where = table.filter === null ? '' : `where ${table.filter}`
    await client.query(`declare copied no scroll cursor for select ${list} from ${table.source} ${where}`)
    for (let count = 16; ; ) {
      const { rows } = await client.query({
        text: `fetch ${count} from copied`,
        rowMode: 'array',
        types: { getTypeParser: () => asText },
      })
      if (rows.length === 0) break
      let bytes = 0
      await this.#store.batch(
        rows.map((values) => {
          for (const value of values) bytes += value?.length ?? 0
          const row = Object.fromEntries(names.map((name, i) => [name, values[i]]))
          return { type: 'put', key: rowKey(table, row), value: row }
        }),
      )
      // As many rows at a time as make some megabytes.
      count = bytes > FETCH_BYTES ? Math.ceil(count / 4) : Math.min(count * 2, FETCH_ROWS_MAX)
    }
    await client.query('close copied')
  }

  /** @param {import('./replication-stream.js').StreamMessage} message */
  async #apply(message) {
    if (message.tag === 'keepalive') return this.#advance(message.lsn)
    if (message.tag === 'begin') {
      const isSaved = lsnOf(message.commitLsn ?? '0/0') < this.#savedLsn
      const { transactionBytesMax = 256 * 1024 * 1024 } = this.#options
      this.#transaction = isSaved ? undefined : new PendingTransaction(this.#store, transactionBytesMax)
    } else if (message.tag === 'commit') await this.#commit(message.commitEndLsn ?? '0/0')
    else if (this.#transaction) await this.#change(this.#transaction, message)
  }

  /**
   * @param {PendingTransaction} transaction
   * @param {import('pg-logical-replication').Pgoutput.Message} message
   */
  async #change(transaction, message) {
    if (message.tag === 'insert') transaction.insert(await this.#tableOf(message.relation), message.new)
    else if (message.tag === 'update')
      await transaction.update(await this.#tableOf(message.relation), message)
    else if (message.tag === 'delete') {
      transaction.delete(await this.#tableOf(message.relation), message.key ?? message.old ?? {})
    } else if (message.tag === 'truncate') {
      for (const relation of message.relations) transaction.truncate(await this.#tableOf(relation))
    }
  }

  /** The rows and the position in one batch: after a crash both are there, or neither. @param {string} endLsn */
  async #commit(endLsn) {
    const transaction = this.#transaction
    this.#transaction = undefined
    const lsn = formatLsn(lsnOf(endLsn))
    if (transaction === undefined) return this.#emit({ type: 'skipped', lsn })
    const ops = await transaction.operations()
    const operations = ops.length
    if (this.#areTablesChanged) ops.push({ type: 'put', key: TABLES_KEY, value: [...this.#tables.values()] })
    await this.#store.batch([...ops, { type: 'put', key: LSN_KEY, value: lsn }])
    this.#areTablesChanged = false
    this.#savedLsn = lsnOf(lsn)
    this.#emit({ type: 'applied', lsn, operations })
  }

  /** While only other tables are written the position moves too, or PostgreSQL would keep its log for ever. @param {bigint} lsn */
  async #advance(lsn) {
    if (this.#transaction || lsn < this.#savedLsn + QUIET_BYTES) return
    await this.#store.put(LSN_KEY, formatLsn(lsn))
    this.#savedLsn = lsn
  }

  /** @param {Relation} relation */
  async #tableOf(relation) {
    const name = tableName(relation.schema, relation.name)
    const known = this.#tables.get(name)
    if (known && this.#known.has(relation)) return known
    const published = await this.#withClient((client) => describeTables(client, this.#options.publication))
    const current = published.find((table) => table.name === name)
    const adopted = adoptRelation(known, relation, current)
    if (typeof adopted === 'string') throw new SourceLostError(adopted)
    if (adopted !== known) this.#areTablesChanged = true
    this.#known.add(relation)
    this.#tables.set(name, adopted)
    return adopted
  }

  /** What may be acknowledged: saved, and on disk. */
  async #flush() {
    const lsn = this.#savedLsn
    await this.#store.sync()
    return lsn
  }

  /** @param {AbortSignal} signal */
  async #watchLag(signal) {
    const { slot, lagEveryMs = 10_000, lagWarningBytes = 256 * 1024 * 1024 } = this.#options
    while (!signal.aborted) {
      // A connection that fails here fails the stream too, and is told there.
      const status = await this.#withClient((client) => readSlot(client, slot)).catch(() => undefined)
      if (status) {
        const { lagBytes, walStatus, safeBytes } = status
        this.#emit({
          type: 'lag',
          lagBytes,
          walStatus,
          safeBytes,
          isWarning: isSlotInDanger(status, lagWarningBytes),
        })
      }
      await sleep(lagEveryMs, undefined, { signal }).catch(() => {})
    }
  }

  /**
   * @template R
   * @param {(client: pg.Client) => Promise<R>} use
   */
  async #withClient(use) {
    const client = new pg.Client({ ...this.#options.connection, options: TEXT_SETTINGS })
    // A query that fails says it too.
    client.on('error', () => {})
    await client.connect()
    try {
      return await use(client)
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** @param {SourceEvent} event */
  #emit(event) {
    this.#options.onEvent?.(event)
  }
}
