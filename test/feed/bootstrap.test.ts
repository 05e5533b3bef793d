import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import type { BootstrapEvent, Change, OpenOptions } from '../../src/index.js'
import { codeOf, dump, failureOf, type OpenedStore, openMemory, pad, TINY } from '../store/helpers.js'

type Db = OpenedStore['db']
type Event = BootstrapEvent<string, string>

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30 } }

const opened: Db[] = []
async function openKept(options: OpenOptions = KEPT): Promise<OpenedStore> {
  const store = await openMemory(options)
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

/** A store of another kind, filled by a bootstrap alone. It refuses to be given a write twice. */
class Sink {
  readonly entries = new Map<string, { value: string; position: number }>()
  readonly #given = new Set<string>()
  endedAt: number | undefined
  resume: string | undefined

  take(event: Event): void {
    this.resume = event.resume
    if (event.type === 'snapshot.ended') this.endedAt = event.position
    else if (event.type === 'snapshot')
      for (const [key, value, position] of event.entries) this.#put(key, value, position)
    else this.#apply(event.change)
  }

  values(): Record<string, string> {
    return Object.fromEntries([...this.entries].sort().map(([key, { value }]) => [key, value]))
  }

  #apply({ position, ops }: Change<string, string>): void {
    for (const op of ops) {
      if (op.type === 'put') this.#put(op.key, op.value, position)
      else if (op.type === 'del') this.entries.delete(op.key)
      else {
        for (const [key, entry] of [...this.entries]) {
          const bytes = Buffer.from(key)
          const isIn = bytes.compare(op.start) >= 0 && (!op.end || bytes.compare(op.end) < 0)
          if (!isIn) continue
          if (entry.position > position) throw new Error(`the clear at ${position} takes a newer ${key}`)
          this.entries.delete(key)
        }
      }
    }
  }

  #put(key: string, value: string, position: number): void {
    const name = `${key}@${position}`
    if (this.#given.has(name)) throw new Error(`${name} came twice`)
    this.#given.add(name)
    const before = this.entries.get(key)
    if (before && before.position > position) throw new Error(`${name} came after ${before.position}`)
    this.entries.set(key, { value, position })
  }
}

/** Takes up to `count` events; true if it came to the end. */
async function take(db: Db, sink: Sink, count = Number.POSITIVE_INFINITY): Promise<boolean> {
  let left = count
  if (left === 0) return false
  for await (const event of db.bootstrap({ resume: sink.resume })) {
    sink.take(event)
    if (--left === 0) return false
  }
  return true
}

async function fill(db: Db, count: number): Promise<void> {
  for (let i = 0; i < count; i++) void db.put(pad(i), `value ${i} `.repeat(1 + (i % 5)))
  await db.sync()
}

describe('bootstrap', () => {
  it('gives the entries with their positions, the end of the snapshot, then the log', async () => {
    const { db } = await openKept()
    await db.put('a', '1')
    await db.put('b', '2')
    await db.del('a')
    await db.put('c', '3')
    const iterator = db.bootstrap({ live: true })
    const { value: first } = await iterator.next()
    expect(first).toMatchObject({
      type: 'snapshot',
      entries: [
        ['b', '2', 2],
        ['c', '3', 4],
      ],
    })
    const written = db.put('d', '4')
    expect((await iterator.next()).value).toMatchObject({ type: 'snapshot.ended', position: 4 })
    expect((await iterator.next()).value).toMatchObject({ type: 'change', change: { position: 5 } })
    expect(await written).toBe(5)
    const waiting = iterator.next()
    await iterator.return!()
    expect(await waiting).toEqual({ value: undefined, done: true })
  })

  it('is a snapshot, whatever is written meanwhile, in pieces that bound its memory', async () => {
    const { db } = await openKept()
    await fill(db, 2000)
    const sink = new Sink()
    const sizes: number[] = []
    let writes = 0
    for await (const event of db.bootstrap()) {
      sink.take(event)
      if (event.type !== 'snapshot') continue
      sizes.push(event.entries.length)
      for (let i = 0; i < 50; i++) void db.put(pad((writes++ * 37) % 2500), 'new')
      void db.clear({ gte: pad(writes), lt: pad(writes + 30) })
      await db.flush()
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(256)
    expect(sizes.length).toBeGreaterThan(6)
    expect(sink.endedAt).toBe(2000)
    expect(sink.values()).toEqual(await dump(db))
    expect(db.stats().snapshots.count).toBe(0)
  })

  it(`gives each write once, in order, however often it is broken off and resumed (seed ${SEED})`, async () => {
    const step = fc.record({
      events: fc.nat(4),
      writes: fc.array(fc.record({ kind: fc.nat(9), key: fc.nat(1200), size: fc.nat(300) }), {
        maxLength: 12,
      }),
      next: fc.constantFrom('nothing', 'flush', 'compact', 'reopen'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        let { db, env } = await openMemory(KEPT)
        await fill(db, 1200)
        const sink = new Sink()
        for (const { events, writes, next } of steps) {
          await take(db, sink, events)
          for (const { kind, key, size } of writes) {
            if (kind === 0) void db.clear({ gte: pad(key), lt: pad(key + size) })
            else if (kind < 4) void db.del(pad(key))
            else void db.put(pad(key), `${kind} `.repeat(1 + (size % 20)))
          }
          await db.sync()
          if (next === 'flush') await db.flush()
          if (next === 'compact') await db.compact()
          if (next === 'reopen') {
            await db.close()
            db = (await openMemory(KEPT, env)).db
          }
        }
        expect(await take(db, sink)).toBe(true)
        expect(sink.values()).toEqual(await dump(db))
        await db.close()
      }),
      { seed: SEED, numRuns: 6 },
    )
  })

  it('tells with snapshot.ended when a resumed one is whole, and is that state then', async () => {
    const { db } = await openKept()
    await fill(db, 1000)
    const sink = new Sink()
    await take(db, sink, 2)
    await db.del(pad(3))
    await db.put(pad(4), 'changed')
    await db.del(pad(900))
    const expected = await dump(db)
    for await (const event of db.bootstrap({ resume: sink.resume })) {
      sink.take(event)
      if (event.type !== 'snapshot.ended') continue
      expect(event.position).toBe(1003)
      expect(sink.values()).toEqual(expected)
    }
    expect(sink.endedAt).toBe(1003)
  })

  it('lets a clear that came between two runs reach only the keys that were read before it', async () => {
    const { db } = await openKept()
    await fill(db, 1000)
    const sink = new Sink()
    await take(db, sink, 1)
    await db.clear()
    await db.put(pad(3), 'again')
    await db.put(pad(900), 'again')
    const clears: object[] = []
    for await (const event of db.bootstrap({ resume: sink.resume })) {
      sink.take(event)
      if (event.type === 'change') clears.push(...event.change.ops.filter(({ type }) => type === 'clear'))
    }
    expect(sink.values()).toEqual({ [pad(3)]: 'again', [pad(900)]: 'again' })
    expect(clears).toMatchObject([{ range: { lte: pad(255) } }])
  })

  it('holds the log from its snapshot on, and nothing once it is done', async () => {
    const { db } = await openKept(TINY)
    await fill(db, 400)
    const iterator = db.bootstrap()
    const sink = new Sink()
    sink.take((await iterator.next()).value)
    for (let i = 0; i < 300; i++) await db.put(pad(i), 'v'.repeat(60))
    await db.flush()
    expect(db.oldestPosition).toBeLessThanOrEqual(401)
    for await (const event of iterator) sink.take(event)
    expect(sink.values()).toEqual(await dump(db))
    await db.put('z', '1')
    await db.flush()
    expect(db.oldestPosition).toBeGreaterThan(600)
  })
})

describe('a bootstrap that cannot go on', () => {
  it('refuses tokens of other stores, of the future, and whatever is none', async () => {
    const { db } = await openKept()
    await fill(db, 600)
    const other = await openMemory({ ...KEPT })
    opened.push(other.db)
    const sink = new Sink()
    await take(db, sink, 1)
    const token = sink.resume!
    const [head, position, check] = token.split('.') as [string, string, string]
    const damaged = [
      '',
      'x',
      token.slice(0, -1),
      token.slice(1),
      `${head}.${(Number.parseInt(position, 36) - 1).toString(36)}.${check}`,
      `${head}.${position}.${check}.`,
      `${head.slice(0, -4)}AAAA.${position}.${check}`,
    ]
    for (const resume of damaged)
      expect(await codeOf(() => db.bootstrap({ resume }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => db.bootstrap({ resume: 5 as never }))).toBe('VARVE_INVALID_ARGUMENT')
    const before = db.stats().snapshots.count
    expect(await codeOf(() => db.bootstrap({ resume: token }).return!())).toBeUndefined()
    expect(db.stats().snapshots.count).toBe(before)
  })

  it('refuses the token of another store by its id', async () => {
    const { db, env } = await openKept()
    await fill(db, 600)
    const sink = new Sink()
    await take(db, sink, 1)
    await db.checkpoint('/copy')
    const { open } = await import('../../src/database.js')
    const copy: Db = await open('/copy', { ...KEPT, env } as OpenOptions)
    opened.push(copy)
    const failure = await failureOf(() => copy.bootstrap({ resume: sink.resume }))
    expect(failure).toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' })
    expect(failure!.message).toContain('another store')
  })

  it('names the oldest position where the log is gone', async () => {
    const { db } = await openKept(TINY)
    await fill(db, 600)
    const sink = new Sink()
    await take(db, sink, 1)
    for (let i = 0; i < 200; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    const failure = await failureOf(() => db.bootstrap({ resume: sink.resume }))
    expect(failure).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
  })

  it('ends with the store and with its signal, in the snapshot and at the end of the log', async () => {
    const { db } = await openKept()
    await fill(db, 1000)
    const controller = new AbortController()
    const early = db.bootstrap({ signal: controller.signal })
    await early.next()
    const atEnd = db.bootstrap({ live: true, signal: controller.signal })
    const closing = db.bootstrap({ live: true })
    for (const iterator of [atEnd, closing]) {
      for (let event = await iterator.next(); event.value.type !== 'snapshot.ended'; )
        event = await iterator.next()
    }
    const ended = codeOf(() => atEnd.next())
    const closed = codeOf(() => closing.next())
    controller.abort()
    expect(await ended).toBe('VARVE_ABORTED')
    expect(await codeOf(() => early.next())).toBe('VARVE_ABORTED')
    await db.close()
    expect(await closed).toBe('VARVE_CLOSED')
    expect(await codeOf(() => db.bootstrap())).toBe('VARVE_CLOSED')
  })
})
