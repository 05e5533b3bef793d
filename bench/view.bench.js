/** Views: how fast one is built, and what that costs the readers of the old version. `node bench/view.bench.js`. */
import { parseArgs } from 'node:util'
import { aggregate, open, secondaryIndex } from '../dist/index.js'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'

const { values } = parseArgs({
  options: { entries: { type: 'string', default: '500000' }, batch: { type: 'string', default: '1000' } },
})
const ENTRIES = Number(values.entries)
const BATCH = Number(values.batch)
const valueAt = valuePool(100)

const indexKey = (_, value) => value.readUInt32LE(0)
const DEFINITIONS = {
  'entries counted': aggregate({ version: 1, kinds: ['count', 'sum'], value: () => 1 }),
  'counted without their keys': counting(1),
  'a copy of each entry': copying(1),
  'a secondary index': secondaryIndex({ version: 1, key: indexKey }),
  'a secondary index, from a snapshot': secondaryIndex({ version: 1, key: indexKey, from: 'snapshot' }),
}

function counting(version) {
  return {
    version,
    apply({ ops }, state) {
      const counts = new Map()
      for (const { value } of ops) {
        const group = String(value[0] & 15)
        counts.set(group, (counts.get(group) ?? 0) + 1)
      }
      for (const [group, count] of counts) state.put(group, String(Number(state.getSync(group) ?? 0) + count))
    },
  }
}

function copying(version) {
  return {
    version,
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    apply({ ops }, state) {
      for (const { key, value } of ops) state.put(key, value)
    },
  }
}

async function build(db, name, definition) {
  const startMs = performance.now()
  const before = process.cpuUsage()
  const view = await db.view('view', definition)
  await view.ready
  const seconds = (performance.now() - startMs) / 1000
  const cpu = process.cpuUsage(before)
  const rate = Math.round(ENTRIES / seconds).toLocaleString('en-US')
  const cpuMicros = (cpu.user + cpu.system) / ENTRIES
  console.log(
    `${name.padEnd(36)} ${rate.padStart(10)} entries/s, ${cpuMicros.toFixed(2)} µs of CPU each, all threads`,
  )
  await view.drop()
}

/** Awaited reads of random keys, in milliseconds each, while `goesOn`. */
async function readAll(view, goesOn) {
  const next = numbers(7)
  const times = []
  while (goesOn()) {
    const key = keyOf(next(ENTRIES))
    const startMs = performance.now()
    await view.get(key)
    times.push(performance.now() - startMs)
  }
  return times.sort((a, b) => a - b)
}

function show(name, times) {
  const at = (share) => `${(times[Math.floor(times.length * share)] * 1000).toFixed(1)} µs`
  console.log(
    `${name.padEnd(36)} p50 ${at(0.5)}, p99 ${at(0.99)}, p99.9 ${at(0.999)} of ${times.length} reads`,
  )
}

const directory = makeDirectory('view')
const db = await open(directory, {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  log: { maxBytes: 2 ** 34 },
})
try {
  for (let i = 0; i < ENTRIES; i += BATCH) {
    const ops = Array.from({ length: BATCH }, (_, j) => ({
      type: 'put',
      key: keyOf(i + j),
      value: valueAt(i + j),
    }))
    await db.batch(ops)
  }
  console.log(`${ENTRIES.toLocaleString('en-US')} entries of 16 + 100 bytes, in batches of ${BATCH}`)
  for (const [name, definition] of Object.entries(DEFINITIONS)) await build(db, name, definition)
  const view = await db.view('reads', copying(1))
  await view.ready
  const untilMs = performance.now() + 2000
  show('reads of version 1, alone', await readAll(view, () => performance.now() < untilMs))
  await db.view('reads', copying(2))
  show('reads of version 1, 2 being built', await readAll(view, () => view.version === '1'))
} finally {
  await db.close()
  removeDirectory(directory)
}
