// @ts-check
// What PostgreSQL's catalog says of the published tables, and where their rows go in the store:
// `row/<schema>/<table>/<primary key>`, each part percent-encoded, so that a prefix is one table.

/**
 * @typedef {object} Table
 * @property {string} name schema and table, each percent-encoded, with a slash between
 * @property {[name: string, typeOid: number][]} columns
 * @property {string[]} key the primary key's columns
 */
/** @typedef {Table & { source: string, filter: string | null, filled: string[] }} PublishedTable */
/** @typedef {Record<string, string | null>} Row every value as the text that PostgreSQL prints */

export const ROWS = 'row/'

/** @param {string} schema @param {string} table */
export function tableName(schema, table) {
  return `${encodeURIComponent(schema)}/${encodeURIComponent(table)}`
}

/** @param {Table} table */
export function rowPrefix(table) {
  return `${ROWS}${table.name}/`
}

/** @param {Table} table @param {Record<string, unknown>} row */
export function rowKey(table, row) {
  const parts = table.key.map((column) => {
    const value = row[column]
    if (typeof value !== 'string') throw new Error(`${table.name}: a row came without its key's ${column}`)
    return encodeURIComponent(value)
  })
  return `${rowPrefix(table)}${parts.join('/')}`
}

// Generated columns are not published. `filled` are columns that rows may hold though no change ever set them.
const DESCRIBE = `
  select t.schemaname as schema, t.tablename as table, c.relkind, to_jsonb(t) ->> 'rowfilter' as filter,
    (select json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum) from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
        and coalesce(to_jsonb(t) -> 'attnames' ? a.attname, true)) as columns,
    (select json_agg(a.attname order by k.place)
      from pg_index i, unnest(i.indkey) with ordinality k(attnum, place), pg_attribute a
      where i.indrelid = c.oid and i.indisprimary and i.indimmediate
        and a.attrelid = c.oid and a.attnum = k.attnum) as key,
    (select coalesce(json_agg(a.attname), '[]') from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0
        and (a.atthasdef or a.atthasmissing or a.attidentity <> '')) as filled
  from pg_publication_tables t
  join pg_namespace n on n.nspname = t.schemaname
  join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
  where t.pubname = $1 order by 1, 2`

/**
 * @param {import('pg').ClientBase} client
 * @param {string} publication
 * @returns {Promise<PublishedTable[]>}
 */
export async function describeTables(client, publication) {
  const { rows } = await client.query(DESCRIBE, [publication])
  return rows.map((row) => {
    const name = tableName(row.schema, row.table)
    if (row.key === null) {
      throw new Error(`${name} has no primary key that is checked at once: its rows cannot be told apart`)
    }
    const path = `${client.escapeIdentifier(row.schema)}.${client.escapeIdentifier(row.table)}`
    return {
      name,
      columns: row.columns,
      key: row.key,
      source: row.relkind === 'p' ? path : `only ${path}`,
      filter: row.filter,
      filled: row.filled,
    }
  })
}

/**
 * The table as the stream shows it from now on, if rows that are stored stay right under it; else why not. New
 * columns in which those rows are null cost nothing: an absent column is null. All else needs the rows again.
 *
 * @param {Table | undefined} known
 * @param {import('pg-logical-replication').Pgoutput.MessageRelation} relation
 * @param {PublishedTable | undefined} current as the catalog has it, which may be ahead of the stream
 * @returns {Table | string}
 */
export function adoptRelation(known, relation, current) {
  const name = tableName(relation.schema, relation.name)
  if (known === undefined) return `${name} is new in the publication`
  if (current === undefined) return `${name} is no longer in the publication`
  if (String(current.key) !== String(known.key)) return `${name} has another primary key`
  const missing = known.key.filter((column) => !relation.keyColumns.includes(column))
  if (missing.length > 0) throw new Error(`${name}: its replica identity lacks ${missing} of its primary key`)
  /** @type {Table['columns']} */
  const columns = relation.columns.map((column) => [column.name, column.typeOid])
  const isKept = known.columns.every((column, i) => String(column) === String(columns[i]))
  const added = columns.slice(known.columns.length).map(([column]) => column)
  const isFilled = added.some((column) => current.filled.includes(column))
  if (!isKept || isFilled) return `${name} has other columns`
  return added.length === 0 ? known : { ...known, columns }
}
