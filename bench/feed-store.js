/** What the benches of readers of the log have in common: a store that keeps its log, writers, and rates. */
import { open } from '../dist/index.js'
import { keyOf, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'

/** Of key and value together. */
export const CHANGE_BYTES = 100
export const valueAt = valuePool(CHANGE_BYTES - 16)

const OPTIONS = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  durability: 'os',
  memory: 1 << 30,
  memtableBytes: 128 * 2 ** 20,
  log: { maxBytes: 2 ** 32 },
}

export async function withStore(options, work) {
  const directory = makeDirectory('feed')
  const db = await open(directory, { ...OPTIONS, ...options })
  try {
    return await work(db)
  } finally {
    await db.close()
    removeDirectory(directory)
  }
}

/** Puts with `inFlight` of them awaited together; changes a second. */
export async function write(db, count, inFlight, from = 0) {
  const start = performance.now()
  for (let i = from; i < from + count; i += inFlight) {
    const puts = []
    for (let j = i; j < Math.min(from + count, i + inFlight); j++) puts.push(db.put(keyOf(j), valueAt(j)))
    await Promise.all(puts)
  }
  return rateSince(start, count)
}

export function rateSince(start, count) {
  return (count / (performance.now() - start)) * 1000
}

export function show(what, figure) {
  console.log(`${what.padEnd(60)} ${figure.padStart(16)}`)
}

export const perSecond = (rate) => `${Math.round(rate).toLocaleString('en-US')}/s`
export const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
