import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FaultRule } from '../../src/env/faults.js'
import type { MemoryEnv } from '../../src/env/memory-env.js'
import { VarveError } from '../../src/errors.js'
import { codeOf, dump, type OpenedStore, openMemory, pad, recovered, TINY } from './helpers.js'

type Db = OpenedStore['db']
type Values = Record<string, string>

let unhandled = 0
const count = () => {
  unhandled++
}
beforeAll(() => {
  process.on('unhandledRejection', count)
})
afterAll(async () => {
  await new Promise((resolve) => setTimeout(resolve, 10))
  process.off('unhandledRejection', count)
  expect(unhandled).toBe(0)
})

/** What was written, what of it was acknowledged, and every error on the way. */
interface Run {
  /** The store's content after each write, in order; the first is empty. */
  readonly states: Values[]
  acknowledged: number
  readonly errors: unknown[]
}

async function attempt<T>(run: Run, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action()
  } catch (error) {
    run.errors.push(error)
    return undefined
  }
}

/** Which calls the script makes beside its writes, which flush and merge in the background anyway. */
interface Calls {
  readonly flushes: boolean
  readonly compacts: boolean
}
const ALL_CALLS: Calls = { flushes: true, compacts: true }

/** Writes, flushes and a merge: a fault may meet any of their steps. Every third write is not waited for. */
async function script(db: Db, run: Run, calls: Calls): Promise<void> {
  const waiting: Promise<unknown>[] = []
  for (let i = 0; i < 36; i++) {
    const key = pad(i % 12)
    const value = `${i} `.repeat(30)
    run.states.push({ ...run.states.at(-1), [key]: value })
    const index = run.states.length - 1
    const write = attempt(run, async () => {
      await db.put(key, value, { durability: i % 4 === 0 ? 'disk' : 'os' })
      run.acknowledged = Math.max(run.acknowledged, index)
    })
    waiting.push(write)
    if (i % 3 !== 0) await write
    if (i === 17 && calls.flushes) await attempt(run, () => db.flush())
  }
  await attempt(run, () => db.sync())
  if (calls.compacts) await attempt(run, () => db.compact())
  await Promise.all(waiting)
}

async function runWith(
  rule: FaultRule,
  calls = ALL_CALLS,
): Promise<{ run: Run; env: MemoryEnv; fired: number }> {
  // A merge of the background that fails as the store closes has nobody to be told to.
  const { db, env } = await openMemory(calls.compacts ? TINY : { ...TINY, l0SegmentsMax: 1000 })
  const run: Run = { states: [{}], acknowledged: 0, errors: [] }
  const counter = env.fs.inject(rule)
  await script(db, run, calls)
  if (counter.fired > 0 && run.errors.length > 0) await checkPoisoned(db, run)
  await attempt(run, () => db.close())
  expect([env.fs.openFiles(), env.fs.hasLocks()]).toEqual([[], false])
  return { run, env, fired: counter.fired }
}

/** Reads go on, writes do not, and the reason is told. */
async function checkPoisoned(db: Db, run: Run): Promise<void> {
  if (db.stats().health === undefined) return
  expect(run.states.slice(run.acknowledged)).toContainEqual(await dump(db))
  const code = await codeOf(() => db.put('late', '1'))
  expect(['VARVE_POISONED', 'VARVE_NO_SPACE']).toContain(code)
  expect(await codeOf(() => db.sync())).toBe(code)
}

/** A killed process loses nothing acknowledged, and what there is is a state that the store was in. */
async function checkRecovered(run: Run, env: MemoryEnv): Promise<void> {
  env.fs.clearFaults()
  const found = await recovered(env.fs.clone())
  expect(run.states.slice(run.acknowledged)).toContainEqual(found)
}

const CODES = ['VARVE_IO', 'VARVE_NO_SPACE', 'VARVE_POISONED']

function checkErrors({ errors }: Run): void {
  for (const error of errors) {
    expect(error).toBeInstanceOf(VarveError)
    expect(CODES).toContain((error as VarveError).code)
  }
}

describe('a fault at any step of a script of writes, flushes and a merge', () => {
  const writesOnly = { flushes: false, compacts: false }
  const rules: [string, Omit<FaultRule, 'nth'>, Calls?][] = [
    ['a failed write of the log', { op: 'write', path: /\.log$/, effect: { errno: 'EIO' } }, writesOnly],
    ['a failed write of a segment', { op: 'write', path: /\.seg$/, effect: { errno: 'EIO' } }],
    ['a full disk', { op: 'write', repeat: 'forever', effect: { errno: 'ENOSPC' } }],
    [
      'a write that happened and says it did not',
      { op: 'write', path: /\.log$/, effect: { errno: 'EIO' }, when: 'after' },
    ],
    ['a failed fdatasync of the log', { op: 'sync', path: /\.log$/, effect: { errno: 'EIO' } }],
    ['a failed fdatasync of a segment', { op: 'sync', path: /\.seg$/, effect: { errno: 'EIO' } }],
    ['a failed sync of the directory', { op: 'syncDirectory', effect: { errno: 'EIO' } }, writesOnly],
    ['a file that cannot be created', { op: 'create', effect: { errno: 'EMFILE' } }],
    ['a failed write of the manifest', { op: 'write', path: /MANIFEST/, effect: { errno: 'EIO' } }],
  ]

  it.each(
    rules,
  )('%s surfaces typed, stops writes, not reads, and loses nothing acknowledged', async (_, rule, calls) => {
    let fired = 0
    let surfaced = 0
    for (let nth = 1; nth < 400; nth++) {
      const result = await runWith({ ...rule, nth }, calls)
      if (result.fired === 0) break
      fired++
      checkErrors(result.run)
      if (result.run.errors.length > 0) surfaced++
      await checkRecovered(result.run, result.env)
    }
    expect(fired).toBeGreaterThan(0)
    expect(surfaced).toBe(fired)
  })

  it('a short write is completed, and nothing is seen of it', async () => {
    for (let nth = 1; nth < 400; nth++) {
      const { run, env, fired } = await runWith({ op: 'write', nth, effect: { shortBytes: 5 } })
      if (fired === 0) break
      expect([run.errors, run.acknowledged]).toEqual([[], 36])
      expect(await recovered(env.fs.clone())).toEqual(run.states.at(-1))
    }
  })

  it('a file that cannot be removed harms nobody', async () => {
    const { run, env, fired } = await runWith({
      op: 'remove',
      repeat: 'forever',
      effect: { errno: 'EACCES' },
    })
    expect([fired > 0, run.errors, run.acknowledged]).toEqual([true, [], 36])
    env.fs.clearFaults()
    expect(await recovered(env.fs)).toEqual(run.states.at(-1))
  })

  it('an error of a read surfaces on the read alone, and writes go on', async () => {
    const { db, env } = await openMemory({ ...TINY, memory: 65_536 })
    for (let i = 0; i < 500; i++) void db.put(pad(i), 'x'.repeat(200))
    await db.flush()
    await db.compact()
    const counter = env.fs.inject({ op: 'read', path: /\.seg$/, effect: { errno: 'EIO' } })
    expect(await codeOf(() => db.keys().all())).toBe('VARVE_IO')
    expect(counter.fired).toBe(1)
    expect(await db.keys().all()).toHaveLength(500)
    await db.put('a', '1')
    await db.close()
  })
})

describe('a power loss after a fault', () => {
  it('keeps everything that was acknowledged as durable, in every crash state', async () => {
    for (let nth = 1; nth < 60; nth += 4) {
      const { db, env } = await openMemory({ ...TINY, durability: 'disk' })
      const run: Run = { states: [{}], acknowledged: 0, errors: [] }
      const counter = env.fs.inject({ op: 'sync', nth, effect: { errno: 'EIO' }, path: /\.log$/ })
      for (let i = 0; i < 30; i++) {
        const value = `${i} `.repeat(30)
        run.states.push({ ...run.states.at(-1), [pad(i)]: value })
        await attempt(run, async () => {
          await db.put(pad(i), value)
          run.acknowledged = i + 1
        })
      }
      const states = [...env.fs.crashStates()]
      await attempt(run, () => db.close())
      expect(run.errors.length > 0).toBe(counter.fired > 0)
      for (const { fs } of states) {
        expect(run.states.slice(run.acknowledged)).toContainEqual(await recovered(fs))
      }
    }
  })
})

describe('close after a failure', () => {
  it('reports the cause, every time, and the store can be opened again', async () => {
    const { db, env } = await openMemory()
    await db.put('a', '1')
    env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'EIO' } })
    let failed: Error | undefined
    db.on('store.failed', ({ error }) => {
      failed = error
    })
    expect(await codeOf(() => db.put('b', '1'))).toBe('VARVE_IO')
    expect(await codeOf(() => db.put('b', '1'))).toBe('VARVE_POISONED')
    expect(db.stats().health).toBe(failed)
    expect((failed?.cause as { code?: string }).code).toBe('EIO')
    const [first, second] = await Promise.allSettled([db.close(), db.close()])
    expect(first).toMatchObject({ status: 'rejected', reason: failed })
    expect(second).toEqual(first)
    expect([env.fs.openFiles(), env.fs.hasLocks()]).toEqual([[], false])
    env.fs.clearFaults()
    expect((await recovered(env.fs))['a']).toBe('1')
  })

  it('rejects every write of the group that failed, and every one that waited', async () => {
    const { db, env } = await openMemory({ durability: 'disk' })
    env.fs.inject({ op: 'sync', path: /\.log$/, repeat: 'forever', effect: { errno: 'EIO' } })
    const writes = [db.put('a', '1'), db.put('b', '1'), db.del('a'), db.batch([]), db.clear()]
    const settled = await Promise.allSettled(writes)
    for (const result of settled)
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'VARVE_IO' } })
    expect(db.durablePosition).toBe(0)
    expect(await codeOf(() => db.close())).toBe('VARVE_IO')
    env.fs.clearFaults()
    expect(await dumpStates(env)).toBe(true)
  })
})

/** Rejected writes are undecided: all of them are there, or none. */
async function dumpStates(env: MemoryEnv): Promise<boolean> {
  for (const { fs } of env.fs.crashStates()) {
    if (Object.keys(await recovered(fs)).length > 0) return false
  }
  return true
}

describe('resume', () => {
  it('goes on in process after VARVE_NO_SPACE once there is room', async () => {
    const { db, env } = await openMemory(TINY)
    let failures = 0
    db.on('store.failed', () => failures++)
    await db.put('first', '1')
    env.fs.setCapacity(30_000)
    let acknowledged = 0
    let code: string | undefined
    for (let i = 0; i < 1000 && code === undefined; i++) {
      code = await codeOf(() => db.put(pad(i), 'x'.repeat(100)))
      if (code === undefined) acknowledged++
    }
    expect([code, failures, acknowledged > 5]).toEqual(['VARVE_NO_SPACE', 1, true])
    expect(await codeOf(() => db.put('late', '1'))).toBe('VARVE_NO_SPACE')
    expect([await db.get('first'), (await db.get(pad(acknowledged - 1)))?.length]).toEqual(['1', 100])
    const snapshot = db.snapshot()
    env.fs.setCapacity(Number.POSITIVE_INFINITY)
    await db.resume()
    expect(db.stats().health).toBeUndefined()
    expect(Object.keys(await dump(db)).length).toBeGreaterThanOrEqual(acknowledged + 1)
    expect(await codeOf(() => db.get('first', { snapshot }))).not.toBeUndefined()
    const { position } = db
    expect(await db.put('late', '2')).toBe(position + 1)
    env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'EIO' } })
    expect(await codeOf(() => db.put('later', '3'))).toBe('VARVE_IO')
    expect(failures).toBe(2)
    await db.resume()
    expect(await db.get('late')).toBe('2')
    await db.close()
    expect([env.fs.openFiles(), env.fs.hasLocks()]).toEqual([[], false])
  })

  it('without a failure does nothing', async () => {
    const { db } = await openMemory()
    const snapshot = db.snapshot()
    await db.put('a', '1')
    await db.resume()
    expect(await db.get('a', { snapshot })).toBeUndefined()
    expect(await db.get('a')).toBe('1')
    await db.close()
  })

  it('fails while there is still no room, and works later', async () => {
    const { db, env } = await openMemory(TINY)
    await db.put('a', '1')
    env.fs.setCapacity(0)
    expect(await codeOf(() => db.put('b', '1'))).toBe('VARVE_NO_SPACE')
    expect(await codeOf(() => db.resume())).toBe('VARVE_NO_SPACE')
    env.fs.setCapacity(Number.POSITIVE_INFINITY)
    await db.resume()
    expect(await db.get('a')).toBe('1')
    expect(await db.put('b', '2')).toBeGreaterThan(1)
    await db.close()
  })
})
