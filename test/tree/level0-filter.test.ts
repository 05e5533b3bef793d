import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { Level0Filter } from '../../src/tree/level0-filter.js'
import { hashKey } from '../../src/util/hash.js'
import { openMemory, TINY } from '../store/helpers.js'

const MEMORY = 1 << 20
const SEGMENTS_MAX = 16
const KEYS = 500

const { clock } = memoryEnv()

function hashesOf(name: string, count = KEYS): number[] {
  return Array.from({ length: count }, (_, i) => {
    const key = Buffer.from(`${name}-${i}`)
    return hashKey(key, 0, key.length)
  })
}

async function put(filter: Level0Filter, segment: number, hashes: readonly number[]): Promise<number> {
  const bit = await filter.begin(segment, clock)
  if (bit > 0) for (const hash of hashes) filter.add(bit, hash)
  return bit
}

/** How many of the hashes may be in the segment of the bit. */
function countOf(filter: Level0Filter, bit: number, hashes: readonly number[]): number {
  return hashes.filter((hash) => (filter.candidates(hash) & bit) !== 0).length
}

describe('the filter of level 0', () => {
  it('says yes to every key of a segment, and no to nearly all others', async () => {
    const filter = new Level0Filter(MEMORY)
    const segments = Array.from({ length: SEGMENTS_MAX }, (_, i) => hashesOf(`segment ${i}`))
    const bits: number[] = []
    for (const [i, hashes] of segments.entries()) bits.push(await put(filter, i, hashes))
    const absent = hashesOf('nowhere', 5000)
    for (const [i, bit] of bits.entries()) {
      expect(countOf(filter, bit, segments[i]!)).toBe(KEYS)
      expect(countOf(filter, bit, absent)).toBeLessThan(absent.length / 20)
      expect(filter.retain(i)).toBe(bit)
    }
    expect(filter.sizeBytes).toBe(MEMORY / 64)
  })

  it('says yes about what it does not hold: other segments, and those beyond the sixteenth', async () => {
    const filter = new Level0Filter(MEMORY)
    const unknown = filter.retain(99)
    expect(countOf(filter, unknown, hashesOf('anything'))).toBe(KEYS)
    for (let i = 0; i < SEGMENTS_MAX; i++) expect(await filter.begin(i, clock)).toBeGreaterThan(0)
    expect(await filter.begin(SEGMENTS_MAX, clock)).toBe(0)
    expect(filter.retain(SEGMENTS_MAX)).toBe(unknown)
    filter.release(SEGMENTS_MAX)
    filter.release(99)
    expect(countOf(filter, unknown, hashesOf('anything'))).toBe(KEYS)
  })

  it('holds a segment until the last one who retained it lets go', async () => {
    const filter = new Level0Filter(MEMORY)
    const old = hashesOf('old')
    const bit = await put(filter, 0, old)
    expect(filter.retain(0)).toBe(bit)
    filter.release(0)
    for (let i = 1; i < SEGMENTS_MAX; i++) await put(filter, i, hashesOf(`segment ${i}`))
    expect(await filter.begin(SEGMENTS_MAX, clock)).toBe(0)
    expect(countOf(filter, bit, old)).toBe(KEYS)
    filter.release(0)
    expect(await filter.begin(SEGMENTS_MAX, clock)).toBe(bit)
  })

  it('forgets a segment before another one takes its bit', async () => {
    const filter = new Level0Filter(MEMORY)
    const kept = hashesOf('kept')
    const keptBit = await put(filter, 0, kept)
    for (let i = 1; i < SEGMENTS_MAX; i++) await put(filter, i, hashesOf(`first ${i}`))
    for (let i = 1; i < SEGMENTS_MAX; i++) filter.release(i)
    const bits: number[] = []
    for (let i = 1; i < SEGMENTS_MAX; i++)
      bits.push(await put(filter, SEGMENTS_MAX + i, hashesOf(`second ${i}`)))
    for (const [i, bit] of bits.entries()) {
      expect(bit).not.toBe(keptBit)
      expect(countOf(filter, bit, hashesOf(`second ${i + 1}`))).toBe(KEYS)
      for (let j = 1; j < SEGMENTS_MAX; j++)
        expect(countOf(filter, bit, hashesOf(`first ${j}`))).toBeLessThan(KEYS / 20)
    }
    expect(countOf(filter, keptBit, kept)).toBe(KEYS)
  })

  it('takes memory only while it holds a segment', async () => {
    const filter = new Level0Filter(MEMORY)
    expect(filter.sizeBytes).toBe(0)
    await put(filter, 0, hashesOf('one'))
    await put(filter, 1, hashesOf('two'))
    filter.release(0)
    expect(filter.sizeBytes).toBeGreaterThan(0)
    filter.release(1)
    expect(filter.sizeBytes).toBe(0)
    const bit = await put(filter, 2, hashesOf('three'))
    expect(countOf(filter, bit, hashesOf('one'))).toBeLessThan(KEYS / 20)
  })

  it('stays small whatever memory a store is told to use', async () => {
    for (const memory of [64 * 1024, 2 ** 46]) {
      const filter = new Level0Filter(memory)
      const hashes = hashesOf('key', 10)
      const bit = await put(filter, 0, hashes)
      expect(countOf(filter, bit, hashes)).toBe(10)
      expect(filter.sizeBytes).toBe(Math.min(2 ** 24, memory / 64))
    }
  })

  it('may be emptied by those who let go while it is cleared', async () => {
    const filter = new Level0Filter(MEMORY)
    for (let i = 0; i < SEGMENTS_MAX; i++) await put(filter, i, hashesOf(`segment ${i}`))
    filter.release(0)
    const begun = filter.begin(SEGMENTS_MAX, clock)
    for (let i = 1; i < SEGMENTS_MAX; i++) filter.release(i)
    const bit = await begun
    const hashes = hashesOf('new')
    for (const hash of hashes) filter.add(bit, hash)
    expect(countOf(filter, bit, hashes)).toBe(KEYS)
    expect(countOf(filter, bit, hashesOf('segment 0'))).toBeLessThan(KEYS / 20)
  })
})

describe('a store whose level 0 is deep', () => {
  const KEY_COUNT = 400
  const OPTIONS = { ...TINY, l0SegmentsMax: 100 }

  it('reads every key as it was written last, while segments come and go', async () => {
    const { db, env } = await openMemory(OPTIONS)
    const wanted = new Map<string, string>()
    const write = async (round: number) => {
      // Other keys in each round, so that segments hold some of all keys each.
      for (let i = round % 7; i < KEY_COUNT; i += 7) {
        const key = `key ${i}`
        if (round % 5 === 4 && i % 3 === 0) {
          wanted.delete(key)
          await db.del(key)
        } else {
          wanted.set(key, `round ${round}`)
          await db.put(key, `round ${round}`)
        }
      }
      if (round === 3) {
        for (const key of wanted.keys()) if (key >= 'key 2' && key < 'key 3') wanted.delete(key)
        await db.clear({ gte: 'key 2', lt: 'key 3' })
      }
      await db.flush()
    }
    const check = async (store: typeof db) => {
      const keys = Array.from({ length: KEY_COUNT * 2 }, (_, i) => `key ${i}`)
      const values = keys.map((key) => wanted.get(key))
      expect(keys.map((key) => store.getSync(key))).toEqual(values)
      expect(await store.getMany(keys)).toEqual(values)
    }
    for (let round = 0; round < 24; round++) {
      await write(round)
      if (round % 4 === 3) await check(db)
    }
    expect(db.stats().levels[0]!.segments).toBeGreaterThan(SEGMENTS_MAX + 4)
    await db.compact()
    await check(db)
    for (let round = 24; round < 32; round++) await write(round)
    await check(db)
    await db.close()
    const again = await openMemory(OPTIONS, env)
    await check(again.db)
    await again.db.close()
  })

  it('counts the filter as a part of its memory, from the third segment until they are merged', async () => {
    const { db } = await openMemory({ ...OPTIONS, memtableBytes: 64 * 1024 })
    const filterBytes = (1 << 20) / 64
    const sizes: number[] = []
    for (let round = 0; round < 4; round++) {
      await db.put('key', `round ${round}`)
      await db.flush()
      sizes.push(db.stats().memory.tableBytes)
    }
    expect(sizes[1]).toBeLessThan(filterBytes)
    expect(sizes[2]).toBeGreaterThan(filterBytes)
    expect(sizes[3]! - sizes[2]!).toBeLessThan(filterBytes)
    await db.compact()
    expect(db.stats().memory.tableBytes).toBeLessThan(filterBytes)
    expect(db.getSync('key')).toBe('round 3')
    await db.close()
  })
})
