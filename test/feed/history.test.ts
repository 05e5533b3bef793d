import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compare } from '../../src/compare.js'
import type { Change, Digest, OpenOptions, Snapshot } from '../../src/index.js'
import {
  applyTo,
  codeOf,
  dump,
  failureOf,
  type OpenedStore,
  openMemory,
  pad,
  TINY,
} from '../store/helpers.js'

type Db = OpenedStore['db']
const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30 } }

interface Step {
  readonly type: string
  readonly key: number
  readonly size: number
}
const step = fc.oneof(
  ...(['put', 'batch', 'del', 'clear', 'flush', 'compact', 'snapshot'] as const).map((type, i) => ({
    weight: [10, 3, 4, 1, 2, 1, 4][i]!,
    arbitrary: fc.record({ type: fc.constant(type), key: fc.nat(40), size: fc.nat(150) }),
  })),
)

async function run(db: Db, { type, key, size }: Step, i: number): Promise<void> {
  const value = `${i}:`.padEnd(size, 'x')
  if (type === 'put') void db.put(pad(key), value)
  else if (type === 'del') void db.del(pad(key))
  else if (type === 'clear') void db.clear({ gte: pad(key), lt: pad(key + (size % 20)) })
  else if (type === 'flush') await db.flush()
  else if (type === 'compact') await db.compact()
  else if (type === 'batch') {
    const puts = [0, 7, 14].map((j) => ({ type: 'put' as const, key: pad((key + j) % 41), value }))
    void db.batch([...puts, { type: 'del', key: pad((key + size) % 41) }])
  }
}

function fold(changes: readonly Change<string, string>[], upTo: number): Record<string, string> {
  const state = new Map<string, string>()
  for (const change of changes) {
    if (change.position > upTo) break
    applyTo(state, change)
  }
  return Object.fromEntries([...state].sort())
}

describe('the log is the state', () => {
  it(`at any position: a snapshot there holds what folding the log up to there gives (seed ${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150 }), async (history) => {
        const { db } = await openMemory({ ...KEPT, levelRatio: 2 })
        const snapshots: Snapshot[] = []
        for (const [i, one] of history.entries()) {
          if (one.type === 'snapshot') snapshots.push(db.snapshot())
          else await run(db, one, i)
        }
        await db.sync()
        snapshots.push(db.snapshot())
        const changes: Change<string, string>[] = []
        for await (const change of db.changes({ after: 0 })) changes.push(change)
        for (const snapshot of snapshots) {
          const expected = fold(changes, snapshot.position)
          expect(Object.fromEntries(await db.entries({ snapshot }).all())).toEqual(expected)
        }
        await db.close()
      }),
      { seed: SEED, numRuns: 20 },
    )
  })
})

const replica = async (
  source: Db,
  options: OpenOptions = KEPT,
  upTo = Number.POSITIVE_INFINITY,
): Promise<Db> => {
  const { db } = await openMemory(options)
  for await (const { position, ops } of source.changes({ after: 0 })) {
    if (position > upTo) break
    const [first] = ops
    if (first?.type === 'clear') await db.clear(first.range)
    else await db.batch(ops.filter((op) => op.type !== 'clear'))
  }
  return db
}

describe('digest and compare', () => {
  it(`are equal for equal histories, whatever was flushed, merged and grouped (seed ${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (history) => {
        const { db } = await openMemory({ ...KEPT, levelRatio: 2 })
        for (const [i, one] of history.entries()) if (one.type !== 'snapshot') await run(db, one, i)
        await db.sync()
        const other = await replica(db, { ...KEPT, memtableBytes: 1 << 16, blockBytes: 4096 })
        const digest = await db.digest()
        expect(JSON.parse(JSON.stringify(digest))).toEqual(await other.digest())
        expect(digest.state.reduce((sum, { count }) => sum + count, 0)).toBe(
          Object.keys(await dump(db)).length,
        )
        expect(await compare(db, other)).toBeUndefined()
        expect(await compare(digest, other)).toBeUndefined()
        await db.close()
        await other.close()
      }),
      { seed: SEED, numRuns: 8 },
    )
  })

  const twins = async (options: OpenOptions = KEPT): Promise<[Db, Db]> => {
    const { db } = await openMemory(options)
    for (let i = 0; i < 500; i++) await db.put(pad(i % 200), `value ${i}`)
    return [db, await replica(db, options)]
  }

  it('name the position and the keys where one write was another one', async () => {
    const [a, b] = await twins()
    await a.put('k', 'one')
    await b.put('k', 'other')
    for (const db of [a, b]) for (let i = 0; i < 100; i++) await db.put(pad(i), 'same')
    await b.flush()
    const found = (await compare(a, b))!
    expect(found).toMatchObject({ in: 'log', position: 501, comparedAt: 601, keys: [Buffer.from('k')] })
    expect(found.range.after).toBeLessThan(501)
    expect(found.range.upTo).toBeGreaterThanOrEqual(501)
    const byDigest = await compare(await a.digest(), b)
    expect(byDigest).toEqual({
      in: 'log',
      comparedAt: 601,
      range: found.range,
      position: undefined,
      keys: [],
    })
    // Narrower ranges, asked for where it differs.
    const { after, upTo } = found.range
    const ranges = Array.from({ length: upTo - after }, (_, i) => ({ after: after + i, upTo: after + i + 1 }))
    const [ofA, ofB] = [await a.digest({ ranges }), await b.digest({ ranges })]
    expect((await compare(ofA, ofB))!.range).toEqual({ after: 500, upTo: 501 })
    for (const db of [a, b]) await db.close()
  })

  it('find a difference in the state where the log is gone', async () => {
    const [a, b] = await twins()
    await a.close()
    await b.close()
    const make = async (value: string) => {
      const { db } = await openMemory(TINY)
      for (let i = 0; i < 300; i++) await db.put(pad(i), i === 77 || i === 99 ? value : `${i}`)
      await db.flush()
      await db.put('end', '')
      await db.flush()
      return db
    }
    const [c, d] = [await make('1'), await make('2')]
    expect(c.oldestPosition).toBeGreaterThan(100)
    const found = (await compare(c, d))!
    expect(found).toMatchObject({
      in: 'state',
      position: 78,
      keys: [Buffer.from(pad(77)), Buffer.from(pad(99))],
    })
    expect((await compare(c, await d.digest()))!.range).toEqual(found.range)
    for (const db of [c, d]) await db.close()
  })

  it('tell the same entries in another order of writes, in the state alone', async () => {
    const digests: Digest[] = []
    for (const keys of [
      ['x', 'y'],
      ['y', 'x'],
    ]) {
      const { db } = await openMemory(TINY)
      for (const key of keys) await db.put(key, 'same')
      await db.flush()
      await db.put('end', '')
      await db.flush()
      digests.push(await db.digest({ ranges: [{ after: 0, upTo: 3 }] }))
      await db.close()
    }
    expect(digests.map(({ log }) => log)).toEqual([[], []])
    expect(await compare(digests[0]!, digests[1]!)).toMatchObject({
      in: 'state',
      range: { after: 0, upTo: 3 },
    })
  })

  it('compare at the lower position, while the other one goes on', async () => {
    const [a, b] = await twins({ ...KEPT, memtableBytes: 1 << 16 })
    for (let i = 0; i < 100; i++) await a.put(pad(i), 'ahead')
    expect(await compare(a, b)).toBeUndefined()
    const digest = await b.digest()
    expect(await compare(a, digest)).toBeUndefined()
    expect(await compare(digest, await a.digest({ at: 500 }))).toBeUndefined()
    for (const db of [a, b]) await db.close()
  })

  it('wait for the one that is behind, where the other one has merged what lies between', async () => {
    const [a, b] = await twins()
    for (let i = 0; i < 20; i++) await a.put(pad(i), 'ahead')
    await a.flush()
    expect(await codeOf(() => a.digest({ at: 500 }))).toBe('VARVE_POSITION_LOST')
    expect(await codeOf(() => compare(a, b, { timeoutMs: 10 }))).toBe('VARVE_TIMEOUT')
    const comparing = compare(a, b)
    for (let i = 0; i < 20; i++) await b.put(pad(i), 'ahead')
    expect(await comparing).toBeUndefined()
    for (const db of [a, b]) await db.close()
  })

  it('refuse what is none, and end with the store and the signal', async () => {
    const [a, b] = await twins()
    const digest = await a.digest()
    const wrong = [
      {},
      null,
      { ...digest, state: [{ after: 0 }] },
      { ...digest, version: 2 },
      { ...digest, position: 'x' },
      { ...digest, state: [] },
    ] as unknown as Digest[]
    for (const other of wrong)
      expect(await codeOf(() => compare(digest, other))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => compare({ ...digest, position: 400 }, digest))).toBe('VARVE_INVALID_ARGUMENT')
    for (const ranges of [
      [],
      [{ after: 5, upTo: 5 }],
      [{ after: 0, upTo: 999 }],
      [{ after: -1, upTo: 4 }],
      'x' as never,
    ])
      expect(await codeOf(() => a.digest({ ranges }))).toBe('VARVE_INVALID_ARGUMENT')
    for (const at of [-1, 0.5, '1' as never])
      expect(await codeOf(() => a.digest({ at }))).toBe('VARVE_INVALID_ARGUMENT')
    const controller = new AbortController()
    controller.abort()
    const { signal } = controller
    expect(await codeOf(() => a.digest({ signal }))).toBe('VARVE_ABORTED')
    expect(await codeOf(() => compare(a, b, { signal }))).toBe('VARVE_ABORTED')
    const running = failureOf(() => compare(a, b))
    await a.close()
    expect((await running)?.code ?? 'done').toMatch(/VARVE_CLOSED|done/)
    expect(await codeOf(() => a.digest())).toBe('VARVE_CLOSED')
    await b.close()
  })
})
