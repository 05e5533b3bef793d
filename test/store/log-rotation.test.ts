import { describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { writeRate } from '../../src/tree/stall.js'
import { codeOf, openMemory, recovered, STORE, TINY, until, watched } from './helpers.js'

const KIB = 1024
/** A log file that grows beyond the size at which its name is made durable ahead. */
const ROOMY = { memory: 64 * KIB * KIB, memtableBytes: 8 * KIB * KIB, workers: 0, durability: 'os' as const }
const MIB_AND_MORE = 20

function value(letter: string): string {
  return letter.repeat(64 * KIB)
}

it('a log file that nobody needs any more while it is synced is closed before it is removed', async () => {
  const env = memoryEnv()
  const watch = watched(env)
  const { db } = await openMemory(ROOMY, watch.env as MemoryEnv)
  await db.put('key', 'value')
  const [log] = env.fs.list(STORE).filter((name) => name.endsWith('.log'))
  const { promise: gate, open: openGate } = makeGate()
  watch.beforeSync = () => {
    watch.beforeSync = async () => {}
    return gate
  }
  const synced = db.sync()
  let openOnRemoval: string[] | undefined
  env.fs.onStep = ({ op, path }) => {
    if (op === 'remove' && path.endsWith(log!)) openOnRemoval = env.fs.openFiles()
  }
  await db.flush()
  expect(openOnRemoval).toBeUndefined()
  openGate()
  await synced
  await until(() => openOnRemoval !== undefined)
  env.fs.onStep = undefined
  expect(openOnRemoval).not.toContain(`${STORE}/${log}`)
  expect(env.fs.list(STORE)).not.toContain(log)
  await db.close()
})

function makeGate(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open!: () => void
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

describe('the name of a log file', () => {
  it('is durable while the file fills: no write waits for it when the next file starts', async () => {
    const env = memoryEnv()
    const { db } = await openMemory(ROOMY, env)
    for (let i = 0; i < MIB_AND_MORE; i++) await db.put(`key${i}`, value('a'))
    await new Promise((resolve) => setImmediate(resolve))
    const afterPowerLoss = env.fs.crash('strict')
    const steps: string[] = []
    env.fs.onStep = ({ op, path }) => steps.push(`${op} ${path}`)
    const flushed = db.flush()
    const untilNext = steps.slice(
      0,
      steps.findIndex((step) => step.startsWith('create')),
    )
    expect(untilNext).not.toContain(`syncDirectory ${STORE}`)
    await flushed
    env.fs.onStep = undefined
    await db.close()
    expect(afterPowerLoss.list(STORE).filter((name) => name.endsWith('.log'))).toHaveLength(1)
  })

  it('that cannot be made durable stops writes, and what was promised stays', async () => {
    const env = memoryEnv()
    const { db } = await openMemory(ROOMY, env)
    await db.put('first', value('a'), { durability: 'disk' })
    await db.flush()
    const counter = env.fs.inject({ op: 'syncDirectory', path: /store$/, effect: { errno: 'EIO' } })
    let code: string | undefined
    for (let i = 0; i < 2 * MIB_AND_MORE && code === undefined; i++) {
      code = await codeOf(() => db.put(`key${i}`, value('b')))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(counter.fired).toBe(1)
    expect(code).toBe('VARVE_IO')
    expect(await codeOf(() => db.put('late', 'c'))).toBe('VARVE_POISONED')
    expect(await codeOf(() => db.close())).toBe('VARVE_IO')
    expect(await recovered(env.fs.crash('strict'), ROOMY)).toMatchObject({ first: value('a') })
  })

  it('is waited for by a write that is to be on disk', async () => {
    const env = memoryEnv()
    const { db } = await openMemory(ROOMY, env)
    await db.put('before', 'a')
    await db.flush()
    const written = Array.from({ length: MIB_AND_MORE }, (_, i) =>
      db.put(`key${i}`, value('b'), { durability: 'disk' }),
    )
    await Promise.all(written)
    expect(Object.keys(await recovered(env.fs.crash('strict'), ROOMY))).toHaveLength(MIB_AND_MORE + 1)
    await db.close()
  })
})

describe('the index of a memtable', () => {
  it('is used again by a later one, but not while a reader holds it', async () => {
    const { db } = await openMemory({ memory: 1 << 20, memtableBytes: 16 * KIB, workers: 0 })
    for (let i = 0; i < 100; i++) await db.put(`key${i}`, `old${i}`)
    const snapshot = db.snapshot()
    const entries = db.entries()[Symbol.asyncIterator]()
    const first = await entries.next()
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 100; i++) await db.put(`key${i}`, `new${round}-${i}`)
      await db.flush()
      expect(await db.get('key50')).toBe(`new${round}-50`)
      expect(await db.get('key500')).toBeUndefined()
      expect(await db.get('key50', { snapshot })).toBe('old50')
    }
    expect(first.value).toEqual(['key0', 'old0'])
    let seen = 1
    for (let next = await entries.next(); !next.done; next = await entries.next()) {
      expect(next.value[1]).toBe(`old${next.value[0].slice(3)}`)
      seen++
    }
    expect(seen).toBe(100)
    snapshot.close()
    await db.close()
  })
})

describe('memtables that are flushed one after another', () => {
  it('what one deletes stays deleted though the one before it, which has it, is in no version yet', async () => {
    const { db } = await openMemory(TINY)
    const flushed: number[] = []
    let rotations = 0
    db.on('log.rotated', () => rotations++)
    db.on('flush.ended', ({ segments }) => flushed.push(...segments))
    const fill = (name: string) => {
      for (const target = rotations + 1; rotations < target; ) void db.put(name, 'v'.repeat(100))
    }
    for (let i = 0; i < 20; i++) void db.put(`key${i}`, 'old')
    fill('a')
    for (let i = 0; i < 20; i++) void db.del(`key${i}`)
    fill('b')
    // Nothing was written yet: the two are flushed without a pause between them.
    expect(flushed).toEqual([])
    await db.flush()
    for (let i = 0; i < 20; i++) expect(await db.get(`key${i}`)).toBeUndefined()
    await db.close()
  })
})

describe('the rate of writes', () => {
  const rate = (waitingMemtables: number, activeShare: number, l0Segments = 0, memtableRoom = 0) =>
    writeRate({ waitingMemtables, activeShare, l0Segments, memtableRoom }, { l0SegmentsMax: 4 })

  const fallsBetween = (free: number, slowest: number, l0Segments: number, memtableRoom: number) => {
    const rateAt = (waiting: number, activeShare: number) =>
      rate(waiting, activeShare, l0Segments, memtableRoom)
    expect(rateAt(0, 1)).toBeUndefined()
    expect(rateAt(Math.floor(free), free % 1)).toBeUndefined()
    let last = Number.POSITIVE_INFINITY
    for (let tenths = Math.floor(free * 10) + 1; tenths <= slowest * 10; tenths++) {
      const now = rateAt(Math.floor(tenths / 10), (tenths % 10) / 10)!
      expect(now).toBeLessThan(last)
      last = now
    }
    for (let waiting = Math.ceil(free); waiting < slowest; waiting++)
      expect(rateAt(waiting, 1)).toBe(rateAt(waiting + 1, 0))
    expect(rateAt(slowest, 0)).toBe(rateAt(9, 1))
  }

  it('falls steadily while memtables fill, without a step when the next one starts', () => {
    fallsBetween(3, 4, 0, 0)
    fallsBetween(1.5, 4, 8, 0)
  })

  it('falls later where the cache leaves room for more memtables, up to twice as many, and fewer with level 0', () => {
    fallsBetween(3, 4, 0, 4)
    fallsBetween(4.5, 5.5, 0, 5.5)
    fallsBetween(6, 7, 0, 7)
    fallsBetween(6, 7, 0, 100)
    fallsBetween(4.5, 5.5, 2, 100)
    fallsBetween(3, 4, 4, 100)
    fallsBetween(1.5, 4, 8, 100)
  })

  it('falls with fewer memtables the more of level 0 waits for its merge', () => {
    expect(rate(2, 0.6, 4)).toBeUndefined()
    expect(rate(2, 0.6, 6)!).toBeGreaterThan(rate(2, 0.6, 7)!)
    expect(rate(2, 0.6, 8)).toBe(rate(2, 0.6, 12))
  })

  it('falls with the segments of level 0', () => {
    expect(rate(0, 0, 12)).toBeUndefined()
    expect(rate(0, 0, 13)!).toBeGreaterThan(rate(0, 0, 20)!)
  })
})
