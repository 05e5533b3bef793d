import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { EntryWindow } from '../../src/feed/entry-window.js'
import type { Change, ChangesOptions, OpenOptions } from '../../src/index.js'
import { KIND_PUT } from '../../src/key/batch-format.js'
import { applyTo, codeOf, dump, type OpenedStore, openMemory, pad, TINY } from '../store/helpers.js'

type Db = OpenedStore['db']
const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

const opened: Db[] = []
async function openTracked(options: OpenOptions = TINY): Promise<OpenedStore> {
  const store = await openMemory(options)
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function compacted(db: Db, options: ChangesOptions<string> = {}): Promise<Change<string, string>[]> {
  const changes = []
  for await (const change of db.changes({ ...options, compacted: true })) changes.push(change)
  return changes
}

/** Applies changes to what a reader has; checks that positions only go up, but for one start over. */
function apply(
  state: Map<string, string>,
  after: number,
  changes: readonly Change<string, string>[],
): number {
  let position = after
  for (const [i, change] of changes.entries()) {
    if (i === 0 && change.position === 0) position = -1
    if (change.position <= position) throw new Error(`${change.position} comes after ${position}`)
    position = change.position
    applyTo(state, change)
  }
  return position
}

const asObject = (state: Map<string, string>) => Object.fromEntries([...state].sort())

interface Step {
  readonly type: string
  readonly key: number
  readonly size: number
}
const step = fc.oneof(
  ...(['put', 'del', 'clear', 'flush', 'compact'] as const).map((type, i) => ({
    weight: [12, 5, 1, 2, 1][i]!,
    arbitrary: fc.record({ type: fc.constant(type), key: fc.nat(60), size: fc.nat(150) }),
  })),
)

async function run(db: Db, { type, key, size }: Step, i: number): Promise<void> {
  if (type === 'put') void db.put(pad(key), `${i}:`.padEnd(size, 'x'))
  else if (type === 'del') void db.del(pad(key))
  else if (type === 'clear') void db.clear({ gte: pad(key), lt: pad(key + (size % 20)) })
  else if (type === 'flush') await db.flush()
  else await db.compact()
}

describe('compacted changes', () => {
  it('are the last change of each key, deletions too, in order, long after the log is gone', async () => {
    const { db } = await openTracked({ ...TINY, l0SegmentsMax: 10 })
    for (const value of ['1', '2', '3']) for (const key of ['a', 'b', 'c']) await db.put(key, value)
    // Deletions of what is nowhere on disk are not written there.
    await db.flush()
    await db.del('b')
    await db.flush()
    await db.put('z', 'log')
    await db.flush()
    expect(await codeOf(() => db.changes({ after: 0 }))).toBe('VARVE_POSITION_LOST')
    const changes = await compacted(db, { after: 5 })
    const seen = changes.map(({ position, ops }) => [
      position,
      ...ops.map((op) => [op.type, 'key' in op && op.key]),
    ])
    expect(seen).toEqual([
      [7, ['put', 'a']],
      [9, ['put', 'c']],
      [10, ['del', 'b']],
      [11, ['put', 'z']],
    ])
    expect((await compacted(db, { after: 10 })).map(({ position }) => position)).toEqual([11])
    expect(await compacted(db, { after: 11 })).toEqual([])
  })

  it('tell a reader from before what was forgotten to start over', async () => {
    const { db, env } = await openTracked()
    await db.put('a', '1')
    await db.put('b', '1')
    const behind = new Map([
      ['a', '1'],
      ['b', '1'],
    ])
    await db.del('a')
    await db.put('c', '1')
    await db.compact()
    const changes = await compacted(db, { after: 2 })
    expect(changes[0]).toMatchObject({ position: 0, ops: [{ type: 'clear' }] })
    apply(behind, 2, changes)
    expect(asObject(behind)).toEqual(await dump(db))
    // A reader that has seen the deletion goes on where it is.
    expect((await compacted(db, { after: 3 })).map(({ position }) => position)).toEqual([4])
    await db.close()
    const again = await openMemory(TINY, env)
    opened.push(again.db)
    expect(await compacted(again.db, { after: 2 })).toEqual(changes)
  })

  it('tell so of a clear that was forgotten too', async () => {
    const { db } = await openTracked()
    await db.put('a', '1')
    await db.put('b', '1')
    await db.clear({ prefix: 'a' })
    await db.put('c', '1')
    await db.compact()
    const behind = new Map(Object.entries({ a: '1', b: '1' }))
    apply(behind, 2, await compacted(db, { after: 2 }))
    expect(asObject(behind)).toEqual({ b: '1', c: '1' })
  })

  it(`bring any reader from any position to the state, whatever was flushed and merged (seed ${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 160 }),
        fc.nat(99),
        async (history, share) => {
          const { db, env } = await openMemory({ ...TINY, memory: 64 * 1024, levelRatio: 2 })
          const readers: { state: Map<string, string>; position: number }[] = []
          const cut = Math.floor((history.length * share) / 100)
          for (const [i, one] of history.entries()) {
            await run(db, one, i)
            if (i !== cut && i % 40 !== 0) continue
            await db.sync()
            readers.push({ state: new Map(Object.entries(await dump(db))), position: db.position })
          }
          await db.sync()
          const expected = await dump(db)
          for (const { state, position } of readers) {
            apply(state, position, await compacted(db, { after: position }))
            expect(asObject(state)).toEqual(expected)
          }
          // Broken off anywhere, and gone on from there in a store that was opened again.
          const half = new Map<string, string>()
          const all = await compacted(db)
          const at = apply(half, 0, all.slice(0, Math.floor((all.length * share) / 100)))
          await db.close()
          const again = await openMemory({ ...TINY, memory: 64 * 1024, levelRatio: 2 }, env)
          apply(half, at, await compacted(again.db, { after: at }))
          expect(asObject(half)).toEqual(expected)
          await again.db.close()
        },
      ),
      { seed: SEED, numRuns: 20 },
    )
  })

  it('come in windows when they do not fit into memory, with values that stay where they are', async () => {
    const { db } = await openTracked({ ...TINY, memory: 64 * 1024, memtableBytes: 16 * 1024 })
    for (let i = 0; i < 3000; i++) void db.put(pad((i * 7919) % 2500), `${i} `.repeat(1 + (i % 8)))
    await db.put('large', 'L'.repeat(20_000))
    await db.batch(
      Array.from({ length: 700 }, (_, i) => ({ type: 'put', key: `b${pad(i)}`, value: 'v'.repeat(40) })),
    )
    for (let i = 0; i < 100; i++) await db.del(pad(i))
    await db.flush()
    const state = new Map<string, string>()
    const changes = await compacted(db)
    apply(state, 0, changes)
    expect(asObject(state)).toEqual(await dump(db))
    expect(changes.find(({ position }) => position === 3002)!.ops.length).toBe(700)
  })

  it('filter by prefix, go on live, and keep nothing when they end', async () => {
    const { db } = await openTracked()
    await db.put('a:1', '1')
    await db.put('b:1', '1')
    await db.flush()
    const feed = db.changes({ compacted: true, live: true, prefix: 'a:' })
    expect((await feed.next()).value).toMatchObject({ position: 1 })
    const next = feed.next()
    await db.put('b:2', '1')
    await db.put('a:2', '1')
    expect((await next).value).toMatchObject({ position: 4, timestamp: expect.any(Number) })
    const waiting = feed.next()
    await feed.return!()
    expect(await waiting).toEqual({ value: undefined, done: true })
    const early = db.changes({ compacted: true })
    await early.next()
    await early.return!()
    const names = () => db.stats().levels.reduce((sum, { segments }) => sum + segments, 0)
    await db.compact()
    expect(names()).toBe(1)
  })

  it('end with the store and the signal, and refuse positions that are none', async () => {
    const { db } = await openTracked()
    await db.put('a', '1')
    expect(await codeOf(() => compacted(db, { after: 2 }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => compacted(db, { after: 0.5 }))).toBe('VARVE_INVALID_ARGUMENT')
    const controller = new AbortController()
    const aborted = db.changes({ compacted: true, live: true, signal: controller.signal })
    const closed = db.changes({ compacted: true, live: true })
    await aborted.next()
    await closed.next()
    const codes = [codeOf(() => aborted.next()), codeOf(() => closed.next())]
    controller.abort()
    await db.close()
    expect(await Promise.all(codes)).toEqual(['VARVE_ABORTED', 'VARVE_CLOSED'])
  })
})

describe('a window of entries', () => {
  const filled = (positions: readonly number[], bytesMax: number) => {
    const window = new EntryWindow(bytesMax)
    for (const [i, position] of positions.entries()) {
      const bytes = Buffer.from(`${pad(i)}=${position}`)
      window.add(position, KIND_PUT, bytes, 0, 5, bytes.length)
      if (window.isFull) for (const _ of window.shrink());
    }
    return window
  }
  const textsOf = (window: EntryWindow) =>
    [...window.sorted()].flatMap((entry) =>
      entry ? [Buffer.from(entry.bytes.subarray(entry.keyStart, entry.valueEnd)).toString()] : [],
    )

  it('gives back the lowest positions in order, and says how far it is complete', () => {
    const positions = Array.from({ length: 20_000 }, (_, i) => ((i * 7919) % 20_000) + 1)
    const window = filled(positions, 100_000)
    const expected = positions
      .map((position, i) => [position, `${pad(i)}=${position}`] as const)
      .filter(([position]) => position <= window.upTo)
      .sort((a, b) => a[0] - b[0])
    expect(window.upTo).toBeGreaterThan(500)
    expect(window.upTo).toBeLessThan(4000)
    expect(textsOf(window)).toEqual(expected.map(([, text]) => text))
  })

  it('keeps all of one position together, even where that is more than it may hold', () => {
    const window = filled(
      Array.from({ length: 3000 }, (_, i) => (i % 10 === 0 ? 9 : 5)),
      20_000,
    )
    expect(window.upTo).toBe(5)
    expect(textsOf(window).length).toBe(2700)
  })
})
