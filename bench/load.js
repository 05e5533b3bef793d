/** Loads a large store, watching the event loop and resident memory, then reopens it and checks it. */
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { keyOf, missingKeyOf, numbers, valuePool } from './data.js'
import { directoryBytes, makeDirectory, removeDirectory } from './directory.js'
import { MIB, watched } from './watch.js'

const SEED = 20_260_802
const BATCH = 1000

function readOptions() {
  const { values } = parseArgs({
    options: {
      entries: { type: 'string', default: '2000000' },
      'value-bytes': { type: 'string', default: '100' },
      memory: { type: 'string', default: '64' },
      gets: { type: 'string', default: '100000' },
    },
  })
  return {
    entries: Number(values.entries),
    valueBytes: Number(values['value-bytes']),
    memory: Number(values.memory) * MIB,
    gets: Number(values.gets),
  }
}

async function load(db, { entries, valueAt }) {
  for (let from = 0; from < entries; from += BATCH) {
    const ops = []
    for (let index = from; index < Math.min(entries, from + BATCH); index++)
      ops.push({ type: 'put', key: keyOf(index), value: valueAt(index) })
    await db.batch(ops)
  }
}

async function check(db, { entries, gets, valueAt }) {
  const next = numbers(SEED)
  let wrong = 0
  for (let i = 0; i < gets; i++) {
    const index = next(entries)
    const value = await db.get(keyOf(index))
    if (!value || !valueAt(index).equals(value)) wrong++
    if (i % 10 === 0 && (await db.get(missingKeyOf(index))) !== undefined) wrong++
  }
  return wrong
}

function describe(db) {
  const { memory, levels, writeAmplification } = db.stats()
  const shape = levels.map(({ level, segments }) => `L${level}: ${segments}`).join(', ')
  const used = (memory.usedBytes / MIB).toFixed(1)
  const budget = (memory.budgetBytes / MIB).toFixed(0)
  return `${shape}; write amplification ${writeAmplification.toFixed(2)}; stats().memory ${used} of ${budget} MiB`
}

async function main() {
  const options = readOptions()
  const plan = { ...options, valueAt: valuePool(options.valueBytes) }
  const path = makeDirectory('load')
  const openOptions = { keyEncoding: 'buffer', valueEncoding: 'buffer', memory: options.memory }
  try {
    let db = await open(path, openOptions)
    const before = process.memoryUsage.rss()
    const loaded = await watched(() => load(db, plan))
    const rate = Math.round(options.entries / loaded.seconds).toLocaleString('en-US')
    console.log(
      `${options.entries.toLocaleString('en-US')} entries of 16 + ${options.valueBytes} bytes: ${rate}/s`,
    )
    console.log(
      `resident: ${(loaded.residentMax / MIB).toFixed(0)} MiB at most (${(before / MIB).toFixed(0)} before)`,
    )
    console.log(
      `event loop delayed by ${loaded.delayMaxMs.toFixed(1)} ms at most, ${loaded.delayP999Ms.toFixed(1)} ms at p99.9; by ${loaded.ownMaxMs.toFixed(1)} ms at most without waiting for a core`,
    )
    console.log(`while open: ${describe(db)}`)
    await db.close()
    console.log(`on disk: ${(directoryBytes(path) / 1e6).toFixed(1)} MB`)
    const start = performance.now()
    db = await open(path, openOptions)
    console.log(`reopened in ${(performance.now() - start).toFixed(0)} ms`)
    const checked = await watched(async () => {
      const wrong = await check(db, plan)
      console.log(`${options.gets.toLocaleString('en-US')} random gets: ${wrong} wrong`)
      if (wrong > 0) process.exitCode = 1
    })
    console.log(`in ${checked.seconds.toFixed(2)} s; ${describe(db)}`)
    await db.close()
  } finally {
    removeDirectory(path)
  }
}

await main()
