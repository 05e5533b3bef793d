/** A long random load of single puts, 64 in flight: latencies, the event loop, how the rate holds, amplification. */
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { bareLoop, Latencies, MIB, rate, watched } from './watch.js'

const WIDTH = 64
const PARTS = 10
const BARE_SECONDS = 5

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '5000000' },
    memory: { type: 'string', default: '256' },
    compaction: { type: 'string', default: 'leveled' },
  },
})
const entries = Number(values.entries)
const valueAt = valuePool(100)

/** Returns the rate of each tenth. */
async function load(db, latencies) {
  const rates = []
  const part = Math.floor(entries / PARTS)
  let next = 0
  for (let i = 0; i < PARTS; i++) {
    const end = next + part
    const start = performance.now()
    const writers = Array.from({ length: WIDTH }, async () => {
      while (next < end) {
        const index = next++
        const began = performance.now()
        await db.put(keyOf(index), valueAt(index))
        latencies.add(performance.now() - began)
      }
    })
    await Promise.all(writers)
    rates.push((part / (performance.now() - start)) * 1000)
  }
  return rates
}

/** Blocks that a random point read looks into, rows of earlier reads aside, while compaction is not done. */
async function readAmplification(db) {
  const next = numbers(9)
  const reads = 20_000
  const before = db.stats().cache
  for (let i = 0; i < reads; i++) await db.get(keyOf(next(entries)))
  const after = db.stats().cache
  return (after.hits + after.misses - before.hits - before.misses) / reads
}

const path = makeDirectory('sustained')
try {
  const db = await open(path, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    memory: Number(values.memory) * MIB,
    compaction: values.compaction,
  })
  const latencies = new Latencies()
  let rates = []
  const seen = await watched(async () => {
    rates = await load(db, latencies)
  })
  console.log(
    `${entries.toLocaleString('en-US')} puts, ${WIDTH} in flight, ${values.compaction}: ${rate(entries / seen.seconds)}`,
  )
  console.log(
    `by tenths: ${rates.map((each) => Math.round(each / 1000)).join(' ')} thousand/s; last to first ${(rates.at(-1) / rates[0]).toFixed(2)}`,
  )
  const [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(
    (share) => `${latencies.at(share).toFixed(0)} µs`,
  )
  console.log(`latency of a put: median ${p50}, p99 ${p99}, p99.9 ${p999}, p99.99 ${p9999}`)
  console.log(
    `event loop: ${seen.delayMaxMs.toFixed(1)} ms at most, ${seen.delayP999Ms.toFixed(1)} ms at p99.9; ${seen.ownMaxMs.toFixed(1)} ms at most without waiting for a core, ${seen.workMaxMs.toFixed(1)} ms of processor time, over 5 ms ${seen.workLong} times; longest collection ${seen.collectionMaxMs.toFixed(1)} ms; resident ${(seen.residentMax / MIB).toFixed(0)} MiB at most`,
  )
  console.log(`read amplification right after: ${(await readAmplification(db)).toFixed(2)} blocks a get`)
  const start = performance.now()
  await db.flush()
  await db.compact()
  const { writeAmplification, spaceAmplification, stall } = db.stats()
  console.log(
    `after ${((performance.now() - start) / 1000).toFixed(1)} s of compaction: write amplification ${writeAmplification.toFixed(2)}, space ${spaceAmplification.toFixed(2)}; stalls ${stall.count}, ${stall.totalMs.toFixed(0)} ms in all`,
  )
  await db.close()
  const bare = await bareLoop(BARE_SECONDS)
  console.log(
    `a bare loop of 1 ms of work a turn beside one such thread, for ${BARE_SECONDS} s: ${bare.delayMaxMs.toFixed(1)} ms at most, ${bare.delayP999Ms.toFixed(1)} ms at p99.9; ${bare.ownMaxMs.toFixed(1)} ms at most without waiting for a core, ${bare.workMaxMs.toFixed(1)} ms of processor time`,
  )
} finally {
  removeDirectory(path)
}
