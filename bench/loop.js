/**
 * What holds the event loop: the longest stretch of this thread's own work in each kind of work on a whole store,
 * beside a process that does nothing but count what the machine does to it in the same time.
 *
 *   node bench/loop.js [--full] [--only backup,verify] [--where]
 *
 * Each runs in a process of its own. `--where` profiles it, which slows it down, and says what ran in the longest stretch.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Session } from 'node:inspector/promises'
import { parseArgs } from 'node:util'
import { VarveLevel } from '../dist/adapter/level/varve-level.js'
import { backup, restoreBackup } from '../dist/backup.js'
import { ingest, open, repair } from '../dist/index.js'
import { keyOf, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { MIB, watched } from './watch.js'

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    where: { type: 'boolean', default: false },
    part: { type: 'string' },
  },
})
const OPTIONS = { keyEncoding: 'buffer', valueEncoding: 'buffer', memory: 128 * MIB }
const ENTRIES = values.full ? 5_000_000 : 300_000
/** Of the stores whose bytes are what counts: a gigabyte of values of 4 KiB. */
const LARGE = values.full ? 250_000 : 25_000
const EXPIRING = values.full ? 1_000_000 : 60_000
const LARGE_BYTES = 4096
const KEEP = { log: { maxBytes: 2 ** 40 } }

async function fill(db, entries, { bytes = 100, more = (_) => ({}) } = {}) {
  const valueAt = valuePool(bytes)
  const size = Math.max(1, Math.floor(100_000 / bytes))
  for (let from = 0; from < entries; from += size) {
    const ops = []
    for (let i = from; i < Math.min(entries, from + size); i++)
      ops.push({ type: 'put', key: keyOf(i), value: valueAt(i), ...more(i) })
    await db.batch(ops)
  }
}

async function storeOf(entries, options = {}, how = {}) {
  const path = makeDirectory('loop')
  const db = await open(path, { ...OPTIONS, ...options })
  await fill(db, entries, how)
  return { path, db }
}

const large = (options) => storeOf(LARGE, options, { bytes: LARGE_BYTES })

/** Each prepares, and gives what is watched and what comes after it. */
const PARTS = {
  async 'expiry sweep, all due'() {
    const { path, db } = await storeOf(0)
    const expiresAt = Date.now() + 3000 + EXPIRING / 50
    await fill(db, EXPIRING, { more: () => ({ expiresAt }) })
    return sweeping(path, db, 1)
  },
  async 'expiry sweep, a tenth of 10 times as many due'() {
    const { path, db } = await storeOf(0)
    const expiresAt = Date.now() + 3000 + EXPIRING / 10
    await fill(db, EXPIRING * 10, { more: (i) => (i % 10 === 0 ? { expiresAt } : {}) })
    return sweeping(path, db, 10)
  },
  async 'making a backup'() {
    const { path, db } = await large(KEEP)
    await db.flush()
    const target = makeDirectory('loop-backup')
    return { run: () => backup(db, target), end: () => end(db, path, target) }
  },
  async 'restoring a backup'() {
    const { path, db } = await large(KEEP)
    const [target, into] = [makeDirectory('loop-backup'), makeDirectory('loop-restored')]
    await backup(db, target)
    return { run: () => restoreBackup(target, `${into}/db`), end: () => end(db, path, target, into) }
  },
  async 'restoring the log of a backup'() {
    const { path, db } = await storeOf(10, KEEP)
    const [target, into] = [makeDirectory('loop-backup'), makeDirectory('loop-restored')]
    await backup(db, target)
    await fill(db, LARGE, { bytes: LARGE_BYTES })
    await backup(db, target)
    const at = db.position - 1
    return { run: () => restoreBackup(target, `${into}/db`, { at }), end: () => end(db, path, target, into) }
  },
  async verify() {
    const { path, db } = await large(KEEP)
    await db.flush()
    return { run: () => db.verify(), end: () => end(db, path) }
  },
  async repair() {
    const { path, db } = await large()
    await db.close()
    return { run: () => repair(path), end: () => end(undefined, path) }
  },
  async 'compact()'() {
    const { path, db } = await storeOf(ENTRIES)
    return { run: () => db.compact(), end: () => end(db, path) }
  },
  async ingest() {
    const { path, db } = await storeOf(0)
    const valueAt = valuePool(100)
    async function* entries() {
      for (let i = 0; i < ENTRIES; i++) yield [Buffer.from(String(i).padStart(16, '0')), valueAt(i)]
    }
    return { run: () => ingest(db, entries()), end: () => end(db, path) }
  },
  async 'a consumer from the start'() {
    const { path, db } = await storeOf(ENTRIES, KEEP)
    const consumer = await db.consumer('all', { from: 'start' })
    const run = async () => {
      for await (const change of consumer.read({ live: false })) await consumer.ack(change.position)
    }
    return { run, end: () => end(db, path) }
  },
  async bootstrap() {
    const { path, db } = await storeOf(ENTRIES)
    const run = async () => {
      for await (const _ of db.bootstrap({ live: false }));
    }
    return { run, end: () => end(db, path) }
  },
  async checkpoint() {
    const { path, db } = await large()
    const target = makeDirectory('loop-checkpoint')
    return { run: () => db.checkpoint(`${target}/db`), end: () => end(db, path, target) }
  },
  async destroy() {
    const { path, db } = await large(KEEP)
    await db.close()
    return { run: () => VarveLevel.destroy(path), end: () => end(undefined, path) }
  },
  async 'open after a kill, 64 MiB of log'() {
    const path = makeDirectory('loop')
    const child = fork(new URL(import.meta.url), ['--part', 'writer', '--only', path])
    await new Promise((resolve) => child.once('message', resolve))
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    let db
    const run = async () => {
      db = await open(path, { ...OPTIONS, memory: 1024 * MIB })
    }
    return { run, end: () => end(db, path) }
  },
}

/** Keys that expire at once go in their order: the last of them says that all have. */
async function sweeping(path, db, due) {
  await db.flush()
  let last = keyOf(0)
  for (let i = 0; i < EXPIRING * due; i += due) if (keyOf(i).compare(last) > 0) last = keyOf(i)
  const run = async () => {
    while (await db.has(last)) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return { run, end: () => end(db, path) }
}

async function end(db, ...paths) {
  await db?.close()
  for (const path of paths) removeDirectory(path)
}

/** What a profile says ran in these stretches, most first, in milliseconds of its own. */
function whatRan({ nodes, samples, timeDeltas, startTime }, stretches, offsetMs) {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const times = new Map()
  let at = startTime
  for (const [i, id] of samples.entries()) {
    at += timeDeltas[i]
    const nowMs = at / 1000 - offsetMs
    if (!stretches.some(([from, to]) => nowMs >= from && nowMs <= to)) continue
    const { functionName, url, lineNumber } = byId.get(id)
    const name = `${functionName || '?'} ${url.split('/').pop()}:${lineNumber + 1}`
    times.set(name, (times.get(name) ?? 0) + timeDeltas[i] / 1000)
  }
  const sorted = [...times].sort(([, a], [, b]) => b - a).slice(0, 8)
  return sorted.map(([name, ms]) => `${name} ${ms.toFixed(1)}`).join(', ')
}

async function runPart(name) {
  const { run, end: finish } = await PARTS[name]()
  await new Promise((resolve) => setTimeout(resolve, 500))
  process.send('started')
  const session = new Session()
  if (values.where) {
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: 250 })
    await session.post('Profiler.start')
  }
  const seen = await watched(run)
  if (values.where) {
    const { profile } = await session.post('Profiler.stop')
    // The profile's clock is the system's, in microseconds.
    const offsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()
    seen.where = whatRan(profile, [seen.longest], offsetMs)
    seen.whereAll = whatRan(profile, seen.long, offsetMs)
  }
  process.send(seen)
  await finish()
  process.disconnect()
}

async function measure(name) {
  const child = fork(new URL(import.meta.url), [...process.argv.slice(2), ...['--part', name]])
  const exit = new Promise((resolve) => child.once('exit', resolve))
  const next = () => Promise.race([once(child, 'message').then(([message]) => message), exit])
  await next()
  let seen
  const bare = await watched(async () => {
    seen = await next()
  })
  const code = await exit
  if (code !== 0) throw new Error(`${name} ended with ${code}`)
  return { ...seen, bare }
}

if (values.part === 'writer') {
  const db = await open(values.only, { ...OPTIONS, memory: 1024 * MIB, memtableBytes: 128 * MIB })
  await fill(db, Math.floor((64 * MIB) / 131))
  process.send('filled')
  setInterval(() => {}, 1000)
} else if (values.part) await runPart(values.part)
else {
  const wanted = values.only?.split(',')
  const ms = (number) => number.toFixed(1).padStart(6)
  console.log(
    '| | seconds | longest task, ms | over 5 ms | longest collection | largest delay | p99.9 | of a bare process |',
  )
  console.log('|---|---|---|---|---|---|---|---|')
  for (const name of Object.keys(PARTS)) {
    if (wanted && !wanted.some((each) => name.includes(each))) continue
    const { bare, where, ...seen } = await measure(name)
    const { codeMaxMs, collectionMaxMs, delayMaxMs, delayP999Ms } = seen
    const rest = [collectionMaxMs, delayMaxMs, delayP999Ms, bare.delayMaxMs].map(ms)
    const times = [ms(seen.seconds), ms(codeMaxMs), seen.long.length, ...rest]
    console.log(`| ${name} | ${times.join(' | ')} |`)
    if (where) console.log(`  longest: ${where}\n  all long ones: ${seen.whereAll}`)
  }
}
