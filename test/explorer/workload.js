// Writes to a store under the eyes of strace: node workload.js <directory> <workload> <first position>
//
// Lines on stdout, each one write(2) and so in the trace: `O` opened, `A n` position n is promised, `C n` a checkpoint
// of position n is promised, `X` closed.
import { writeSync } from 'node:fs'
import { open } from '../../dist/index.js'
import { opsAt } from './operations.js'

const [directory, workload, firstText] = process.argv.slice(2)
const OPTIONS = {
  durability: 'disk',
  memory: 2 ** 21,
  memtableBytes: 4096,
  segmentBytes: 4096,
  blockBytes: 512,
  l0SegmentsMax: 2,
  levelRatio: 4,
  workers: 1,
}

function say(line) {
  writeSync(1, `${line}\n`)
}

async function opened(options = {}) {
  const db = await open(`${directory}/store`, { ...OPTIONS, ...options })
  say('O')
  return db
}

async function put(db, from, count) {
  for (let position = from; position < from + count; position++) {
    const committed = await db.batch(opsAt(position))
    if (committed !== position) throw new Error(`position ${committed} instead of ${position}`)
    say(`A ${position}`)
  }
}

const first = Number(firstText)
const workloads = {
  async creation() {
    const db = await opened()
    await put(db, first, 3)
    await db.close()
    say('X')
  },
  async puts() {
    let db = await opened()
    await put(db, first, 110)
    await db.compact()
    await db.close()
    // Opening writes a new manifest and points CURRENT at it.
    db = await opened()
    await put(db, first + 110, 60)
    await db.close()
    say('X')
  },
  async checkpoint() {
    const db = await opened()
    await put(db, first, 40)
    const { position } = await db.checkpoint(`${directory}/copy`)
    say(`C ${position}`)
    await put(db, first + 40, 10)
    await db.close()
  },
  async close() {
    const db = await opened({ durability: 'os' })
    for (let position = first; position < first + 150; position++) await db.batch(opsAt(position))
    await db.close()
    say(`A ${first + 149}`)
    say('X')
  },
  async retained() {
    const db = await opened({ log: { maxBytes: 2 ** 20 } })
    await put(db, first, 60)
    await db.close()
  },
  /** On what another workload left when it was killed. */
  async recovery() {
    const db = await opened()
    const next = db.position + 1
    say(`A ${db.position}`)
    await put(db, next, 20)
    await db.close()
    say('X')
  },
}
await workloads[workload]()
