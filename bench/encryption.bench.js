/** What encryption at rest costs: the same store with and without a key, in turns. `node bench/encryption.bench.js` after a build. */
import { randomBytes } from 'node:crypto'
import { open } from '../dist/index.js'
import { makeDirectory, removeDirectory } from './directory.js'

const ENTRIES = 100_000
const SINGLE = 20_000
const READS = 20_000
const ROUNDS = 3
const value = Buffer.alloc(100)
for (let i = 0; i < 50; i++) value[i] = i * 7
const keyOf = (i) => String((i * 2_654_435_761) % 4_294_967_296).padStart(16, '0')
const encryption = { key: randomBytes(32) }
/** Small, so that most reads come from the page cache and are decrypted. */
const MEMORY = 4 * 2 ** 20

async function timed(count, work) {
  const startMs = performance.now()
  await work()
  return count / ((performance.now() - startMs) / 1000)
}

async function measureStore(options) {
  const directory = makeDirectory('encryption')
  const shared = { valueEncoding: 'buffer', ...options }
  const rates = {}
  try {
    let db = await open(`${directory}/store`, shared)
    rates['fill random, batches of 1,000'] = await timed(ENTRIES, async () => {
      for (let i = 0; i < ENTRIES; i += 1000) {
        const ops = Array.from({ length: 1000 }, (_, j) => ({ type: 'put', key: keyOf(i + j), value }))
        await db.batch(ops)
      }
    })
    rates['flush and merge'] = await timed(ENTRIES, () => db.compact())
    rates['put, 256 in flight'] = await timed(ENTRIES, async () => {
      for (let i = 0; i < ENTRIES; i += 256)
        await Promise.all(Array.from({ length: 256 }, (_, j) => db.put(keyOf(i + j), value)))
    })
    rates['put, awaited one by one'] = await timed(SINGLE, async () => {
      for (let i = 0; i < SINGLE; i++) await db.put(keyOf(i), value)
    })
    await db.compact()
    await db.close()
    db = await open(`${directory}/store`, { ...shared, memory: MEMORY })
    rates['get, most from the page cache'] = await timed(READS, async () => {
      for (let i = 0; i < READS; i++) await db.get(keyOf((i * 7919) % ENTRIES))
    })
    rates['scan everything'] = await timed(ENTRIES, async () => {
      for (const _ of db.entriesSync());
    })
    await db.close()
    db = await open(`${directory}/store`, shared)
    for (let i = 0; i < READS; i++) db.getSync(keyOf((i * 7919) % ENTRIES))
    rates['get, from memory'] = await timed(READS, async () => {
      for (let i = 0; i < READS; i++) await db.get(keyOf((i * 7919) % ENTRIES))
    })
    await db.close()
    return rates
  } finally {
    removeDirectory(directory)
  }
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1]
const rounds = { plain: [], encrypted: [] }
for (let round = 0; round < ROUNDS; round++) {
  rounds.plain.push(await measureStore({}))
  rounds.encrypted.push(await measureStore({ encryption }))
}
console.log(`median of ${ROUNDS} rounds, entries of 16 + 100 bytes, ops/s`)
for (const name of Object.keys(rounds.plain[0])) {
  const [plain, encrypted] = [rounds.plain, rounds.encrypted].map((all) =>
    median(all.map((each) => each[name])),
  )
  const rates = [plain, encrypted].map((rate) => Math.round(rate).toLocaleString('en').padStart(11))
  console.log(`${name.padEnd(34)}${rates.join('')}  ${(encrypted / plain).toFixed(2)} of plain`)
}
