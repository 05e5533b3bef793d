const LOWEST = Buffer.alloc(0)
const HIGHEST = Buffer.alloc(32, 0xff)
const SYNC = { sync: true }

/** An engine behind the interface of abstract-level, keys and values as buffers. */
export async function openLevel(name, version, db) {
  await db.open()
  return {
    name,
    version,
    batch: (ops) => db.batch(ops),
    put: (key, value) => db.put(key, value),
    putDurable: (key, value) => db.put(key, value, SYNC),
    get: (key) => db.get(key),
    getSync: (key) => db.getSync(key),
    getMany: (keys) => db.getMany(keys),
    scan: () => scan(db),
    seek: (key, count) => seek(db, key, count),
    settle: () => db.compactRange?.(LOWEST, HIGHEST),
    close: () => db.close(),
  }
}

async function scan(db) {
  const iterator = db.iterator()
  let count = 0
  for (;;) {
    const entries = await iterator.nextv(1000)
    if (entries.length === 0) break
    count += entries.length
  }
  await iterator.close()
  return count
}

async function seek(db, gte, limit) {
  const iterator = db.iterator({ gte, limit })
  const entries = await iterator.nextv(limit)
  await iterator.close()
  return entries.length
}
