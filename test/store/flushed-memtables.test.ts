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

  it('goes once its memory is wanted, the oldest first, and then segments answer', async () => {
    const { db } = await openMemory(OPTIONS, memoryEnv({ seed: 3 }))
    const isInMemory = async (key: string) => (await blocksOf(db, () => db.getSync(key))) === 0
    const most: number[] = []
    for (const prefix of ['a', 'b', 'c', 'd', 'e', 'f']) {
      await putMany(db, prefix)
      await db.flush()
      most.push(db.stats().memory.memtableBytes)
    }
    expect([await isInMemory('e0'), await isInMemory('f9')]).toEqual([true, true])
    expect([await isInMemory('a0'), await isInMemory('c9')]).toEqual([false, false])
    // Three of them, each with a small index.
    expect(Math.max(...most)).toBeLessThan(4 * MEMTABLE_BYTES)
    for (const prefix of ['a', 'b', 'c', 'd', 'e', 'f']) expect(db.getSync(`${prefix}9`)).toMatch(/^v+$/)
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
