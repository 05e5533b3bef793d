import { readFileSync } from 'node:fs'
import { open as openStore } from '../../../dist/index.js'

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
const DISK = { durability: 'disk' }

export async function open(dir, { memory }) {
  const db = await openStore(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer', memory })
  return {
    name: 'varve',
    version,
    batch: (ops) => db.batch(ops),
    put: (key, value) => db.put(key, value),
    putDurable: (key, value) => db.put(key, value, DISK),
    get: (key) => db.get(key),
    getSync: (key) => db.getSync(key),
    getMany: (keys) => db.getMany(keys),
    scan: () => scan(db),
    seek: (key, count) => seek(db, key, count),
    async settle() {
      await db.flush()
      await db.compact()
    },
    close: () => db.close(),
  }
}

async function scan(db) {
  const iterator = db.entries()
  let count = 0
  for (;;) {
    const entries = await iterator.nextv(1000)
    if (entries.length === 0) break
    count += entries.length
  }
  await iterator.close()
  return count
}

function seek(db, gte, limit) {
  let count = 0
  for (const entry of db.entriesSync({ gte, limit })) if (entry.length === 2) count++
  return count
}
