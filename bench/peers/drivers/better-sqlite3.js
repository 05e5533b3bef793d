import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import { packageVersion } from './package-version.js'

export async function open(dir, { memory }) {
  const db = new Sqlite(join(dir, 'store.sqlite'))
  db.pragma('journal_mode = WAL')
  // A negative cache size is in KiB.
  db.pragma(`cache_size = -${Math.floor(memory / 1024)}`)
  db.exec('CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID')
  return { name: 'better-sqlite3', version: packageVersion('better-sqlite3'), ...writes(db), ...reads(db) }
}

function writes(db) {
  const insert = db.prepare('INSERT OR REPLACE INTO entries (key, value) VALUES (?, ?)')
  const insertAll = db.transaction((ops) => {
    for (const { key, value } of ops) insert.run(key, value)
  })
  const setDurable = durabilitySwitch(db)
  return {
    batch(ops) {
      setDurable(false)
      insertAll(ops)
    },
    put(key, value) {
      setDurable(false)
      insert.run(key, value)
    },
    putDurable(key, value) {
      setDurable(true)
      insert.run(key, value)
    },
    settle: () => db.pragma('wal_checkpoint(TRUNCATE)'),
    close: () => db.close(),
  }
}

// NORMAL hands each commit to the OS; FULL also syncs the WAL at each commit.
function durabilitySwitch(db) {
  let current
  return (durable) => {
    if (durable === current) return
    db.pragma(`synchronous = ${durable ? 'FULL' : 'NORMAL'}`)
    current = durable
  }
}

function reads(db) {
  const select = db.prepare('SELECT value FROM entries WHERE key = ?').pluck()
  const selectAll = db.prepare('SELECT key, value FROM entries ORDER BY key').raw()
  const selectFrom = db.prepare('SELECT key, value FROM entries WHERE key >= ? ORDER BY key LIMIT ?').raw()
  return {
    get: (key) => select.get(key),
    getSync: (key) => select.get(key),
    getMany: (keys) => keys.map((key) => select.get(key)),
    scan: () => count(selectAll.iterate()),
    seek: (key, limit) => selectFrom.all(key, limit).length,
  }
}

function count(rows) {
  let entries = 0
  for (const row of rows) if (row.length === 2) entries++
  return entries
}
