import { afterEach, describe, expect, it } from 'vitest'
import { compare } from '../../src/compare.js'
import type { Database } from '../../src/database.js'
import { codeOf, dump, type OpenedStore, openMemory, pad, TINY, until } from '../store/helpers.js'

type Db = OpenedStore['db']
const KEPT = { ...TINY, log: { maxBytes: 2 ** 30 } }

const opened: Db[] = []
async function fresh(options = KEPT): Promise<Db> {
  const { db } = await openMemory(options)
  opened.push(db)
  return db
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

/** Every order of the steps of all actors that keeps each actor's own order. */
function interleavings(counts: readonly number[]): number[][] {
  if (counts.every((count) => count === 0)) return [[]]
  return counts.flatMap((count, actor) =>
    count === 0
      ? []
      : interleavings(counts.map((left, i) => (i === actor ? left - 1 : left))).map((rest) => [
          actor,
          ...rest,
        ]),
  )
}

type Step = () => Promise<unknown>

async function runAll(actors: readonly (readonly Step[])[], order: readonly number[]): Promise<void> {
  const next = actors.map(() => 0)
  for (const actor of order) await actors[actor]![next[actor]!++]!()
}

/** A store that is kept by reading another one's log in order, a change at each step. */
function consumer(log: Db, store: Db): { step: Step; drain: Step } {
  const step = async () => {
    for await (const { ops } of log.changes({ after: store.position })) {
      await store.batch(ops.filter((op) => op.type !== 'clear'))
      return true
    }
    return false
  }
  const drain = async () => {
    while (await step());
  }
  return { step, drain }
}

describe('two clients that write the same key to two stores', () => {
  const clients = (one: Db, two: Db): Step[][] =>
    ['A', 'B'].map((value) => [() => one.put('X', value), () => two.put('X', value)])

  it('D28: leave them different for ever in some orders, though every write succeeds', async () => {
    const ends: string[] = []
    for (const order of interleavings([2, 2])) {
      const [one, two] = [await fresh(), await fresh()]
      await runAll(clients(one, two), order)
      ends.push(`${await one.get('X')}${await two.get('X')}`)
    }
    expect(ends.length).toBe(6)
    expect([...new Set(ends)].sort()).toEqual(['AA', 'AB', 'BA', 'BB'])
  })

  it('D28: end equal in every order once they write to one log that both stores are kept from', async () => {
    const orders = interleavings([1, 1, 2, 2])
    expect(orders.length).toBe(180)
    for (const order of orders) {
      const [log, one, two] = [await fresh(), await fresh(), await fresh()]
      const consumers = [consumer(log, one), consumer(log, two)]
      const writers = ['A', 'B'].map((value) => [() => log.put('X', value)])
      await runAll([...writers, ...consumers.map(({ step }) => [step, step])], order)
      for (const { drain } of consumers) await drain()
      const values = await Promise.all([log, one, two].map((db) => db.get('X')))
      expect(new Set(values).size).toBe(1)
      expect(await compare(one, two)).toBeUndefined()
      for (const db of opened.splice(0)) await db.close()
    }
  })

  it('D29: stay different, and compare() names the key; nothing is reported of what came through the log', async () => {
    const [one, two, log, three] = [await fresh(), await fresh(), await fresh(), await fresh()]
    for (const db of [one, two, log]) for (let i = 0; i < 50; i++) await db.put(pad(i), `${i}`)
    await runAll(clients(one, two), [0, 1, 1, 0])
    await runAll(
      ['A', 'B'].map((value) => [() => log.put('X', value)]),
      [0, 1],
    )
    await consumer(log, three).drain()
    for (const db of [one, two, log, three]) for (let i = 0; i < 50; i++) await db.put(pad(i), `later ${i}`)
    await Promise.all([one, two, log, three].map((db) => db.flush()))
    const found = await compare(one, two)
    expect(found!.keys.map(String)).toEqual(['X'])
    expect(found!.position).toBe(51)
    expect(found!.range.after).toBeLessThan(51)
    expect(found!.range.upTo).toBeGreaterThanOrEqual(51)
    expect(await compare(log, three)).toBeUndefined()
  })
})

describe('a store that follows another one', () => {
  /** Applies a change whenever it is let. */
  function follow(leader: Db, follower: Db) {
    let isLet = false
    const feed = leader.changes({ after: follower.position, live: true })
    const running = (async () => {
      for await (const { ops } of feed) {
        await until(() => isLet)
        await follower.batch(ops.filter((op) => op.type !== 'clear'))
      }
    })()
    return {
      let: (value: boolean) => {
        isLet = value
      },
      stop: async () => {
        isLet = true
        await feed.return!()
        await running
      },
    }
  }

  it('D37: may be stale without a position, and never is with one: it waits, or says that it timed out', async () => {
    const [leader, follower] = [await fresh(), await fresh()]
    const link = follow(leader, follower)
    const position = await leader.put('name', 'new')
    expect(await follower.get('name')).toBeUndefined()
    expect(await codeOf(() => follower.get('name', { atLeast: position, timeoutMs: 10 }))).toBe(
      'VARVE_TIMEOUT',
    )
    expect(await codeOf(() => follower.getSync('name', { atLeast: position }))).toBe('VARVE_TIMEOUT')
    link.let(true)
    for (let i = 0; i < 200; i++) {
      const token = await leader.put('name', `${i}`)
      const value =
        i % 2 === 0
          ? await follower.get('name', { atLeast: token })
          : (await follower.getMany(['name'], { atLeast: token }))[0]
      expect(value).toBe(`${i}`)
    }
    await link.stop()
  })

  it('ends a wait for a position that never comes with the store', async () => {
    const db = await fresh()
    await db.put('a', '1')
    const waits = [
      codeOf(() => db.get('a', { atLeast: 99 })),
      codeOf(() => db.getMany(['a'], { atLeast: 99 })),
      codeOf(() => db.has('a', { atLeast: 99, timeoutMs: Number.POSITIVE_INFINITY })),
      codeOf(() => db.getEntry('a', { atLeast: 99, timeoutMs: 2 ** 40 })),
    ]
    await db.close()
    expect(await Promise.all(waits)).toEqual(Array(4).fill('VARVE_CLOSED'))
    expect(await codeOf(() => db.get('a', { atLeast: 99 }))).toBe('VARVE_CLOSED')
  })

  it('does not wait in a store that is read only, which never moves', async () => {
    const { db, env } = await openMemory(KEPT)
    const position = await db.put('a', '1')
    await db.close()
    const { db: reader } = await openMemory({ ...KEPT, readOnly: true }, env)
    opened.push(reader)
    expect(await reader.get('a', { atLeast: position })).toBe('1')
    expect(await codeOf(() => reader.get('a', { atLeast: position + 1 }))).toBe('VARVE_TIMEOUT')
  })
})

describe('readers of the log', () => {
  it('D51: a cache kept from the log is never older than it, without expiry', async () => {
    const db = await fresh()
    const cache = new Map<string, { value: string | undefined; position: number }>()
    const feed = db.changes({ live: true })
    const running = (async () => {
      for await (const { position, ops } of feed) {
        for (const op of ops) {
          if (op.type === 'clear')
            for (const key of cache.keys()) cache.set(key, { value: undefined, position })
          // Only what somebody has asked for is cached.
          else if (cache.has(op.key))
            cache.set(op.key, { value: op.type === 'put' ? op.value : undefined, position })
        }
      }
    })()
    for (let i = 0; i < 600; i++) {
      const key = pad(i % 40)
      if (i % 7 === 0) void db.del(key)
      else if (i % 97 === 0) void db.clear()
      else void db.put(key, `${i}`)
      if (i % 3 === 0) {
        const asked = pad((i * 13) % 40)
        const { position } = db
        if (!cache.has(asked)) cache.set(asked, { value: undefined, position: -1 })
        const entry = await db.getEntry(asked)
        // A change that came while it was read is newer.
        if ((cache.get(asked)?.position ?? -1) <= position)
          cache.set(asked, { value: entry?.value, position })
      }
    }
    const last = await db.sync()
    const marker = await db.put('end', '')
    cache.set('end', { value: undefined, position: last })
    await until(() => cache.get('end')!.position >= marker)
    await feed.return!()
    await running
    expect(cache.size).toBeGreaterThan(5)
    for (const [key, { value }] of cache) expect(await db.get(key)).toBe(value)
  })

  it('D54: shows each value that a key had, when, and at which position', async () => {
    const db = await fresh()
    const written: [number, string | undefined][] = []
    for (let i = 0; i < 300; i++) {
      await db.put(`other ${i % 9}`, `${i}`)
      if (i % 50 === 0) written.push([await db.put('X', `value ${i}`), `value ${i}`])
      if (i === 120) written.push([await db.del('X'), undefined])
    }
    await db.flush()
    const history: [number, string | undefined][] = []
    let lastMs = 0
    for await (const { position, timestamp, ops } of db.changes({ after: 0, prefix: 'X' })) {
      for (const op of ops) history.push([position, op.type === 'put' ? op.value : undefined])
      expect(timestamp).toBeGreaterThanOrEqual(lastMs)
      lastMs = timestamp
    }
    expect(history).toEqual(written)
  })

  it('D49: a view from a snapshot, or from compacted changes, is the one that was there from the start', async () => {
    const db = await fresh(TINY as typeof KEPT)
    const count = (state: ReadonlyMap<string, string>) => {
      const counts: Record<string, number> = {}
      for (const value of state.values()) counts[value] = (counts[value] ?? 0) + 1
      return counts
    }
    const apply = (state: Map<string, string>, ops: readonly { type: string }[]) => {
      for (const op of ops as readonly { type: string; key: string; value: string }[]) {
        if (op.type === 'put') state.set(op.key, op.value)
        else if (op.type === 'del') state.delete(op.key)
        else state.clear()
      }
    }
    const fromStart = new Map<string, string>()
    const feed = db.changes({ live: true })
    for (let i = 0; i < 800; i++) {
      if (i === 300) await db.clear()
      else if (i % 11 === 0) await db.del(pad((i * 5) % 90))
      else await db.put(pad((i * 7) % 90), `type ${i % 6}`)
      apply(fromStart, ((await feed.next()).value as { ops: [] }).ops)
    }
    await feed.return!()
    await db.flush()
    expect(await codeOf(() => (db as Database).changes({ after: 0 }))).toBe('VARVE_POSITION_LOST')
    const compacted = new Map<string, string>()
    for await (const { ops } of db.changes({ compacted: true })) apply(compacted, ops)
    const bootstrapped = new Map<string, string>()
    for await (const event of db.bootstrap()) {
      if (event.type === 'snapshot') for (const [key, value] of event.entries) bootstrapped.set(key, value)
      if (event.type === 'change') apply(bootstrapped, event.change.ops)
    }
    expect(count(compacted)).toEqual(count(fromStart))
    expect(count(bootstrapped)).toEqual(count(fromStart))
    expect(Object.fromEntries([...compacted].sort())).toEqual(await dump(db))
  })
})
