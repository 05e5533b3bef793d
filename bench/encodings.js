/** What utf8 costs beside buffers: the same rows with the same keys and values, in turns. */
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { MIB, rate } from './watch.js'

const { values } = parseArgs({ options: { entries: { type: 'string', default: '200000' } } })
const entries = Number(values.entries)
const ROUNDS = 9
const valueAt = valuePool(50)
// Text of the same length for both: 16 and 100 bytes of hexadecimal digits.
const texts = (index) => [keyOf(index).toString('hex', 0, 8), valueAt(index % 16_384).toString('hex')]
const ENCODINGS = {
  buffer: (index) => texts(index).map((text) => Buffer.from(text)),
  utf8: texts,
}

async function openStore(encoding) {
  const path = makeDirectory(`encoding-${encoding}`)
  const db = await open(path, { keyEncoding: encoding, valueEncoding: encoding, memory: 256 * MIB })
  return { path, db, entryAt: ENCODINGS[encoding], times: {}, nextIndex: 0 }
}

/** One pass of each row, its time in microseconds an operation added to `times`. */
async function pass(store, round) {
  const { db, entryAt } = store
  const part = Math.floor(entries / ROUNDS)
  const ops = Array.from({ length: part }, () => {
    const [key, value] = entryAt(store.nextIndex++)
    return { type: 'put', key, value }
  })
  await timed(store, 'put, batches of 1,000', part, async () => {
    for (let from = 0; from < part; from += 1000) await db.batch(ops.slice(from, from + 1000))
  })
  await timed(store, 'put, 256 in flight', part, async () => {
    for (let from = 0; from < part; from += 256)
      await Promise.all(ops.slice(from, from + 256).map(({ key, value }) => db.put(key, value)))
  })
  const next = numbers(round)
  const keys = Array.from({ length: 20_000 }, () => entryAt(next(store.nextIndex))[0])
  await timed(store, 'get, awaited one by one', keys.length, async () => {
    for (const key of keys) await db.get(key)
  })
  await timed(store, 'getSync', keys.length, () => {
    for (const key of keys) db.getSync(key)
  })
  const iterator = db.entries()
  await timed(store, 'scan everything', store.nextIndex, async () => {
    while ((await iterator.nextv(1000)).length > 0);
  })
  await iterator.close()
}

async function timed({ times }, row, count, run) {
  const start = performance.now()
  await run()
  times[row] ??= []
  times[row].push(((performance.now() - start) * 1000) / count)
}

function median(figures) {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1]
}

const stores = { buffer: await openStore('buffer'), utf8: await openStore('utf8') }
for (let round = 0; round < ROUNDS; round++)
  for (const store of Object.values(stores)) await pass(store, round)
console.log('| row | buffer | utf8 | utf8 takes |\n| --- | ---: | ---: | ---: |')
for (const row of Object.keys(stores.buffer.times)) {
  // The first rounds compile the code.
  const [buffer, utf8] = ['buffer', 'utf8'].map((name) => median(stores[name].times[row].slice(2)))
  console.log(`| ${row} | ${rate(1e6 / buffer)} | ${rate(1e6 / utf8)} | ${(utf8 / buffer).toFixed(2)}× |`)
}
for (const { db, path } of Object.values(stores)) {
  await db.close()
  removeDirectory(path)
}
