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

it('asks for a turn at the second question of all: code is cold', () => {
  const fairTurn = new FairTurn(nodeEnv.clock)
  expect(fairTurn.due()).toBeUndefined()
  expect(fairTurn.due()).toBeInstanceOf(Promise)
})

describe('a slice', () => {
  let nowMs = 0
  let fairTurn: FairTurn
  beforeEach(async () => {
    nowMs = 0
    fairTurn = new FairTurn({ ...nodeEnv.clock, monotonicMs: () => nowMs })
    expect(fairTurn.isFresh).toBe(true)
    fairTurn.due()
    expect(fairTurn.isFresh).toBe(false)
    await fairTurn.due()
    expect(fairTurn.isFresh).toBe(true)
  })
  const loopTurns = () => new Promise((resolve) => setTimeout(resolve, 2))

  it('counts what was done in a turn that was waited for, before the first question', async () => {
    nowMs += 2
    const turn = fairTurn.due()
    expect(turn).toBeInstanceOf(Promise)
    await turn
    nowMs += 0.75
    expect(fairTurn.due()).toBeUndefined()
    nowMs += 0.5
    expect(fairTurn.due()).toBeInstanceOf(Promise)
  })

  it('is whole for who asks in a turn that nobody waited for', async () => {
    await loopTurns()
    for (let i = 0; i < 3; i++) {
      nowMs += 2
      expect(fairTurn.due()).toBeUndefined()
      nowMs += 0.75
      expect(fairTurn.due()).toBeUndefined()
      await loopTurns()
    }
  })

  it('is over once it was spent', async () => {
    for (const isAsked of [false, true, false]) {
      if (isAsked) expect(fairTurn.due()).toBeUndefined()
      fairTurn.spend()
      const turn = fairTurn.due()
      expect(turn).toBeInstanceOf(Promise)
      await turn
    }
    await loopTurns()
    fairTurn.spend()
    expect(fairTurn.due()).toBeUndefined()
    await fairTurn.due()
    expect(fairTurn.due()).toBeUndefined()
    expect(fairTurn.due()).toBeUndefined()
  })
})

it.each([
  [64, 0],
  [8, 8],
])('%d first puts at once: %d are committed before the event loop turns', async (count, early) => {
  const { db } = await openMemory({ durability: 'os' })
  const puts = Array.from({ length: count }, (_, i) => db.put(pad(i), 'x'))
  for (let i = 0; i < 20; i++) await undefined
  expect(db.position).toBe(early)
  await Promise.all(puts)
  expect(db.position).toBe(count)
  await db.close()
})

describe('the background thread', () => {
  const value = 'x'.repeat(1000)
  async function startedBy(pace: () => Promise<unknown>): Promise<{ position: number; rotatedAt: number }> {
    const inner = memoryEnv()
    let position = -1
    const startWorker = () => {
      if (position < 0) position = db.position
      return undefined
    }
    const { db } = await openMemory({ memtableBytes: 65536, workers: 1 }, { ...inner, startWorker })
    let rotatedAt = -1
    db.on('log.rotated', () => {
      rotatedAt = db.position
    })
    while (rotatedAt < 0) {
      await Promise.all(Array.from({ length: 4 }, (_, i) => db.put(pad(i), value)))
      await pace()
    }
    await db.flush()
    await db.close()
    return { position, rotatedAt }
  }

  it('starts while the first memtable fills, where writers wait for turns', async () => {
    const { position, rotatedAt } = await startedBy(() => Promise.resolve())
    expect(position).toBeGreaterThan(0)
    expect(position).toBeLessThan(rotatedAt)
  })

  it('starts with the first flush where nothing is in a hurry', async () => {
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    const { position, rotatedAt } = await startedBy(() => turn().then(turn))
    expect(position).toBeGreaterThanOrEqual(rotatedAt)
  })
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
