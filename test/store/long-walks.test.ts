import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database, Range, Snapshot } from '../../src/index.js'
import { openMemory, pad } from './helpers.js'

/** Several times what a step walks over at once. */
const MANY = 20_000

/** A clock by which every look takes a while, and how often somebody let others have their turn. */
function countedTurns() {
  const env = memoryEnv()
  const counted = { turns: 0 }
  let nowMs = 0
  const clock = {
    ...env.clock,
    monotonicMs: () => {
      nowMs += 2
      return nowMs
    },
    sleep: (delayMs: number) => {
      counted.turns++
      return env.clock.sleep(delayMs)
    },
  }
  return { env: { ...env, clock }, counted }
}

async function fill(db: Database, value: string): Promise<void> {
  const ops = Array.from({ length: MANY }, (_, i) => ({ type: 'put' as const, key: pad(i), value }))
  await db.batch([...ops, { type: 'put', key: '~', value }])
}

function deleteAll(db: Database): Promise<number> {
  return db.batch(Array.from({ length: MANY }, (_, i) => ({ type: 'del' as const, key: pad(i) })))
}

describe('an iterator that walks over very many entries before it gives one', () => {
  it.each<[string, (db: Database) => Promise<unknown>, Range<string>, string[]]>([
    ['deleted ones', deleteAll, {}, ['~']],
    ['deleted ones, backward', deleteAll, { reverse: true, lt: '~' }, []],
    [
      'deleted ones in segments',
      async (db) => {
        await db.flush()
        await deleteAll(db)
        await db.flush()
      },
      {},
      ['~'],
    ],
    [
      'versions of one key',
      async (db) => {
        await deleteAll(db)
        for (let i = 0; i < MANY; i++) void db.put('5', `${i}`)
        await db.put('6', 'v')
      },
      {},
      ['5', '6', '~'],
    ],
  ])('lets others have their turn, and gives what there is: %s', async (_, change, range, wanted) => {
    const { env, counted } = countedTurns()
    const { db } = await openMemory({ workers: 0, memory: 2 ** 22 }, env)
    await fill(db, 'old')
    await change(db)
    // Sorts what memtables hold.
    await db.keys({ gte: '~' }).all()
    counted.turns = 0
    expect(await db.keys(range).all()).toEqual(wanted)
    expect(counted.turns).toBeGreaterThan(2)
    expect([...db.keysSync(range)]).toEqual(wanted)
    await db.close()
  })

  it('that a snapshot does not see, in either direction', async () => {
    const { db } = await openMemory({ workers: 0, memory: 2 ** 22 })
    await db.put('4', 'first')
    await db.put('~', 'last')
    const snapshot: Snapshot = db.snapshot()
    for (let i = 0; i < 3; i++) await fill(db, `${i}`)
    for (let i = 0; i < MANY; i++) void db.put('5', `${i}`)
    await db.sync()
    expect(await db.entries({ snapshot }).all()).toEqual([
      ['4', 'first'],
      ['~', 'last'],
    ])
    expect(await db.entries({ snapshot, reverse: true }).all()).toEqual([
      ['~', 'last'],
      ['4', 'first'],
    ])
    snapshot.close()
    await db.close()
  })
})
