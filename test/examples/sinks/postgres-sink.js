// @ts-check
// A table of PostgreSQL that holds what the store holds: `table(key bytea primary key, value text)`. The position is
// a row of `sink_positions`, written in the transaction that applies the changes: both are there, or neither. The row
// is moved from where this process believes it to be, so of two processes that feed one table only one goes on.
import pg from 'pg'
import { stepsOf } from './changes.js'

export class PostgresSink {
  #connection
  #table
  /** @type {pg.Client | undefined} */ #client

  /** @param {pg.ClientConfig} connection @param {string} table */
  constructor(connection, table) {
    this.#connection = connection
    this.#table = table
  }

  /** @returns {Promise<number | undefined>} */
  position() {
    return this.#transact(async (client) => {
      const sql = 'select position::float8 as position from sink_positions where sink = $1'
      return (await client.query(sql, [this.#table])).rows[0]?.position
    })
  }

  clear() {
    return this.#transact(async (client) => {
      await client.query('delete from sink_positions where sink = $1', [this.#table])
      await client.query(`truncate ${client.escapeIdentifier(this.#table)}`)
    })
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} before
   * @param {number | undefined} after
   */
  apply(changes, before, after) {
    return this.#transact(async (client) => {
      if (after !== undefined) await this.#move(client, before, after)
      for (const step of stepsOf(changes)) await this.#step(client, step)
      return after
    })
  }

  async close() {
    await this.#client?.end()
  }

  /** @param {pg.Client} client @param {number | undefined} before @param {number} after */
  async #move(client, before, after) {
    const { rowCount } =
      before === undefined
        ? await client.query('insert into sink_positions values ($1, $2)', [this.#table, after])
        : await client.query(`update sink_positions set position = $3 where sink = $1 and position = $2`, [
            this.#table,
            before,
            after,
          ])
    if (rowCount !== 1)
      throw new Error(`${this.#table} is no longer at ${before}: something else feeds it too`)
  }

  /** @param {pg.Client} client @param {import('./changes.js').Step} step */
  async #step(client, step) {
    const table = client.escapeIdentifier(this.#table)
    if (step.type === 'clear') {
      const sql = `delete from ${table} where key >= $1 and ($2::bytea is null or key < $2)`
      await client.query(sql, [step.start, step.end ?? null])
      return
    }
    const puts = [...step.entries].filter(([, value]) => value !== null)
    const dels = [...step.entries].filter(([, value]) => value === null)
    await client.query(
      `insert into ${table} select * from unnest($1::bytea[], $2::text[])
       on conflict (key) do update set value = excluded.value`,
      [puts.map(([key]) => Buffer.from(key)), puts.map(([, value]) => value)],
    )
    await client.query(`delete from ${table} where key = any($1::bytea[])`, [
      dels.map(([key]) => Buffer.from(key)),
    ])
  }

  /**
   * @template R
   * @param {(client: pg.Client) => Promise<R>} work
   */
  async #transact(work) {
    const client = await this.#connect()
    try {
      await client.query('begin')
      const result = await work(client)
      await client.query('commit')
      return result
    } catch (error) {
      // Whatever became of it, a new connection sees the truth.
      this.#client = undefined
      await client.end().catch(() => {})
      throw error
    }
  }

  async #connect() {
    if (this.#client) return this.#client
    const client = new pg.Client(this.#connection)
    // The query that is running fails too, and the next one does.
    client.on('error', () => {})
    await client.connect()
    const table = client.escapeIdentifier(this.#table)
    await client.query(`create table if not exists sink_positions (sink text primary key, position bigint not null);
      create table if not exists ${table} (key bytea primary key, value text not null)`)
    this.#client = client
    return client
  }
}
