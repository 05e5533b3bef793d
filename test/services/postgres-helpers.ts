import pg from 'pg'
import { type Database, open } from 'varve'
import { LSN_KEY } from '../examples/postgres-source/postgres-source.js'
import { asText, TEXT_SETTINGS } from '../examples/postgres-source/replication-stream.js'
import { newDirectory } from './servers.js'

export type Row = Record<string, string | null>
export type RowStore = Database<string, unknown>

export async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, options: TEXT_SETTINGS })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** A database of its own, so that tests do not see each other's tables and slots. */
export async function newDatabase(connectionString: string, name: string): Promise<string> {
  const client = await connect(connectionString)
  await client.query(`create database ${name}`)
  await client.end()
  return connectionString.replace(/\/postgres$/, `/${name}`)
}

export function openRowStore(path = newDirectory('store')): Promise<RowStore> {
  return open<string, unknown>(path, { valueEncoding: 'json', log: { maxBytes: 2 ** 30 } })
}

/** What PostgreSQL holds: each table's rows, in the order of their text. */
export async function tablesInPostgres(client: pg.Client, names: readonly string[]) {
  const found: Record<string, Row[]> = {}
  for (const name of names) {
    const { rows } = await client.query({
      text: `select * from ${name}`,
      types: { getTypeParser: () => asText },
    })
    found[name] = sorted(rows)
  }
  return found
}

/** What the store holds of the same tables. An absent column is null. */
export async function tablesInStore(store: RowStore, client: pg.Client, names: readonly string[]) {
  const found: Record<string, Row[]> = {}
  for (const name of names) {
    const { fields } = await client.query(`select * from ${name} limit 0`)
    const rows = (await store.values({ prefix: `row/public/${name}/` }).all()) as Row[]
    const strange = rows.filter((row) => Object.keys(row).some((key) => !fields.some((f) => f.name === key)))
    if (strange.length > 0)
      throw new Error(`${name} has columns that are not there: ${JSON.stringify(strange[0])}`)
    found[name] = sorted(
      rows.map((row) => Object.fromEntries(fields.map((field) => [field.name, row[field.name] ?? null]))),
    )
  }
  return found
}

function sorted(rows: readonly Row[]): Row[] {
  const text = (row: Row) => JSON.stringify(Object.entries(row).sort())
  return [...rows].sort((a, b) => (text(a) < text(b) ? -1 : 1))
}

export async function savedLsn(store: RowStore): Promise<string> {
  return (await store.get(LSN_KEY)) as string
}

export async function currentLsn(client: pg.Client): Promise<string> {
  return (await client.query('select pg_current_wal_insert_lsn()::text as lsn')).rows[0].lsn
}
