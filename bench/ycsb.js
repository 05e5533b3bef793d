/** The YCSB core workloads, zipfian, on Varve and the peers: rates and latencies of single operations. */
import { parseArgs } from 'node:util'
import { keyOf, numbers, valuePool, zipfian } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { Latencies, rate } from './watch.js'

const { values } = parseArgs({
  options: {
    engines: { type: 'string', default: 'varve,classic-level,lmdb,better-sqlite3,rocksdb' },
    records: { type: 'string', default: '500000' },
    budget: { type: 'string', default: '2000' },
    'warm-up': { type: 'string', default: '1000' },
    memory: { type: 'string', default: '256' },
  },
})
const records = Number(values.records)
/** Milliseconds that each workload runs, and before that without being counted. */
const budgetMs = Number(values.budget)
const warmUpMs = Number(values['warm-up'])
const valueAt = valuePool(100)
const SCAN_MAX = 100

/** Shares of read, update, insert, scan and read-modify-write. D reads what was inserted last. */
const WORKLOADS = {
  A: { read: 0.5, update: 0.5 },
  B: { read: 0.95, update: 0.05 },
  C: { read: 1 },
  D: { read: 0.95, insert: 0.05, isLatest: true },
  E: { scan: 0.95, insert: 0.05 },
  F: { read: 0.5, modify: 0.5 },
}

function pick(shares, share) {
  let left = share
  for (const kind of ['read', 'update', 'insert', 'scan', 'modify']) {
    left -= shares[kind] ?? 0
    if (left < 0) return kind
  }
  return 'read'
}

const OPERATIONS = {
  read: (engine, key) => engine.get(key),
  update: (engine, key, value) => engine.put(key, value),
  insert: (engine, key, value) => engine.put(key, value),
  scan: (engine, key, _, length) => engine.seek(key, length),
  async modify(engine, key, value) {
    await engine.get(key)
    await engine.put(key, value)
  },
}

/** Operations of one workload, as many as there is time for. */
async function run(engine, state, { next, rank, shares }, forMs) {
  const latencies = new Latencies()
  const start = performance.now()
  let now = start
  let operations = 0
  for (; now - start < forMs; operations++) {
    const kind = pick(shares, next(1_000_000) / 1_000_000)
    const ranked = rank()
    const old = shares.isLatest ? Math.max(0, state.count - 1 - ranked) : ranked
    const index = kind === 'insert' ? state.count++ : old
    const began = performance.now()
    await OPERATIONS[kind](engine, keyOf(index), valueAt(index + operations), 1 + next(SCAN_MAX))
    now = performance.now()
    latencies.add(now - began)
  }
  return { perSecond: (operations / (now - start)) * 1000, operations, latencies }
}

async function fill(engine) {
  for (let from = 0; from < records; from += 1000) {
    const ops = []
    for (let index = from; index < Math.min(records, from + 1000); index++)
      ops.push({ type: 'put', key: keyOf(index), value: valueAt(index) })
    await engine.batch(ops)
  }
}

async function runEngine(name) {
  const dir = makeDirectory(`ycsb-${name}`)
  try {
    const driver = await import(`./peers/drivers/${name}.js`)
    const engine = await driver.open(dir, { memory: Number(values.memory) * 2 ** 20 })
    await fill(engine)
    const state = { count: records }
    for (const [workload, shares] of Object.entries(WORKLOADS)) {
      const work = { next: numbers(77), rank: zipfian(records, 0.99, 78), shares }
      await run(engine, state, work, warmUpMs)
      const { perSecond, operations, latencies } = await run(engine, state, work, budgetMs)
      const [p50, p999] = [latencies.at(0.5), latencies.at(0.999)].map((us) => us.toFixed(1))
      const count = operations.toLocaleString('en-US')
      console.log(`| ${workload} | ${name} | ${rate(perSecond)} | ${p50} µs | ${p999} µs | ${count} |`)
    }
    await engine.close()
  } finally {
    removeDirectory(dir)
  }
}

console.log(
  '| workload | engine | rate | median | p99.9 | operations |\n| --- | --- | ---: | ---: | ---: | ---: |',
)
for (const name of values.engines.split(',')) await runEngine(name)
