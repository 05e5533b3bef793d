import { promisify } from 'node:util'
import rocksdb from 'rocksdb'
import { packageVersion } from './package-version.js'

const LOWEST = Buffer.alloc(1)
const HIGHEST = Buffer.alloc(32, 0xff)
const SYNC = { sync: true }

export async function open(dir, { memory }) {
  const db = rocksdb(dir)
  const call = (method) => promisify(db[method].bind(db))
  await call('open')({ cacheSize: memory / 2, writeBufferSize: memory / 4 })
  const [put, get] = [call('put'), call('get')]
  return {
    name: 'rocksdb',
    version: packageVersion('rocksdb'),
    batch: call('batch'),
    put,
    putDurable: (key, value) => put(key, value, SYNC),
    get: (key) => get(key).catch(missing),
    getMany: call('getMany'),
    scan: () => count(db.iterator()),
    seek: (gte, limit) => count(db.iterator({ gte, limit })),
    settle: () => call('compactRange')(LOWEST, HIGHEST),
    close: call('close'),
  }
}

function missing(error) {
  if (/notfound/i.test(error.message)) return undefined
  throw error
}

// The binding fetches in bulk and hands out one entry per callback; a promise for each would only slow it down.
function count(iterator) {
  return new Promise((resolve, reject) => {
    let entries = 0
    const end = (failure) =>
      iterator.end((error) => (failure || error ? reject(failure || error) : resolve(entries)))
    const step = (error, key) => {
      if (error || key === undefined) return end(error)
      entries++
      iterator.next(step)
    }
    iterator.next(step)
  })
}
