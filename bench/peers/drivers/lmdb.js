import { open as openEnvironment } from 'lmdb'
import { packageVersion } from './package-version.js'

export async function open(dir, { memory }) {
  const db = openEnvironment({ path: dir, mapSize: memory, keyEncoding: 'binary', encoding: 'binary' })
  return {
    name: 'lmdb',
    version: packageVersion('lmdb'),
    batch: (ops) => batch(db, ops),
    put: (key, value) => db.put(key, value),
    putDurable: (key, value) => putDurable(db, key, value),
    get: (key) => db.get(key),
    getSync: (key) => db.get(key),
    getMany: (keys) => db.getMany(keys),
    scan: () => count(db.getRange()),
    seek: (start, limit) => count(db.getRange({ start, limit })),
    settle: () => db.flushed,
    close: () => db.close(),
  }
}

function batch(db, ops) {
  return db.batch(() => {
    for (const { key, value } of ops) db.put(key, value)
  })
}

// `put` resolves when its commit is visible, `flushed` when that commit is on disk.
async function putDurable(db, key, value) {
  await db.put(key, value)
  await db.flushed
}

function count(range) {
  let entries = 0
  for (const { value } of range) if (value !== undefined) entries++
  return entries
}
