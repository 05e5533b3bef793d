import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { nodeEnv } from '../../src/env/node-env.js'
import { FairTurn } from '../../src/store/fair-turn.js'
import { failureOf, type OpenedStore, openMemory, pad, STORE } from './helpers.js'

function block(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

it.each([0.2, 2, 10, 25])('a loop of steps of %d ms lets the event loop turn', async (stepMs) => {
  const fairTurn = new FairTurn(nodeEnv.clock)
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  let waits = 0
  for (const end = performance.now() + 150; performance.now() < end; ) {
    block(stepMs)
    const turn = fairTurn.due()
    if (turn) waits++
    await turn
  }
  clearInterval(timer)
  expect(waits).toBeGreaterThan(1)
  expect(turns).toBeGreaterThan(1)
})

it('asks for no turn where the loop turns by itself', async () => {
  const fairTurn = new FairTurn(nodeEnv.clock)
  for (let i = 0; i < 20; i++) {
    expect(fairTurn.due()).toBeUndefined()
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
  }
})

describe('a loop that only awaits a store', () => {
  let db: OpenedStore['db']
  beforeEach(async () => {
    db = (await openMemory({ durability: 'memory' })).db
    await db.batch(Array.from({ length: 2000 }, (_, i) => ({ type: 'put', key: pad(i), value: pad(i) })))
  })
  afterEach(() => db.close())

  const keys = Array.from({ length: 100 }, (_, i) => pad(i * 7))
  it.each<[string, (i: number) => Promise<unknown>]>([
    ['put', (i) => db.put(pad(i), 'x')],
    ['get', (i) => db.get(pad(i % 2000))],
    ['getMany', () => db.getMany(keys)],
    ['entries().all()', (i) => db.entries({ gte: pad(i % 2000), limit: 10 }).all()],
    ['keys().next()', (i) => firstKey(i)],
  ])('lets the event loop turn between calls of %s', async (_, step) => {
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    for (let i = 0, end = performance.now() + 150; performance.now() < end; i++) await step(i)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(5)
  })

  async function firstKey(i: number): Promise<void> {
    for await (const key of db.keys({ gte: pad(i % 1999) })) {
      expect(key).toBe(pad(i % 1999))
      break
    }
  }
})

describe('opening a store whose log is long', () => {
  const sleeps = { count: 0 }
  /** As `env`, with a clock on which a millisecond passes between two looks. */
  function slow(env: MemoryEnv): MemoryEnv {
    let nowMs = 0
    const sleep = (ms: number) => {
      sleeps.count++
      return env.clock.sleep(ms)
    }
    return { ...env, clock: { ...env.clock, monotonicMs: () => nowMs++, sleep } }
  }

  it.each([
    [false, 'gives the event loop turns while it is recovered, to nobody else'],
    [true, 'holds the event loop where it is only read, beside a writer'],
  ])('readOnly %s: %s', async (readOnly) => {
    const { db, env } = await openMemory({ durability: 'os' })
    for (let i = 0; i < 40; i++) await db.put(pad(i), 'x'.repeat(100_000))
    const fs = env.fs.clone()
    await db.close()
    const again = memoryEnv({ fs })
    const found = fs.list(STORE).length
    sleeps.count = 0
    const opening = openMemory({ readOnly, workers: 0 }, slow(again))
    let turns = 0
    let isOpen = false
    const look = () => {
      // Recovery changes nothing: a new manifest is the end of it.
      if (fs.list(STORE).length === found) turns++
      if (!isOpen) setImmediate(look)
    }
    setImmediate(look)
    if (!readOnly) expect((await failureOf(() => openMemory({}, again)))?.code).toBe('VARVE_LOCKED')
    const opened = await opening
    isOpen = true
    if (readOnly) expect(sleeps.count).toBe(0)
    else expect(turns).toBeGreaterThan(5)
    expect(await opened.db.get(pad(39))).toHaveLength(100_000)
    expect(opened.db.position).toBe(40)
    await opened.db.close()
  })
})
