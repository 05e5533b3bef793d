import { setImmediate as eventLoopTurn } from 'node:timers/promises'
import { keyOf, missingKeyOf, numbers, valuePool } from '../data.js'
import { directoryBytes } from '../directory.js'

const SEED = 20_260_801
const BATCH = 1000
const SEEK_ENTRIES = 10
const MANY_KEYS = 100
/** How long the cache is warmed before the settled rows, in budgets of a row. */
const WARM_BUDGETS = 4

/**
 * Runs every row against one engine, calling `report(row, figure)` as each ends. `openEngine()` opens the store in
 * `dir`; it is opened twice, since the bytes on disk after the fill are counted while it is closed. What `isReadOnly`
 * has only the rows of reads, and is told when it is `filled`.
 */
export async function runWorkload(openEngine, { dir, entries, valueBytes, budgetMs }, report) {
  const plan = { entries, valueBytes, budgetMs, valueAt: valuePool(valueBytes), nextIndex: entries }
  let engine = await openEngine()
  const filled = await fill(engine, plan)
  if (!engine.isReadOnly) report('fill', filled)
  await engine.filled?.()
  await reads(engine, plan, 'fresh', report)
  await engine.close()
  report('disk', directoryBytes(dir))

  engine = await openEngine()
  await engine.settle()
  await reads(engine, plan, 'settled', report)
  if (!engine.isReadOnly) await writes(engine, plan, report)
  globalThis.gc?.()
  if (!engine.isReadOnly) report('rss', process.memoryUsage.rss())
  await engine.close()
}

async function fill(engine, { entries, valueAt }) {
  let spent = 0
  for (let from = 0; from < entries; from += BATCH) {
    const ops = putOps(from, Math.min(entries, from + BATCH), valueAt)
    const start = performance.now()
    await engine.batch(ops)
    spent += performance.now() - start
  }
  return (entries / spent) * 1000
}

function putOps(from, to, valueAt) {
  const ops = []
  for (let index = from; index < to; index++)
    ops.push({ type: 'put', key: keyOf(index), value: valueAt(index) })
  return ops
}

/**
 * Prepares a chunk of work, times running it, and so on until `budgetMs` of timed work is done: making keys costs
 * as much as a fast engine's read and is not counted. Each chunk ends with a turn of the event loop, which is
 * counted, so that an engine's own callbacks are not put off to the untimed part.
 */
async function rate(budgetMs, prepare, run, maxOps = Number.POSITIVE_INFINITY) {
  let ops = 0
  let spent = 0
  while (spent < budgetMs && ops < maxOps) {
    const work = prepare()
    const start = performance.now()
    ops += await run(work)
    await eventLoopTurn()
    spent += performance.now() - start
  }
  return (ops / spent) * 1000
}

async function warmRate(budgetMs, prepare, run, maxOps) {
  // What earlier rows left goes first; the row is then measured in the heap that it has grown by itself.
  globalThis.gc?.()
  await rate(budgetMs / 4, prepare, run, maxOps)
  return rate(budgetMs, prepare, run, maxOps)
}

async function writes(engine, plan, report) {
  const rows = [
    ['put-256', 2048, 256, engine.put],
    ['put-one', 256, 1, engine.put],
    ['durable-one', 64, 1, engine.putDurable],
    ['durable-64', 256, 64, engine.putDurable],
  ]
  for (const [row, chunk, width, put] of rows) {
    const prepare = () => {
      const ops = putOps(plan.nextIndex, plan.nextIndex + chunk, plan.valueAt)
      plan.nextIndex += chunk
      return ops
    }
    const run = width === 1 ? (ops) => putEach(put, ops) : (ops) => putInFlight(put, ops, width)
    report(row, await warmRate(plan.budgetMs, prepare, run, plan.entries))
  }
}

async function putEach(put, ops) {
  for (const { key, value } of ops) await put(key, value)
  return ops.length
}

async function putInFlight(put, ops, width) {
  for (let from = 0; from < ops.length; from += width) {
    const pending = []
    for (let index = from; index < from + width; index++) pending.push(put(ops[index].key, ops[index].value))
    await Promise.all(pending)
  }
  return ops.length
}

async function reads(engine, plan, state, report) {
  const { entries, budgetMs } = plan
  // Each row starts the same stream, so every engine is asked for the same keys.
  const keysOf = (count, keyAt) => {
    const next = numbers(SEED)
    return () => Array.from({ length: count }, () => keyAt(next(entries)))
  }
  const lists = (next) => () => Array.from({ length: 10 }, next)
  const rows = [
    ['get-one', engine.get, keysOf(1024, keyOf), getEach],
    ['get-64', engine.get, keysOf(1024, keyOf), getInFlight],
    ['sync-hit', engine.getSync, keysOf(1024, keyOf), getEachSync],
    ['sync-miss', engine.getSync, keysOf(1024, missingKeyOf), missEachSync],
    ['get-many', engine.getMany, lists(keysOf(MANY_KEYS, keyOf)), getLists],
  ]
  if (state === 'settled') await warm(engine, plan)
  for (const [row, call, prepare, run] of rows) {
    if (!call) continue
    report(`${row} ${state}`, await warmRate(budgetMs, prepare, (keys) => run(call, keys, plan)))
  }
  report(`scan ${state}`, await warmRate(budgetMs, noWork, () => scan(engine, entries)))
  report(`seek ${state}`, await warmRate(budgetMs, keysOf(128, keyOf), (keys) => seekEach(engine, keys)))
}

/** A scan and random reads, of other keys than the rows ask for: what an engine keeps in memory is there afterwards. */
async function warm(engine, plan) {
  await engine.scan()
  const next = numbers(SEED + 1)
  const keys = () => Array.from({ length: MANY_KEYS }, () => keyOf(next(plan.entries)))
  await rate(
    plan.budgetMs * WARM_BUDGETS,
    () => [keys()],
    (lists) => getLists(engine.getMany, lists, plan),
  )
}

function noWork() {}

async function scan(engine, entries) {
  const count = await engine.scan()
  if (count !== entries) throw new Error(`scan found ${count} entries, not ${entries}`)
  return count
}

async function seekEach(engine, keys) {
  let found = 0
  for (const key of keys) found += await engine.seek(key, SEEK_ENTRIES)
  // Only a seek close to the last key may find fewer.
  if (found < keys.length * SEEK_ENTRIES * 0.9) throw new Error(`${keys.length} seeks found ${found} entries`)
  return keys.length
}

function checkHit(value, { valueBytes }) {
  if (value?.length !== valueBytes) throw new Error(`get returned ${value?.length} bytes, not ${valueBytes}`)
}

async function getEach(get, keys, plan) {
  for (const key of keys) checkHit(await get(key), plan)
  return keys.length
}

async function getInFlight(get, keys, plan) {
  const width = 64
  for (let from = 0; from < keys.length; from += width) {
    const pending = []
    for (let index = from; index < from + width; index++) pending.push(get(keys[index]))
    for (const value of await Promise.all(pending)) checkHit(value, plan)
  }
  return keys.length
}

function getEachSync(getSync, keys, plan) {
  for (const key of keys) checkHit(getSync(key), plan)
  return keys.length
}

function missEachSync(getSync, keys) {
  for (const key of keys) if (getSync(key) !== undefined) throw new Error('getSync found a key never written')
  return keys.length
}

async function getLists(getMany, lists, plan) {
  for (const keys of lists) for (const value of await getMany(keys)) checkHit(value, plan)
  return lists.length * MANY_KEYS
}
