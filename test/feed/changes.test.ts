import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { Change, ChangesOptions, OpenOptions } from '../../src/index.js'
import { applyTo, codeOf, failureOf, type OpenedStore, openMemory, pad, TINY } from '../store/helpers.js'

type Db = OpenedStore['db']

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
/** Everything stays in the log. */
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30, maxAgeMs: 10 ** 12 } }

const opened: Db[] = []
async function openKept(options: OpenOptions = KEPT): Promise<OpenedStore> {
  const store = await openMemory(options)
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function all(db: Db, options: ChangesOptions<string> = {}): Promise<Change<string, string>[]> {
  const changes = []
  for await (const change of db.changes(options)) changes.push(change)
  return changes
}

const positionsOf = (changes: readonly { position: number }[]) => changes.map(({ position }) => position)

/** What is left after applying changes in order. */
function fold(changes: readonly Change<string, string>[]): Record<string, string> {
  const state = new Map<string, string>()
  for (const change of changes) applyTo(state, change)
  return Object.fromEntries([...state].sort())
}

describe('changes', () => {
  it('gives every batch whole, in order, with its position, time and operations', async () => {
    const { db } = await openKept()
    const before = Date.now()
    await db.put('a', '1')
    await db.batch([
      { type: 'put', key: 'b', value: '2' },
      { type: 'del', key: 'a' },
    ])
    await db.batch([])
    const changes = await all(db)
    expect(changes.map(({ position, ops }) => ({ position, ops }))).toEqual([
      { position: 1, ops: [{ type: 'put', key: 'a', value: '1' }] },
      {
        position: 2,
        ops: [
          { type: 'put', key: 'b', value: '2' },
          { type: 'del', key: 'a' },
        ],
      },
      { position: 3, ops: [] },
    ])
    for (const { timestamp } of changes) expect(timestamp).toBeGreaterThanOrEqual(before)
  })

  it.each([
    ['a prefix', { prefix: 'k:' }, { prefix: 'k:' }],
    ['everything', {}, {}],
    ['inclusive and exclusive bounds', { gte: 'a', lt: 'c' }, { gte: 'a', lt: 'c' }],
    ['the other bounds', { gt: 'a', lte: 'c' }, { gt: 'a', lte: 'c' }],
    ['one bound', { gte: 'x' }, { gte: 'x' }],
    ['a prefix beyond ASCII', { prefix: 'ø' }, { prefix: 'ø' }],
  ])('shows a clear of %s as it was called', async (_, range, shown) => {
    const { db } = await openKept()
    await db.clear(range)
    const [change] = await all(db)
    expect(change!.ops).toMatchObject([{ type: 'clear', range: shown }])
  })

  it(`reads from any position, from memory and from files, what was written (seed ${SEED})`, async () => {
    const { db } = await openKept()
    const written: string[] = []
    for (let i = 0; i < 500; i++) {
      written.push(`${pad(i)}=${'v'.repeat((i * 7) % 90)}`)
      void db.put(pad(i), 'v'.repeat((i * 7) % 90))
      if (i % 3 === 0) await db.sync()
    }
    await db.flush()
    for (let i = 500; i < 520; i++) {
      written.push(`${pad(i)}=tail`)
      await db.put(pad(i), 'tail')
    }
    for (const after of [0, 1, 99, 250, 498, 500, 510, 519, 520]) {
      const changes = await all(db, { after })
      expect(positionsOf(changes)).toEqual(Array.from({ length: 520 - after }, (_, i) => after + 1 + i))
      const texts = changes.map(({ ops: [op] }) => (op?.type === 'put' ? `${op.key}=${op.value}` : ''))
      expect(texts).toEqual(written.slice(after))
    }
  })

  it('survives reopening: history that is kept is there, byte for byte', async () => {
    const { db, env } = await openKept()
    for (let i = 0; i < 300; i++) await db.put(pad(i % 50), `value ${i}`)
    await db.clear({ gte: pad(10), lt: pad(20) })
    const before = await all(db)
    await db.close()
    const again = await openMemory(KEPT, env)
    opened.push(again.db)
    expect(await all(again.db)).toEqual(before)
    await again.db.put('after', '1')
    expect(positionsOf(await all(again.db, { after: 300 }))).toEqual([301, 302])
  })

  it('filters by prefix, and shows a clear that touches it', async () => {
    const { db } = await openKept()
    await db.put('a:1', 'x')
    await db.batch([
      { type: 'put', key: 'b:1', value: 'y' },
      { type: 'put', key: 'a:2', value: 'z' },
    ])
    await db.put('b:2', 'x')
    await db.clear({ prefix: 'b:' })
    await db.clear({ gte: 'a', lt: 'c' })
    const changes = await all(db, { prefix: 'a:' })
    expect(positionsOf(changes)).toEqual([1, 2, 5])
    expect(changes[1]!.ops).toEqual([{ type: 'put', key: 'a:2', value: 'z' }])
  })

  it('goes on live, while log files are written, rotated and flushed', async () => {
    const { db } = await openKept()
    const seen: number[] = []
    const done = (async () => {
      for await (const { position } of db.changes({ live: true })) {
        seen.push(position)
        if (position === 1000) break
      }
    })()
    for (let i = 0; i < 1000; i++) {
      void db.put(pad(i), 'v'.repeat(i % 50))
      if (i % 50 === 0) await db.sync()
      if (i % 300 === 0) await db.flush()
    }
    await done
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1))
  })

  it('lets many readers of different speed see the same', async () => {
    const { db } = await openKept()
    const read = async (pause: number) => {
      const seen: number[] = []
      for await (const { position } of db.changes({ live: true })) {
        seen.push(position)
        if (position % pause === 0) await new Promise((resolve) => setTimeout(resolve, 1))
        if (position === 400) break
      }
      return seen
    }
    const readers = [read(1000), read(50), read(20)]
    for (let i = 0; i < 400; i++) await db.put(pad(i), 'v'.repeat(60))
    const expected = Array.from({ length: 400 }, (_, i) => i + 1)
    expect(await Promise.all(readers)).toEqual([expected, expected, expected])
  })

  it('shows in a store of durable writes only what is on disk', async () => {
    const { db } = await openKept({ ...KEPT, durability: 'disk' })
    const feed = db.changes({ live: true })
    const write = db.put('a', '1')
    const { value } = (await feed.next()) as { value: Change<string, string> }
    expect(value.position).toBe(1)
    expect(db.durablePosition).toBe(1)
    await write
    await feed.return!()
  })

  it('is the state: folding it gives what the store holds, for random histories', async () => {
    const op = fc.oneof(
      { weight: 6, arbitrary: fc.record({ type: fc.constant('put'), key: fc.nat(30), size: fc.nat(200) }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('del'), key: fc.nat(30), size: fc.nat(5) }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('clear'), key: fc.nat(30), size: fc.nat(8) }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('flush'), key: fc.nat(1), size: fc.nat(1) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 20, maxLength: 120 }), async (history) => {
        const { db } = await openMemory(KEPT)
        for (const { type, key, size } of history) {
          if (type === 'put') void db.put(pad(key), `${key}:`.padEnd(size, 'x'))
          else if (type === 'del') void db.del(pad(key))
          else if (type === 'clear') void db.clear({ gte: pad(key), lt: pad(key + size) })
          else await db.flush()
        }
        await db.sync()
        expect(fold(await all(db))).toEqual(Object.fromEntries(await db.entries().all()))
        await db.close()
      }),
      { seed: SEED, numRuns: 40 },
    )
  })
})

describe('a feed that cannot go on', () => {
  it.each([
    ['a position from the future', { after: 5 }],
    ['a negative position', { after: -1 }],
    ['a fraction', { after: 0.5 }],
    ['no number', { after: '1' as never }],
  ])('refuses %s', async (_, options) => {
    const { db } = await openKept()
    await db.put('a', '1')
    expect(await codeOf(() => all(db, options))).toBe('VARVE_INVALID_ARGUMENT')
  })

  it('names the oldest position where history is gone', async () => {
    const { db } = await openKept(TINY)
    for (let i = 0; i < 200; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    const failure = await failureOf(() => all(db, { after: 0 }))
    expect(failure).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
    expect(db.oldestPosition).toBeGreaterThan(1)
    expect(positionsOf(await all(db))).toEqual(
      Array.from({ length: 201 - db.oldestPosition }, (_, i) => db.oldestPosition + i),
    )
  })

  it('holds the log where it stands, and lets go of it', async () => {
    const { db } = await openKept(TINY)
    const feed = db.changes({ live: true })
    for (let i = 0; i < 200; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    expect(db.oldestPosition).toBe(1)
    for (let i = 1; i <= 200; i++) expect(await feed.next()).toMatchObject({ value: { position: i } })
    await feed.return!()
    await db.put('a', '1')
    await db.flush()
    expect(db.oldestPosition).toBeGreaterThan(190)
  })

  it('loses its place, with an event and an error, once it holds more than it may', async () => {
    const { db } = await openKept({ ...TINY, log: { pinnedMaxBytes: 8192 } })
    const evicted: object[] = []
    db.on('log.evicted', (event) => evicted.push(event))
    const feed = db.changes({ live: true })
    for (let i = 0; i < 300; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    expect(evicted[0]).toMatchObject({ position: 0 })
    expect(await codeOf(() => feed.next())).toBe('VARVE_POSITION_LOST')
  })

  it('ends with the store, with its signal, and with return, waiting or not', async () => {
    const { db } = await openKept()
    const controller = new AbortController()
    const aborted = codeOf(() => db.changes({ live: true, signal: controller.signal }).next())
    const closed = codeOf(() => db.changes({ live: true }).next())
    const returned = db.changes({ live: true })
    const waiting = returned.next()
    controller.abort()
    await returned.return!()
    expect(await waiting).toEqual({ value: undefined, done: true })
    await db.close()
    expect([await aborted, await closed]).toEqual(['VARVE_ABORTED', 'VARVE_CLOSED'])
    expect(await codeOf(() => db.changes())).toBe('VARVE_CLOSED')
  })

  it('reports a damaged log file with its name and offset', async () => {
    const { db, env } = await openKept()
    for (let i = 0; i < 100; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    const name = env.fs.list('/store').find((file) => file.endsWith('.log'))!
    const path = `/store/${name}`
    const bytes = Buffer.from(env.fs.readFile(path))
    bytes[400]! ^= 1
    env.fs.writeFile(path, bytes)
    const failure = await failureOf(() => all(db))
    expect(failure).toMatchObject({ code: 'VARVE_CORRUPTION', file: path })
  })
})
