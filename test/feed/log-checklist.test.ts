import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { Change } from '../../src/index.js'
import { pad, until } from '../store/helpers.js'
import { changesOf, HandClock, handClockEnv, KEPT, type Opened, openKept, SEED, turns } from './helpers.js'

/** Applies a change to a map, as every copy of the store does. */
function applyTo(state: Map<string, string>, { ops }: Change<string, string>): void {
  for (const op of ops) {
    if (op.type === 'put') state.set(op.key, op.value)
    else if (op.type === 'del') state.delete(op.key)
  }
}

describe('the log', () => {
  it('D1 has the positions 1 to 80000 of 8 writers without a hole, also after reopening, byte for byte', async () => {
    const options = { memory: 2 ** 25, memtableBytes: 2 ** 20, workers: 0, log: { maxBytes: 2 ** 30 } }
    const { db, env } = await openKept(options)
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let i = 0; i < 10_000; i += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, j) => db.put(`${writer}`, pad(i + j))))
      }
    })
    await Promise.all(writers)
    const digest = async (store: typeof db) => {
      const hash = createHash('sha256')
      let expected = 1
      const next = new Map<string, number>()
      for await (const { position, timestamp, ops } of store.changes()) {
        const [op] = ops
        // D24: the order in which a key was written is the order in which it is seen.
        const isNext = op?.type === 'put' && Number(op.value) === (next.get(op.key) ?? 0)
        if (position !== expected++ || !isNext) throw new Error(`out of order at position ${position}`)
        next.set(op.key, Number(op.value) + 1)
        hash.update(`${position} ${timestamp} ${op.key} ${op.value}\n`)
      }
      expect(expected).toBe(80_001)
      return hash.digest('hex')
    }
    const before = await digest(db)
    await db.close()
    const { db: again } = await openKept(options, env)
    expect(await digest(again)).toBe(before)
  })

  it('D23 takes 100,000 lines of activity by appending alone, and gives them back whole and in order', async () => {
    const options = { memory: 2 ** 25, memtableBytes: 2 ** 20, workers: 0, log: { maxBytes: 2 ** 30 } }
    const { db } = await openKept(options)
    const lineOf = (i: number) =>
      `192.0.2.${i % 256} - - [26/Nov/2026:01:${pad(i % 60)}] "GET /product/${i % 997} HTTP/1.1" 200 ${i % 4096}`
    for (let i = 0; i < 100_000; i += 100) {
      const events = Array.from({ length: 100 }, (_, j) => i + j)
      await db.batch(events.map((n) => ({ type: 'put', key: `event:${pad(n)}`, value: lineOf(n) })))
    }
    let count = 0
    for await (const { ops } of db.changes()) {
      for (const op of ops) {
        const isNext = op.type === 'put' && op.value === lineOf(count)
        if (!isNext) throw new Error(`line ${count} is not what was appended`)
        count++
      }
    }
    expect(count).toBe(100_000)
    await db.close()
  })

  it('D2 never changes what was written: complete log files keep their bytes under any work', async () => {
    const { db, env } = await openKept()
    const hashes = new Map<string, string>()
    const hashOf = (path: string) => createHash('sha256').update(env.fs.readFile(path)).digest('hex')
    const note = () => {
      const logs = env.fs.list('/store').filter((name) => name.endsWith('.log'))
      for (const name of logs.slice(0, -1)) {
        const path = `/store/${name}`
        const hash = hashOf(path)
        expect(hashes.get(path) ?? hash, path).toBe(hash)
        hashes.set(path, hash)
      }
    }
    const consumer = await db.consumer('c')
    for (let i = 0; i < 300; i++) {
      await db.put(pad(i % 40), 'v'.repeat(i % 120))
      if (i % 7 === 0) await db.del(pad((i * 3) % 40))
      if (i % 50 === 0) await db.clear({ gte: pad(5), lt: pad(9) })
      if (i % 60 === 0) await consumer.run((_, tx) => tx.put('last', String(i)))
      if (i % 90 === 0) await db.compact()
      if (i % 10 === 0) note()
    }
    await db.close()
    const { db: again } = await openKept(KEPT, env)
    await again.compact()
    note()
    expect(hashes.size).toBeGreaterThan(10)
  })

  it(`D24 shows every reader the same order of a key, and a slow one delays no other (seed ${SEED})`, async () => {
    const { db } = await openKept()
    const random = new SeededRandom(SEED)
    const consumers = [await db.consumer('slow'), await db.consumer('quick')] as const
    const orders = [new Map<string, string[]>(), new Map<string, string[]>()] as const
    let release!: () => void
    const isReleased = new Promise<void>((resolve) => {
      release = resolve
    })
    const follow = (consumer: Opened, order: Map<string, string[]>, gate: Promise<void> | undefined) =>
      consumer.run(
        ({ ops: [op] }) => {
          if (op?.type === 'put') order.set(op.key, [...(order.get(op.key) ?? []), op.value])
          return gate
        },
        { live: true },
      )
    const runs = [follow(consumers[0], orders[0], isReleased), follow(consumers[1], orders[1], undefined)]
    const written = new Map<string, string[]>()
    for (let i = 0; i < 300; i++) {
      const key = `key ${random.below(5)}`
      written.set(key, [...(written.get(key) ?? []), String(i)])
      await db.put(key, String(i))
    }
    await until(() => consumers[1].lag === 0)
    expect(orders[1]).toEqual(written)
    expect(consumers[0].lag).toBeGreaterThan(298)
    release()
    await until(() => consumers[0].lag === 0)
    expect(orders[0]).toEqual(written)
    await Promise.all(consumers.map((consumer) => consumer.close()))
    await Promise.all(runs)
  })

  it(`D27 feeds readers of many kinds at their own speed: all equal a recomputation (seed ${SEED})`, async () => {
    const { db } = await openKept()
    const random = new SeededRandom(SEED)
    const visits = new Map<string, number>()
    const alarms: string[] = []
    const pairs = new Map<string, number>()
    let lastUser = ''
    const handlers = {
      analytics: (page: string) => void visits.set(page, (visits.get(page) ?? 0) + 1),
      anomaly: async (page: string, _user: string, at: number) => {
        if (at % 40 === 0) await turns(2)
        if (page === 'page 0') alarms.push(`${at} ${page}`)
      },
      recommendation: async (_page: string, user: string, at: number) => {
        if (at % 7 === 0) await turns(1)
        pairs.set(`${lastUser}>${user}`, (pairs.get(`${lastUser}>${user}`) ?? 0) + 1)
        lastUser = user
      },
    }
    const runs: Promise<void>[] = []
    const consumers: Opened[] = []
    for (const [name, handler] of Object.entries(handlers)) {
      const consumer = await db.consumer(name)
      consumers.push(consumer)
      const handle = ({ position, ops: [op] }: Change<string, string>) =>
        op?.type === 'put' ? handler(op.key, op.value, position) : undefined
      runs.push(consumer.run(handle, { live: true }))
    }
    for (let i = 0; i < 600; i++) {
      void db.put(`page ${random.below(12)}`, `user ${random.below(6)}`)
      if (i % 30 === 0) await turns(1)
    }
    await db.sync()
    await until(() => consumers.every(({ lag }) => lag === 0), 10_000)
    await Promise.all(consumers.map((consumer) => consumer.close()))
    await Promise.all(runs)
    const [foundVisits, foundAlarms, foundPairs] = [new Map(visits), [...alarms], new Map(pairs)]
    visits.clear()
    alarms.length = 0
    pairs.clear()
    lastUser = ''
    for (const { position, ops } of await changesOf(db)) {
      const [op] = ops
      if (op?.type !== 'put') continue
      handlers.analytics(op.key)
      await handlers.anomaly(op.key, op.value, position)
      await handlers.recommendation(op.key, op.value, position)
    }
    expect([foundVisits, foundAlarms, foundPairs]).toEqual([visits, alarms, pairs])
  })

  it('D35 goes on for all others while one takes no writes for a minute, and that one catches up', async () => {
    const clock = new HandClock()
    const { db } = await openKept({ ...KEPT, durability: 'os' }, handClockEnv(clock))
    const names = ['cache', 'search', 'warehouse'] as const
    const copies = names.map(() => new Map<string, string>())
    const applied = names.map(() => [] as number[])
    const start = async (i: number) => {
      const consumer = await db.consumer(names[i]!)
      const run = consumer.run(
        (change) => {
          applyTo(copies[i]!, change)
          applied[i]!.push(change.position)
        },
        { live: true },
      )
      return { consumer, run }
    }
    const running = [await start(0), await start(1), await start(2)]
    const stop = async (i: number) => {
      await running[i]!.consumer.close()
      await running[i]!.run
    }
    for (let second = 1; second <= 90; second++) {
      if (second === 15) await stop(1)
      if (second === 75) running[1] = await start(1)
      await db.put(pad(second % 20), String(second))
      await clock.pass(1000)
      const lags = db.stats().consumers.map(({ lagMs }) => lagMs)
      expect(Math.max(lags[0]!, lags[2]!), `second ${second}`).toBeLessThan(100)
      if (second > 20 && second < 75) expect(lags[1]).toBeGreaterThanOrEqual((second - 16) * 1000)
      if (second > 76) expect(lags[1]).toBeLessThan(100)
    }
    expect(Object.fromEntries(copies[1]!)).toEqual(Object.fromEntries(await db.entries().all()))
    expect(copies[1]).toEqual(copies[0])
    // No change was missed, and none came twice.
    expect(applied[1]).toEqual(applied[0])
    expect(new Set(applied[1]).size).toBe(90)
    for (let i = 0; i < 3; i++) await stop(i)
  })
})
