/** Opening after a close and after a kill, a queue, overwrites: what happens over the life of a store. */
import { fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { keyOf, valuePool } from './data.js'
import { directoryBytes, makeDirectory, removeDirectory } from './directory.js'
import { MIB, rate } from './watch.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { operations: { type: 'string', default: '5000000' } },
})
const OPTIONS = { keyEncoding: 'buffer', valueEncoding: 'buffer', memory: 256 * MIB }
const valueAt = valuePool(100)

async function fill(db, entries, keyAt = keyOf) {
  for (let from = 0; from < entries; from += 1000) {
    const ops = []
    for (let i = from; i < from + 1000; i++) ops.push({ type: 'put', key: keyAt(i), value: valueAt(i) })
    await db.batch(ops)
  }
}

async function timeOpen(path) {
  const start = performance.now()
  const db = await open(path, OPTIONS)
  return { db, ms: performance.now() - start }
}

/** A process of its own that fills and waits to be killed. */
async function killedAfter(path, entries) {
  const child = fork(new URL(import.meta.url), ['writer', path, String(entries)])
  await new Promise((resolve) => child.once('message', resolve))
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
}

async function openings() {
  for (const entries of [100_000, 1_000_000]) {
    const path = makeDirectory('open')
    const first = await open(path, OPTIONS)
    await fill(first, entries)
    await first.close()
    const closed = await timeOpen(path)
    await closed.db.close()
    console.log(`${entries.toLocaleString('en-US')} entries: opened ${closed.ms.toFixed(0)} ms after a close`)
    removeDirectory(path)
    await killedAfter(path, entries)
    const { db, ms } = await timeOpen(path)
    const logMB = (entries * 131) / 1e6
    console.log(
      `  ${ms.toFixed(0)} ms after a kill, at position ${db.position}; ${logMB.toFixed(0)} MB were written`,
    )
    await db.close()
    removeDirectory(path)
  }
  const path = makeDirectory('recover')
  await killedAfter(path, 200_000)
  const logBytes = directoryBytes(path)
  const { db, ms } = await timeOpen(path)
  console.log(
    `recovery of a log of ${(logBytes / 1e6).toFixed(1)} MB: ${(logBytes / 1000 / ms).toFixed(0)} MB/s`,
  )
  await db.close()
  removeDirectory(path)
}

/** Puts at the tail, deletes at the head, looks for the head: seeks stay flat and bytes bounded. */
async function queue(operations) {
  const path = makeDirectory('queue')
  const db = await open(path, { ...OPTIONS, memory: 64 * MIB })
  const key = (i) => Buffer.from(String(i).padStart(16, '0'))
  const tenth = operations / 10
  let head = 0
  let tail = 0
  for (let part = 0; part < 10; part++) {
    const start = performance.now()
    let seekMs = 0
    let seeks = 0
    for (let done = 0; done < tenth; done += 1000) {
      const ops = []
      for (let i = 0; i < 500; i++) ops.push({ type: 'put', key: key(tail++), value: valueAt(i) })
      for (let i = 0; i < 500 && head < tail - 1000; i++) ops.push({ type: 'del', key: key(head++) })
      await db.batch(ops)
      const began = performance.now()
      const [first] = [...db.keysSync({ limit: 1 })]
      seekMs += performance.now() - began
      seeks++
      if (!first.equals(key(head))) throw new Error(`the head is ${first}, not ${key(head)}`)
    }
    const perSecond = (tenth / (performance.now() - start)) * 1000
    const bytes = (directoryBytes(path) / 1e6).toFixed(1)
    console.log(
      `queue, tenth ${part + 1}: ${rate(perSecond)}, the head found in ${((seekMs * 1000) / seeks).toFixed(0)} µs, ${bytes} MB on disk`,
    )
  }
  await db.close()
  removeDirectory(path)
}

async function overwrites() {
  const path = makeDirectory('overwrite')
  const db = await open(path, { ...OPTIONS, memory: 64 * MIB })
  const start = performance.now()
  for (let round = 0; round < 20; round++) await fill(db, 100_000)
  const perSecond = (2_000_000 / (performance.now() - start)) * 1000
  const before = directoryBytes(path)
  await db.compact()
  console.log(
    `100,000 keys written 20 times: ${rate(perSecond)}, ${(before / 1e6).toFixed(1)} MB before compaction, ${(directoryBytes(path) / 1e6).toFixed(1)} MB after`,
  )
  await db.close()
  removeDirectory(path)
}

if (positionals[0] === 'writer') {
  const db = await open(positionals[1], OPTIONS)
  await fill(db, Number(positionals[2]))
  process.send('filled')
  setInterval(() => {}, 1000)
} else {
  await openings()
  await queue(Number(values.operations))
  await overwrites()
}
