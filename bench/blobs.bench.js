/**
 * Large values: set apart from their keys, beside them, and `classic-level`, in turns. `node bench/blobs.bench.js` after
 * a build; `--small` to see that it works. Values of half noise are put, and overwritten at random twice as often; then all are read, in no order.
 */
import { readFileSync } from 'node:fs'
import { open } from '../dist/index.js'
import { keyOf, numbers, valueMaker } from './data.js'
import { directoryBytes, makeDirectory, removeDirectory } from './directory.js'
import { open as openClassicLevel } from './peers/drivers/classic-level.js'
import { MIB } from './watch.js'

const isSmall = process.argv.includes('--small')
const ROUNDS = isSmall ? 1 : 3
const MEMORY = 128 * MIB
const SHAPES = [
  { valueBytes: 64 * 1024, count: isSmall ? 100 : 4000 },
  { valueBytes: MIB, count: isSmall ? 10 : 250 },
  { valueBytes: 10 * MIB, count: isSmall ? 2 : 25 },
]

async function openVarve(directory, blobMinBytes) {
  const db = await open(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    memory: MEMORY,
    durability: 'os',
    ...(blobMinBytes === undefined ? {} : { blobMinBytes }),
  })
  return {
    put: (key, value) => db.put(key, value),
    get: (key) => db.get(key),
    settle: () => db.compact(),
    close: () => db.close(),
  }
}

const ENGINES = {
  apart: (directory) => openVarve(directory),
  beside: (directory) => openVarve(directory, Number.POSITIVE_INFINITY),
  'classic-level': (directory) => openClassicLevel(directory, { memory: MEMORY }),
}

/** Bytes that this process has handed to write(2), by all threads. Linux only. */
function writtenBytes() {
  return Number(/wchar: (\d+)/.exec(readFileSync('/proc/self/io', 'latin1'))[1])
}

async function measure(makeEngine, { valueBytes, count }) {
  const directory = makeDirectory('blobs')
  const valueAt = valueMaker(valueBytes)
  const next = numbers(7)
  const puts = count * 3
  try {
    const engine = await makeEngine(`${directory}/store`)
    const writtenBefore = writtenBytes()
    let startMs = performance.now()
    for (let i = 0; i < puts; i++) await engine.put(keyOf(i < count ? i : next(count)), valueAt(i))
    const putSeconds = (performance.now() - startMs) / 1000
    await engine.settle()
    const settledSeconds = (performance.now() - startMs) / 1000
    const written = writtenBytes() - writtenBefore
    startMs = performance.now()
    for (let i = 0; i < count; i++) {
      const value = await engine.get(keyOf(next(count)))
      if (value?.length !== valueBytes) throw new Error('a value is missing')
    }
    const getSeconds = (performance.now() - startMs) / 1000
    const megabytes = (puts * valueBytes) / MIB
    await engine.close()
    return {
      'put MiB/s': megabytes / putSeconds,
      'put and settle MiB/s': megabytes / settledSeconds,
      'get MiB/s': (count * valueBytes) / MIB / getSeconds,
      'written / put': written / (puts * valueBytes),
      'on disk / alive': directoryBytes(directory) / (count * valueBytes),
    }
  } finally {
    removeDirectory(directory)
  }
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
for (const shape of SHAPES) {
  const rounds = Object.fromEntries(Object.keys(ENGINES).map((name) => [name, []]))
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, makeEngine] of Object.entries(ENGINES))
      rounds[name].push(await measure(makeEngine, shape))
  console.log(`\n${shape.count} values of ${shape.valueBytes / 1024} KiB, median of ${ROUNDS} rounds`)
  console.log(
    `${''.padEnd(24)}${Object.keys(ENGINES)
      .map((name) => name.padStart(15))
      .join('')}`,
  )
  for (const row of Object.keys(rounds.apart[0])) {
    const figures = Object.values(rounds).map((all) => median(all.map((each) => each[row])))
    console.log(`${row.padEnd(24)}${figures.map((figure) => figure.toFixed(2).padStart(15)).join('')}`)
  }
}
