import { ClassicLevel } from 'classic-level'
import { packageVersion } from './package-version.js'

const LOWEST = Buffer.alloc(0)
const HIGHEST = Buffer.alloc(32, 0xff)
const SYNC = { sync: true }

export async function open(dir, { memory }) {
  const db = new ClassicLevel(dir, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize: memory / 2,
    // LevelDB holds up to two of these: the one being written and the one being flushed.
    writeBufferSize: memory / 4,
  })
  await db.open()
  return {
    name: 'classic-level',
    version: packageVersion('classic-level'),
    batch: (ops) => db.batch(ops),
    put: (key, value) => db.put(key, value),
    putDurable: (key, value) => db.put(key, value, SYNC),
    get: (key) => db.get(key),
    getSync: (key) => db.getSync(key),
    getMany: (keys) => db.getMany(keys),
    scan: () => scan(db),
    seek: (key, count) => seek(db, key, count),
    settle: () => db.compactRange(LOWEST, HIGHEST),
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
