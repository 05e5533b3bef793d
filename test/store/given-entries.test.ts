import { beforeAll, describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { STORE, TINY } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEYS = 1500
const BYTES = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const

const openBytes = (options: object) => open(STORE, { ...options, ...BYTES, env: memoryEnv() } as never)
type Db = Awaited<ReturnType<typeof open<Buffer, Buffer>>>

const keyAt = (index: number) => `key-${String(index).padStart(5, '0')}`

describe.each([
  ['every block in the cache', { memory: 8 << 20, blockBytes: 1024 }],
  ['most blocks not in the cache', { memory: 65_536, blockBytes: 1024 }],
])(`entries that were given, %s (seed ${SEED})`, (_, options) => {
  const random = new SeededRandom(SEED)
  const model = new Map<string, string>()
  let db: Db
  let sorted: string[] = []

  beforeAll(async () => {
    db = (await openBytes({ ...TINY, memtableBytes: 16_384, segmentBytes: 1 << 16, ...options })) as never
    // Older versions of every key stay: a reader has to pass over them.
    const snapshots = []
    for (let round = 0; round < 3; round++) {
      const ops = Array.from({ length: KEYS }, (_, index) => {
        // Sizes that stand together in a copy, and some that are too large for one.
        const value = `${round}/${index}/`.repeat(random.below(40) === 0 ? 600 : 1 + random.below(20))
        model.set(keyAt(index), value)
        return { type: 'put' as const, key: Buffer.from(keyAt(index)), value: Buffer.from(value) }
      })
      for (let from = 0; from < KEYS; from += 100) await db.batch(ops.slice(from, from + 100))
      if (round < 2) snapshots.push(db.snapshot())
    }
    sorted = [...model.keys()].sort()
    await db.entries().all()
  })

  it('may be written over at once, whatever comes after them', async () => {
    for (let read = 0; read < 60; read++) {
      const from = random.below(KEYS)
      const limit = read % 10 === 0 ? KEYS : 1 + random.below(80)
      const wanted = sorted.slice(from, from + limit)
      const found: string[] = []
      for (const [key, value] of db.entriesSync({ gte: Buffer.from(sorted[from]!), limit })) {
        found.push(key.toString())
        expect(value.toString()).toBe(model.get(key.toString()))
        key.fill(0)
        value.fill(255)
      }
      expect(found).toEqual(wanted)
    }
    const all = await db.entries().all()
    expect(all.map(([key, value]) => [key.toString(), value.toString()])).toEqual(
      sorted.map((key) => [key, model.get(key)]),
    )
  })

  it('stay as they are, whatever is read later', async () => {
    const given: { key: Buffer; value: Buffer; wanted: string }[] = []
    for (let read = 0; read < 40; read++) {
      const iterator = db.entries()
      const near = 10 + random.below(KEYS - 10)
      for (let seek = 0; seek < 4; seek++) {
        // Back and forth in one block, too.
        const wanted = near - random.below(10)
        iterator.seek(Buffer.from(sorted[wanted]!))
        const entries = await iterator.nextv(1 + random.below(30))
        for (const [i, [key, value]] of entries.entries())
          given.push({ key, value, wanted: sorted[wanted + i]! })
      }
      await iterator.close()
    }
    for (const { key, value, wanted } of given) {
      expect(key.toString()).toBe(wanted)
      expect(value.toString()).toBe(model.get(wanted))
    }
  })
})
