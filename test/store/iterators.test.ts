import { beforeEach, describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database, OpenOptions, Range } from '../../src/index.js'
import { codeOf, openMemory, pad, STORE, TINY } from './helpers.js'

const KEYS = ['', 'a', 'aa', 'ab', 'b', 'ba', 'bb', 'c', 'é', '水']

let db: Database<string, string>

/** Half of the keys in segments, half in the memtable, older versions and tombstones between them. */
beforeEach(async () => {
  db = (await openMemory(TINY)).db
  for (const [i, key] of KEYS.entries()) if (i % 2 === 0) void db.put(key, 'old')
  for (const key of ['gone', 'a0', 'zz']) void db.put(key, 'gone')
  await db.flush()
  for (const key of ['gone', 'a0', 'zz']) void db.del(key)
  await Promise.all(KEYS.map((key) => db.put(key, key)))
  return () => db.close()
})

/** What a range selects, by the definition. */
function selected(range: Range<string>): string[] {
  const isBelow = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0
  const { gt, gte, lt, lte, prefix, reverse, limit } = range
  let keys = KEYS.filter(
    (key) =>
      (gt === undefined || isBelow(gt, key)) &&
      (gte === undefined || !isBelow(key, gte)) &&
      (lt === undefined || isBelow(key, lt)) &&
      (lte === undefined || !isBelow(lte, key)) &&
      (prefix === undefined || key.startsWith(prefix)),
  )
  if (reverse) keys = keys.toReversed()
  return limit === undefined || limit < 0 ? keys : keys.slice(0, limit)
}

const BOUNDS: Range<string>[] = [
  {},
  { gte: '' },
  { gt: '' },
  { lt: '' },
  { lte: '' },
  { gt: 'a' },
  { gte: 'a' },
  { gt: 'a', lt: 'b' },
  { gte: 'a', lte: 'b' },
  { gt: 'a', lte: 'a' },
  { gte: 'a', lte: 'a' },
  { gte: 'b', lt: 'a' },
  { gt: 'zz' },
  { gte: '水' },
  { gt: '水' },
  { prefix: '' },
  { prefix: 'a' },
  { prefix: 'b', gt: 'b' },
  { prefix: 'b', lt: 'bb' },
  { prefix: 'b', gte: 'c' },
  { prefix: 'é' },
  { prefix: 'x' },
]
const ORDERS: Range<string>[] = [
  ...[{}, { reverse: true }, { reverse: false }],
  ...[{ limit: 0 }, { limit: 2 }, { limit: -1 }, { limit: Number.POSITIVE_INFINITY }],
  ...[
    { reverse: true, limit: 3 },
    { reverse: true, limit: 0 },
    { reverse: true, limit: -1 },
  ],
]

describe('a range', () => {
  it.each(
    BOUNDS,
  )('%j selects exactly its keys, in every order and limit, in every way to read it', async (bounds) => {
    for (const order of ORDERS) {
      const range = { ...bounds, ...order }
      const wanted = selected(range)
      expect(await db.keys(range).all()).toEqual(wanted)
      expect(await db.values(range).all()).toEqual(wanted)
      expect(await db.entries(range).all()).toEqual(wanted.map((key) => [key, key]))
      expect([...db.keysSync(range)]).toEqual(wanted)
      expect([...db.valuesSync(range)]).toEqual(wanted)
      expect([...db.entriesSync(range)]).toEqual(wanted.map((key) => [key, key]))
      const stepped: string[] = []
      for await (const key of db.keys(range)) stepped.push(key)
      expect(stepped).toEqual(wanted)
    }
    expect(db.stats().snapshots.count).toBe(0)
  })

  it('with a prefix of 0xff bytes ends where the prefix does', async () => {
    const options = { ...TINY, keyEncoding: 'buffer', valueEncoding: 'utf8', env: memoryEnv() }
    const bytes = await open<Uint8Array, string>(STORE, options as OpenOptions<Uint8Array, string>)
    const keys = [
      [],
      [0xfe],
      [0xfe, 0xff],
      [0xfe, 0xff, 0xff],
      [0xff],
      [0xff, 0],
      [0xff, 0xff],
      [0xff, 0xff, 1],
    ]
    for (const key of keys) await bytes.put(Uint8Array.from(key), 'v')
    for (const prefix of keys) {
      const range = { prefix: Uint8Array.from(prefix) }
      const wanted = keys.filter((key) => prefix.every((byte, i) => key[i] === byte))
      expect((await bytes.keys(range).all()).map((key) => [...key])).toEqual(wanted)
      expect([...bytes.keysSync({ ...range, reverse: true })].map((key) => [...key])).toEqual(
        wanted.toReversed(),
      )
    }
    await bytes.close()
  })
})

describe('seek', () => {
  const TARGETS = ['', 'a', 'a5', 'ab', 'b', 'b!', 'bz', 'c', 'zzz', '水', '\u{10ffff}']

  it.each(BOUNDS)('in %j goes to the key or the next in the direction, within the range', async (bounds) => {
    for (const reverse of [false, true]) {
      for (const target of TARGETS) {
        const wanted = selected({ ...bounds, reverse }).filter((key) => {
          const order = Buffer.compare(Buffer.from(key), Buffer.from(target))
          return reverse ? order <= 0 : order >= 0
        })
        const fresh = db.keys({ ...bounds, reverse })
        fresh.seek(target)
        expect(await fresh.all()).toEqual(wanted)
        const started = db.keys({ ...bounds, reverse })
        await started.nextv(2)
        started.seek(target)
        expect(await started.all()).toEqual(wanted)
      }
    }
  })

  it('goes back, and goes on after the end was reached', async () => {
    const iterator = db.keys({ gte: 'a', lt: 'c' })
    expect(await iterator.nextv(100)).toEqual(['a', 'aa', 'ab', 'b', 'ba', 'bb'])
    expect(await iterator.nextv(1)).toEqual([])
    iterator.seek('ab')
    expect(await iterator.nextv(2)).toEqual(['ab', 'b'])
    iterator.seek('')
    expect((await iterator.next()).value).toBe('a')
    iterator.seek('x')
    expect(await iterator.next()).toEqual({ value: undefined, done: true })
    await iterator.close()
    expect(await codeOf(() => iterator.seek('a'))).toBe('VARVE_CLOSED')
  })

  it('counts what was given before toward the limit', async () => {
    const iterator = db.keys({ limit: 3 })
    expect(await iterator.nextv(2)).toEqual(['', 'a'])
    iterator.seek('b')
    expect(await iterator.all()).toEqual(['b'])
  })
})

describe('an iterator', () => {
  it('gives nextv in pieces, and an empty array at the end', async () => {
    const iterator = db.keys()
    expect(await iterator.nextv(4)).toEqual(KEYS.slice(0, 4))
    expect((await iterator.next()).value).toBe(KEYS[4])
    expect(await iterator.nextv(1000)).toEqual(KEYS.slice(5))
    expect(await iterator.nextv(1)).toEqual([])
    await iterator.close()
  })

  it('serves concurrent calls in the order they were made', async () => {
    const iterator = db.keys()
    const results = await Promise.all([
      iterator.next(),
      iterator.nextv(2),
      iterator.next(),
      iterator.next(),
      iterator.nextv(50),
      iterator.next(),
    ])
    const given = results.flatMap((result) =>
      Array.isArray(result) ? result : result.done ? [] : [result.value],
    )
    expect(given).toEqual(KEYS)
    expect(results.at(-1)).toEqual({ value: undefined, done: true })
    await iterator.close()
  })

  it('sees one position, whatever is written, flushed and compacted meanwhile', async () => {
    const forward = db.entries()
    const backward = db.entries({ reverse: true })
    const seen: [string, string][] = []
    const seenBack: [string, string][] = []
    for (let round = 0; round < KEYS.length; round++) {
      void db.clear({ prefix: 'b' })
      for (const key of KEYS) void db.put(`${key}${round}`, 'new')
      await db.put(KEYS[round]!, 'changed')
      if (round % 3 === 2) await db.compact()
      seen.push(...(await forward.nextv(1)))
      seenBack.push(...(await backward.nextv(1)))
    }
    expect(seen).toEqual(KEYS.map((key) => [key, key]))
    expect(seenBack).toEqual(seen.toReversed())
    expect([await forward.nextv(1), await backward.nextv(1)]).toEqual([[], []])
    await forward.close()
    await backward.close()
  })

  it('a sync one that has begun sees one position, too', async () => {
    const iterator = db.keysSync()
    const seen = [iterator.next().value]
    await db.clear()
    await db.compact()
    for (const key of iterator) seen.push(key)
    expect(seen).toEqual(KEYS)
  })

  it('a sync one pins from its first step to its end, break, return or a close of the store', async () => {
    const pins = () => db.stats().snapshots.count
    const idle = db.keysSync()
    expect(pins()).toBe(0)
    for (const _ of db.keysSync()) if (pins() === 1) break
    expect(pins()).toBe(0)
    expect([...idle]).toEqual(KEYS)
    expect(pins()).toBe(0)
    const returned = db.entriesSync()
    returned.next()
    expect(returned.return?.().done).toBe(true)
    expect(returned.next().done).toBe(true)
    expect(pins()).toBe(0)
    const open = db.valuesSync()
    open.next()
    await db.close()
    expect(await codeOf(async () => open.next())).toBe('VARVE_CLOSED')
    expect(open.next().done).toBe(true)
  })

  it('a sync one is an iterator as the built-in ones are', () => {
    const builtIn: object = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()))
    expect(Object.prototype.isPrototypeOf.call(builtIn, db.keysSync())).toBe(true)
  })

  it('that is closed during next answers it or says VARVE_CLOSED, and lets go', async () => {
    const iterator = db.keys()
    const step = codeOf(() => iterator.next())
    await iterator.close()
    expect([undefined, 'VARVE_CLOSED']).toContain(await step)
    expect(await codeOf(() => iterator.next())).toBe('VARVE_CLOSED')
    expect(await codeOf(() => iterator.nextv(1))).toBe('VARVE_CLOSED')
    expect(await codeOf(() => iterator.all())).toBe('VARVE_CLOSED')
    await iterator.close()
    expect(db.stats().snapshots.count).toBe(0)
  })

  it('lets go of what it pins by break, by throw, by all, by its end and by close', async () => {
    const pins = () => db.stats().snapshots.count
    for await (const key of db.keys()) if (key === 'aa') break
    expect(pins()).toBe(0)
    const thrown = (async () => {
      for await (const _ of db.keys()) throw new Error('mine')
    })()
    await expect(thrown).rejects.toThrow('mine')
    expect(pins()).toBe(0)
    await db.keys().all()
    for await (const _ of db.values()) expect(pins()).toBe(1)
    expect(pins()).toBe(0)
    const open = db.entries()
    expect(pins()).toBe(1)
    await open.close()
    await open.close()
    expect(pins()).toBe(0)
  })

  it('a sync one lets go by break, by its end and by return', () => {
    const pins = () => db.stats().snapshots.count
    for (const key of db.keysSync()) {
      expect(pins()).toBe(1)
      if (key === 'aa') break
    }
    expect(pins()).toBe(0)
    expect([...db.keysSync()]).toEqual(KEYS)
    expect(pins()).toBe(0)
    const iterator = db.entriesSync()
    iterator.next()
    expect(pins()).toBe(1)
    iterator.return?.()
    expect(pins()).toBe(0)
  })

  it('fails with VARVE_CORRUPTION at a damaged block, and lets go', async () => {
    const { db: large, env } = await openMemory({ ...TINY, compression: 'none' })
    for (let i = 0; i < 200; i++) void large.put(pad(i), 'x'.repeat(50))
    await large.compact()
    const counter = env.fs.inject({ op: 'read', path: /\.seg$/, repeat: 'forever', effect: { flipBit: 77 } })
    expect(await codeOf(() => large.keys().all())).toBe('VARVE_CORRUPTION')
    expect(await codeOf(() => [...large.keysSync()])).toBe('VARVE_CORRUPTION')
    expect(counter.fired).toBeGreaterThan(0)
    env.fs.clearFaults()
    expect(await large.keys().all()).toHaveLength(200)
    expect(large.stats().snapshots.count).toBe(0)
    await large.close()
  })

  it('goes over 20,000 entries in steps and at once, both ways', async () => {
    const { db: large } = await openMemory({ ...TINY, memtableBytes: 65_536, segmentBytes: 65_536 })
    const keys = Array.from({ length: 20_000 }, (_, i) => pad(i))
    await Promise.all(keys.map((key) => large.put(key, key)))
    await large.flush()
    const stepped: string[] = []
    for await (const key of large.keys()) stepped.push(key)
    expect(stepped).toEqual(keys)
    expect(await large.keys({ reverse: true }).all()).toEqual(keys.toReversed())
    await large.close()
  })
})
