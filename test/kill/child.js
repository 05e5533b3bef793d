// Checks what earlier lives of this directory wrote, tells the parent, then writes until it is killed.
//
// node child.js <directory> <mode: write | check> <known: JSON [[acknowledged, started], …], one pair a writer>
// Lines on stdout: `V n n n n` (batches found of each writer), `S writer n` (started), `A writer n position`.
import { open } from '../../dist/index.js'
import { fail, limitLife, say } from './child-io.js'

const SLOTS = 16
const KEYS = 3

const [directory, mode, knownText] = process.argv.slice(2)
const known = JSON.parse(knownText)
limitLife()

const filler = 'x'.repeat(150)
const valueFor = (n) => `${n} ${filler}`

/** Batch n of a writer: three keys of a slot, a key of its own instead of the last one's, and the count. */
function batchOf(writer, n) {
  const ops = [
    { type: 'put', key: `${writer}/count`, value: String(n) },
    { type: 'put', key: `${writer}/own/${n}`, value: valueFor(n) },
    { type: 'del', key: `${writer}/own/${n - 1}` },
  ]
  for (let i = 0; i < KEYS; i++) {
    ops.push({ type: 'put', key: `${writer}/slot/${n % SLOTS}/${i}`, value: valueFor(n) })
  }
  return ops
}

/** What a writer's keys are after its first n batches. */
function contentsAfter(writer, n) {
  const wanted = new Map()
  if (n === 0) return wanted
  wanted.set(`${writer}/count`, String(n))
  wanted.set(`${writer}/own/${n}`, valueFor(n))
  for (let m = Math.max(1, n - SLOTS + 1); m <= n; m++) {
    for (let i = 0; i < KEYS; i++) wanted.set(`${writer}/slot/${m % SLOTS}/${i}`, valueFor(m))
  }
  return wanted
}

async function check(db) {
  const found = []
  for (const [writer, [acknowledged, started]] of known.entries()) {
    const entries = await db.entries({ prefix: `${writer}/` }).all()
    const n = Number((await db.get(`${writer}/count`)) ?? 0)
    if (n < acknowledged) fail(`LOST: writer ${writer} has ${n} batches, acknowledged were ${acknowledged}`)
    if (n > started) fail(`INVENTED: writer ${writer} has ${n} batches, started were ${started}`)
    const wanted = contentsAfter(writer, n)
    if (entries.length !== wanted.size)
      fail(`TORN: writer ${writer} has ${entries.length} keys of ${wanted.size}`)
    for (const [key, value] of entries) {
      if (wanted.get(key) !== value) fail(`TORN: ${key} is ${value.slice(0, 20)} after batch ${n}`)
    }
    found.push(n)
  }
  // Positions are dense: one batch each, none of them missing in between.
  const sum = found.reduce((total, n) => total + n, 0)
  if (sum !== db.position) fail(`HOLE: ${sum} batches, but the position is ${db.position}`)
  say(`V ${found.join(' ')}`)
  return found
}

async function write(db, writer, from) {
  const durability = writer % 2 === 0 ? 'os' : 'disk'
  for (let n = from + 1; ; n++) {
    say(`S ${writer} ${n}`)
    const position = await db.batch(batchOf(writer, n), { durability })
    say(`A ${writer} ${n} ${position}`)
    // Without a turn of the event loop now and then no flush would ever end.
    if (n % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

const way = process.env.VARVE_DEATH
const key = process.env.VARVE_KEY
say(`P ${process.pid}`)
const db = await open(directory, {
  ...(key ? { encryption: { key: Buffer.from(key, 'hex') } } : {}),
  ...(way ? { env: (await import('./dying-env.js')).dyingEnv(way) } : {}),
  memory: 2 ** 21,
  memtableBytes: 16 * 1024,
  segmentBytes: 16 * 1024,
  blockBytes: 1024,
  l0SegmentsMax: 2,
  levelRatio: 4,
  workers: 1,
})
const found = await check(db)
if (mode === 'check') {
  await db.compact()
  await check(db)
  const report = await db.verify()
  await db.close()
  say(`D ${report.segments} ${report.entries}`)
} else {
  await Promise.all(found.map((n, writer) => write(db, writer, n)))
}
