import { beforeAll, describe, expect, it } from 'vitest'
import { RecentlyMissed } from '../../src/cache/recently-missed.js'
import type { Database } from '../../src/database.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { type OpenedStore, openMemory, TINY } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEYS = 4000
/** The least there is: a dozen blocks. */
const OPTIONS = { ...TINY, memory: 65_536, memtableBytes: 8192, segmentBytes: 32_768, blockBytes: 1024 }

const keyAt = (index: number) => `key-${String(index).padStart(5, '0')}`

describe.each([
  ['lz4', OPTIONS],
  ['none', OPTIONS],
  // Several blocks in each region of the cache.
  ['none', { ...OPTIONS, memory: 262_144, blockBytes: 256 }],
] as const)(`a store much larger than its cache, %s, %j (seed ${SEED})`, (compression, options) => {
  let db: OpenedStore['db']
  const random = new SeededRandom(SEED)
  const model = new Map<string, string>()
  let sorted: string[] = []

  beforeAll(async () => {
    ;({ db } = await openMemory({ ...options, compression }))
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < KEYS; index++) {
        if (round > 0 && random.below(3) > 0) continue
        const key = keyAt(index)
        // Values that tell blocks apart, of sizes that make every block another one.
        const value = `${round}/${index}/`.repeat(1 + random.below(12))
        await db.put(key, value)
        model.set(key, value)
      }
      for (let count = 0; count < 20; count++) {
        const from = random.below(KEYS)
        for (let index = from; index < from + random.below(60); index++) {
          await db.del(keyAt(index))
          model.delete(keyAt(index))
        }
      }
    }
    await db.flush()
    sorted = [...model.keys()].sort()
  })

  it('gives point reads and any number of iterators, all at once, what is theirs', async () => {
    const open = Array.from({ length: 12 }, () => startWalk())
    for (let step = 0; step < 3000; step++) {
      const walk = open[random.below(open.length)]!
      const { value, done } = walk.iterator.next()
      const expected = walk.keys[walk.at++]
      if (expected === undefined) {
        expect(done).toBe(true)
        open[open.indexOf(walk)] = startWalk()
      } else {
        expect(value).toEqual([expected, model.get(expected)])
      }
      const key = keyAt(random.below(KEYS))
      if (random.below(2) === 0) expect(db.getSync(key)).toBe(model.get(key))
      if (random.below(40) === 0) {
        walk.iterator.return!()
        open[open.indexOf(walk)] = startWalk()
      }
    }
    for (const { iterator } of open) iterator.return!()
  })

  it('lets one iterator seek again and again, forward and backward', async () => {
    for (const reverse of [false, true]) {
      const iterator = db.entries({ reverse })
      for (let count = 0; count < 300; count++) {
        const key = keyAt(random.below(KEYS))
        iterator.seek(key)
        for (const expected of walkFrom(key, reverse).slice(0, random.below(30)))
          expect((await iterator.next()).value).toEqual([expected, model.get(expected)])
      }
      await iterator.close()
    }
  })

  function walkFrom(key: string, reverse: boolean): string[] {
    return reverse ? sorted.filter((other) => other <= key).reverse() : sorted.filter((other) => other >= key)
  }

  function startWalk() {
    const key = keyAt(random.below(KEYS))
    const reverse = random.below(3) === 0
    const limit = 1 + random.below(60)
    const range = reverse ? { lte: key } : { gte: key }
    return {
      iterator: db.entriesSync({ ...range, reverse, limit }),
      keys: walkFrom(key, reverse).slice(0, limit),
      at: 0,
    }
  }
})

describe('a full cache', () => {
  it('keeps blocks that are read again, not each that is looked into', async () => {
    const { db } = await openMemory({ ...OPTIONS, memory: 2 ** 20 })
    const value = 'x'.repeat(700)
    for (let index = 0; index < KEYS; index++) await db.put(keyAt(index), `${index}${value}`)
    await db.compact()
    const lookAt = (index: number) => [...db.keysSync({ gte: keyAt(index), limit: 1 })]
    const readAll = () => {
      for (let index = 0; index < KEYS; index++) lookAt((index * 1009) % KEYS)
    }
    readAll()
    const misses = () => db.stats().cache.misses
    const look = () => {
      const before = misses()
      for (const index of [100, 1000, 2000]) lookAt(index)
      return misses() - before
    }
    for (let count = 0; count < 4; count++) look()
    expect(look()).toBe(0)
    const before = misses()
    readAll()
    expect(misses() - before).toBeGreaterThan(1000)
    // Of three blocks.
    expect(look()).toBeLessThan(2)
    await db.close()
  })

  it('keeps rows that are read again, however many others are read once', async () => {
    const { db } = await openMemory({ ...OPTIONS, memory: 2 ** 20 })
    const value = 'x'.repeat(300)
    for (let index = 0; index < KEYS; index++) await db.put(keyAt(index), `${index}${value}`)
    await db.compact()
    const hot = [100, 1000, 2000]
    const misses = () => db.stats().cache.misses
    let missed = 0
    for (let index = 0; index < KEYS * 16; index++) {
      db.getSync(keyAt((index * 1009) % KEYS))
      if (index % 100 > 0) continue
      const before = misses()
      for (const one of hot) expect(db.getSync(keyAt(one))).toBe(`${one}${value}`)
      if (index > KEYS) missed += misses() - before
    }
    // Now and then a bucket of the table has more rows than places. Rows that leave in their turn are missed 13 to 23 times.
    expect(missed).toBeLessThan(8)
    expect(db.stats().cache.misses).toBeGreaterThan(KEYS)
    await db.close()
  })

  it("is passed by a scan, whose entries are the caller's for good", async () => {
    const { db } = await openMemory({ ...OPTIONS, keyEncoding: 'buffer', valueEncoding: 'buffer' } as never)
    const buffers = db as unknown as Database<Buffer, Buffer>
    for (let index = 0; index < KEYS; index++)
      await buffers.put(Buffer.from(keyAt(index)), Buffer.from(`${index}/`.repeat(9)))
    await buffers.compact()
    await buffers.entries().all()
    const { entries } = buffers.stats().cache
    const all = await buffers.entries().all()
    for (const [index, [key, value]] of all.entries()) {
      expect(key.toString()).toBe(keyAt(index))
      expect(value.toString()).toBe(`${index}/`.repeat(9))
    }
    expect(all.length).toBe(KEYS)
    expect(buffers.stats().cache.entries).toBeLessThan(entries + 5)
    await buffers.close()
  })
})

describe('what was missed lately', () => {
  it('is known when it comes again, until others took its place', () => {
    const missed = new RecentlyMissed(2 ** 20)
    expect([missed.note(7), missed.note(7), missed.note(2 ** 40 + 7)]).toEqual([false, true, false])
    for (let id = 1000; id < 20_000; id++) missed.note(id)
    expect(missed.note(7)).toBe(false)
  })

  it('takes a place for a share of the memory, but never much', () => {
    const missed = new RecentlyMissed(2 ** 46)
    expect([missed.note(7), missed.note(7)]).toEqual([false, true])
    // More than there may be places: some of them are taken by others.
    for (let id = 1; id <= 200_000; id++) missed.note(id)
    expect(missed.note(7)).toBe(false)
  })
})
