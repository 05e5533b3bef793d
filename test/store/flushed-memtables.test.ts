import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { type OpenedStore, openMemory, TINY } from './helpers.js'
import { withoutMerges } from './without-merges.js'

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

  const PREFIXES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']

  async function putAndFlush(db: Db): Promise<void> {
    for (const prefix of PREFIXES) {
      await putMany(db, prefix)
      await db.flush()
    }
  }

  /** The prefixes whose keys memtables answer. */
  async function kept(db: Db): Promise<string> {
    const inMemory: string[] = []
    for (const prefix of PREFIXES)
      if ((await blocksOf(db, () => db.getSync(`${prefix}0`))) === 0) inMemory.push(prefix)
    return inMemory.join('')
  }

  it('stays as long as memory has room for it, and then the oldest goes', async () => {
    const { db } = await openMemory({ ...OPTIONS, memory: 8 * MEMTABLE_BYTES }, memoryEnv({ seed: 3 }))
    await putAndFlush(db)
    expect(await kept(db)).toMatch(/^(e?f)?ghij$/)
    expect(db.stats().memory.usedBytes).toBeLessThanOrEqual(8 * MEMTABLE_BYTES)
    for (const prefix of PREFIXES) expect(db.getSync(`${prefix}9`)).toMatch(/^v+$/)
    await db.close()
  })

  it('is one of three where a load comes faster than level 0 is merged', async () => {
    const { env, endMerges } = withoutMerges(memoryEnv({ seed: 6 }))
    const { db } = await openMemory({ ...OPTIONS, workers: 1, l0SegmentsMax: 4 }, env)
    await putAndFlush(db)
    expect(await kept(db)).toBe('ij')
    await endMerges(db.close())
  })

  it('leaves its memory to blocks that are asked for', async () => {
    const { db, env } = await openMemory({ ...OPTIONS, memory: 8 * MEMTABLE_BYTES }, memoryEnv({ seed: 5 }))
    await putAndFlush(db)
    for (let round = 0; round < 4; round++) {
      for (const prefix of 'abcdef') for (let i = 0; i < 10; i++) await db.get(`${prefix}${i}`)
      await env.clock.sleep(0)
    }
    expect(await kept(db)).toBe('ij')
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
