import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { type OpenedStore, openMemory, TINY } from './helpers.js'

type Db = OpenedStore['db']

const MEMTABLE_BYTES = 64 * 1024
const OPTIONS = { ...TINY, memory: 2 ** 20, memtableBytes: MEMTABLE_BYTES, l0SegmentsMax: 100 }
const FAR_AWAY = 4_000_000_000_000

/** Blocks that were asked for while `reads` ran, in the cache or not. */
async function blocksOf(db: Db, reads: () => unknown): Promise<number> {
  const before = db.stats().cache
  await reads()
  const after = db.stats().cache
  return after.hits + after.misses - before.hits - before.misses
}

/** A little more than half of a memtable. */
async function putMany(db: Db, prefix: string): Promise<void> {
  for (let i = 0; i < 10; i++) await db.put(`${prefix}${i}`, 'v'.repeat(MEMTABLE_BYTES / 18))
}

describe('a memtable that was flushed', () => {
  it('answers point reads out of its memory: hits, what is deleted and what is not there', async () => {
    const { db } = await openMemory(OPTIONS, memoryEnv({ seed: 1 }))
    await db.put('put', '1')
    await db.put('deleted', '1')
    await db.flush()
    await db.put('newer', '2')
    await db.del('deleted')
    await db.put('expires', '2', { expiresAt: FAR_AWAY })
    await db.flush()
    expect(db.stats().levels[0]!.segments).toBe(2)
    // What looks for entries that expire begins by itself, with a scan of all that is in segments.
    while (db.stats().cache.misses === 0) await new Promise((resolve) => setImmediate(resolve))
    const blocks = await blocksOf(db, async () => {
      expect(await db.get('put')).toBe('1')
      expect(db.getSync('newer')).toBe('2')
      expect(db.getSync('expires')).toBe('2')
      expect(await db.getMany(['deleted', 'newer', 'oops'])).toEqual([undefined, '2', undefined])
    })
    expect(blocks).toBe(0)
    await db.close()
  })

  it('hides nothing newer, and shows snapshots what they saw', async () => {
    const { db } = await openMemory(OPTIONS, memoryEnv({ seed: 2 }))
    await db.put('a', '1')
    await db.put('b', '1')
    await db.flush()
    const snapshot = db.snapshot()
    await db.put('a', '2')
    await db.clear({ gte: 'b' })
    await db.flush()
    expect([db.getSync('a'), db.getSync('b')]).toEqual(['2', undefined])
    await db.put('b', '3')
    expect([db.getSync('a'), db.getSync('b')]).toEqual(['2', '3'])
    expect([db.getSync('a', { snapshot }), db.getSync('b', { snapshot })]).toEqual(['1', '1'])
    snapshot.close()
    await db.close()
  })

  /** In memory for eight memtables. */
  const openRoomy = (seed: number) =>
    openMemory({ ...OPTIONS, memory: 8 * MEMTABLE_BYTES }, memoryEnv({ seed }))
  const KEYS = Array.from({ length: 80 }, (_, i) => `key${String(i).padStart(2, '0')}`)

  /** Nearly five memtables, more quickly than any can be flushed. */
  async function putBurst(db: Db): Promise<void> {
    for (const key of KEYS) void db.put(key, 'v'.repeat(MEMTABLE_BYTES / 18))
    await db.flush()
  }

  /** How many of the keys, which were written in order, memtables answer; always the newest. */
  async function keptCount(db: Db): Promise<number> {
    const answers: boolean[] = []
    for (const key of KEYS) answers.push((await blocksOf(db, () => db.getSync(key))) === 0)
    const count = answers.filter((isKept) => isKept).length
    expect(answers.slice(KEYS.length - count)).not.toContain(false)
    return count
  }

  it('stays after a burst of writes as long as memory has room for it', async () => {
    const { db } = await openRoomy(3)
    await putBurst(db)
    expect(await keptCount(db)).toBe(KEYS.length)
    expect(db.stats().memory.usedBytes).toBeLessThanOrEqual(8 * MEMTABLE_BYTES)
    await db.close()
  })

  it('leaves its memory to memtables to come, the oldest first, down to three of them', async () => {
    const { db } = await openRoomy(4)
    await putBurst(db)
    const { memtableBytes } = db.stats().memory
    const kept: number[] = []
    for (const prefix of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await putMany(db, prefix)
      await db.flush()
      kept.push(await keptCount(db))
      expect(db.stats().memory.memtableBytes).toBeLessThanOrEqual(memtableBytes * 1.1)
    }
    expect(kept[0]).toBeLessThan(KEYS.length)
    expect(kept.slice(1).every((count, i) => count < kept[i]! || count === 0)).toBe(true)
    expect(kept).toContain(0)
    await db.close()
  })

  it('leaves its memory to blocks that are asked for', async () => {
    const { db, env } = await openRoomy(5)
    for (const key of KEYS) await db.put(`older ${key}`, 'v'.repeat(MEMTABLE_BYTES / 18))
    await putBurst(db)
    for (let round = 0; round < 4; round++) {
      for (const key of KEYS) await db.get(`older ${key}`)
      await env.clock.sleep(0)
    }
    const kept = await keptCount(db)
    expect(kept).toBeGreaterThan(0)
    expect(kept).toBeLessThan(KEYS.length * 0.6)
    expect(db.stats().memory.usedBytes).toBeLessThanOrEqual(8 * MEMTABLE_BYTES)
    await db.close()
  })

  it('stays whole for an iterator over it while later ones are written', async () => {
    const { db } = await openMemory(OPTIONS, memoryEnv({ seed: 4 }))
    await putMany(db, 'a')
    const iterator = db.entries()
    expect((await iterator.next()).value?.[0]).toBe('a0')
    for (const prefix of ['b', 'c', 'd', 'e', 'f']) {
      await putMany(db, prefix)
      await db.flush()
    }
    const rest = await iterator.nextv(100)
    expect(rest.map(([key]) => key)).toEqual(Array.from({ length: 9 }, (_, i) => `a${i + 1}`))
    expect(rest.every(([, value]) => /^v+$/.test(value))).toBe(true)
    await iterator.close()
    await db.close()
  })
})
