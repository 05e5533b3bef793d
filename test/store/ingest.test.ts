import { afterEach, describe, expect, it } from 'vitest'
import { CRASH_POLICIES } from '../../src/env/crash-states.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { type Database, ingest, type OpenOptions, open } from '../../src/index.js'
import { serveLog } from '../../src/replication.js'
import { caughtUp, logOf, openMemoryFollower } from '../replication/helpers.js'
import { codeOf, dump, failureOf, openMemory, pad, recovered, STORE, TINY, until } from './helpers.js'

const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close().catch(() => {})
})

async function openTiny(options: OpenOptions = {}) {
  const { db, env } = await openMemory({ ...TINY, ...options })
  opened.push(db)
  return { db, env }
}

function* entries(count: number, from = 0): Generator<[string, string]> {
  for (let i = from; i < from + count; i++) yield [`k${pad(i)}`, `value ${i} `.repeat(1 + (i % 5))]
}

async function* slowly<T>(source: Iterable<T>): AsyncGenerator<T> {
  for (const each of source) {
    await null
    yield each
  }
}

describe('ingest', () => {
  it('writes every entry once, in batches that the log shows and followers get', async () => {
    const { db } = await openTiny({ log: { maxBytes: 1 << 20 } })
    const server = await serveLog(db)
    opened.push(server)
    const seen: { readonly entries: number; readonly position: number; readonly lastKey: string }[] = []
    const report = await ingest(db, entries(500), { batchBytes: 700, onProgress: (each) => seen.push(each) })
    expect(report).toMatchObject({ entries: 500, position: db.position })
    expect(await dump(db)).toEqual(Object.fromEntries(entries(500)))
    const positions = seen.map(({ position }) => position)
    expect(positions).toEqual(positions.map((_, i) => i + 1))
    expect(seen.at(-1)).toMatchObject({ ...report, lastKey: 'k00499' })
    let count = 0
    for await (const { ops, position } of db.changes()) {
      count += ops.length
      expect(seen[position - 1]!.entries).toBe(count)
    }
    expect(count).toBe(500)
    const follower = await openMemoryFollower(server.url, { log: { maxBytes: 1 << 20 } })
    opened.push(follower)
    await caughtUp(follower, db)
    expect(await logOf(follower, 0)).toEqual(await logOf(db, 0))
    expect(await codeOf(() => ingest(follower, entries(1)))).toBe('VARVE_NOT_LEADER')
  })

  it('of sorted entries moves segments down instead of merging them', async () => {
    const { db } = await openTiny()
    await ingest(db, entries(1200), { batchBytes: 500 })
    await db.flush()
    await ingest(db, entries(300, 1200), { batchBytes: 500 })
    await db.flush()
    const { jobs, levels, writeAmplification } = db.stats()
    expect(jobs.moves).toBeGreaterThan(10)
    expect(jobs.compactions).toBe(0)
    expect(writeAmplification).toBe(1)
    expect(levels.at(-1)!.segments + levels[1]!.segments).toBeGreaterThan(0)
    await db.verify()
    expect((await db.keys().all()).length).toBe(1500)
    // What lies on top of older entries is merged as ever, though no other flush touches it: at the latest where it is
    // moved to, which depends on how far the older ones have come.
    for (const from of [1250, 1330, 1250, 1330, 1250, 1330]) {
      for (let i = from; i < from + 30; i++) await db.put(`k${pad(i)}`, `${Math.sin(i)}${Math.cos(i)}`)
      await db.flush()
    }
    await until(() => db.stats().jobs.compactions > 0)
    expect(db.stats().jobs.compactions).toBeGreaterThan(0)
    expect(await db.getMany([`k${pad(1253)}`, `k${pad(1333)}`])).toEqual(
      [1253, 1333].map((i) => `${Math.sin(i)}${Math.cos(i)}`),
    )
    await db.put('k00000', 'new')
    for (let i = 0; i < 150; i++) await db.put(`k${pad((i * 977) % 1500)}`, 'x'.repeat(40))
    await db.flush()
    expect(await db.get('k00000')).toMatch(/^(new|x+)$/)
    await db.verify()
  })

  it('takes any kind of source, other encodings, and what is used again for each entry', async () => {
    const { db } = await openTiny()
    const numbers = db.withEncodings<[string, number], Buffer>({
      keyEncoding: 'tuple',
      valueEncoding: 'buffer',
    })
    const value = Buffer.alloc(20)
    const entry: [[string, number], Buffer] = [['n', 0], value]
    async function* reused() {
      for (let i = 0; i < 200; i++) {
        entry[0] = ['n', i]
        value.fill(i)
        yield entry
      }
    }
    expect(await ingest(numbers, reused(), { batchBytes: 300 })).toMatchObject({ entries: 200 })
    const found = await numbers.entries().all()
    expect(found.map(([key, bytes]) => [key[1], bytes[0], bytes[19]])).toEqual(found.map((_, i) => [i, i, i]))
    expect(await ingest(db, [['z', 'ä'.repeat(5000)]], { batchBytes: 10 })).toMatchObject({ entries: 1 })
    expect((await db.get('z'))?.length).toBe(5000)
    expect(await ingest(db, [])).toEqual({ entries: 0, bytes: 0, position: db.position })
    const twice: [string, string][] = [
      ['b', '1'],
      ['a', '2'],
      ['b', '3'],
    ]
    await ingest(db, twice, { sorted: false })
    expect(await db.getMany(['a', 'b'])).toEqual(['2', '3'])
  })

  it('refuses what is out of order and names the entry, and writes nothing of its batch', async () => {
    const { db } = await openTiny()
    for (const [keys, what] of [
      [['a', 'c', 'b'], 'entry 2 sorts before the one before it'],
      [['a', 'b', 'b'], 'entry 2 has the same key as the one before it'],
      [['a', '😀', '\uff5e'], 'entry 2 sorts before the one before it'],
    ] as const) {
      const source = keys.map((key): [string, string] => [key, ''])
      expect(await failureOf(() => ingest(db, source))).toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
        message: what,
      })
      expect(db.position).toBe(0)
    }
    const pair: [string, string][] = [
      ['b', ''],
      ['a', ''],
    ]
    expect((await failureOf(() => ingest(db, pair, { batchBytes: 1 })))?.message).toMatch(/^entry 1 sorts/)
    await db.clear()
    // Across the edge of a batch, too.
    const source = [...entries(100), ['k00098', ''] as [string, string]]
    expect((await failureOf(() => ingest(db, slowly(source), { batchBytes: 64 })))?.message).toMatch(
      /^entry 100 /,
    )
    const found = await db.keys().all()
    expect(found).toEqual([...entries(found.length)].map(([key]) => key))
    expect(found.length).toBeGreaterThan(95)
  })

  it('takes no bad arguments', async () => {
    const { db } = await openTiny()
    const sources = [1, null, undefined, {}, 'ab', [['a']], [['a', 'b', 'c']], [1], [['a', 1]]]
    for (const source of sources)
      expect(await codeOf(() => ingest(db, source as never)), JSON.stringify(source)).toBe(
        'VARVE_INVALID_ARGUMENT',
      )
    for (const options of [
      { batchBytes: 0 },
      { batchBytes: 1e9 },
      { sorted: 1 },
      { durability: 'x' },
      { sort: true },
    ])
      expect(await codeOf(() => ingest(db, entries(1), options as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => ingest(db, [['k'.repeat(70_000), '']]))).toBe('VARVE_LIMIT')
    expect(db.position).toBe(0)
  })

  it('reads no further than it writes, and ends with its signal, its source or the store', async () => {
    const { db } = await openTiny()
    let read = 0
    let committed = 0
    const counted = async function* (count: number) {
      for (const entry of entries(count, read)) {
        read++
        expect(read - committed).toBeLessThan(60)
        yield entry
      }
    }
    const onProgress = (progress: { entries: number }) => {
      committed = progress.entries
    }
    await ingest(db, counted(1000), { batchBytes: 300, onProgress })
    const aborter = new AbortController()
    let returned = false
    const endless = async function* (): AsyncGenerator<[string, string]> {
      try {
        for (let i = 1000; ; i++) {
          if (i === 1500) aborter.abort()
          yield [`k${pad(i)}`, '']
        }
      } finally {
        returned = true
      }
    }
    expect(await codeOf(() => ingest(db, endless(), { signal: aborter.signal, batchBytes: 300 }))).toBe(
      'VARVE_ABORTED',
    )
    expect(returned).toBe(true)
    const failing = function* (): Generator<[string, string]> {
      yield* entries(50, 2000)
      throw new RangeError('the source')
    }
    await expect(ingest(db, failing())).rejects.toThrow(RangeError)
    const closing = async function* (): AsyncGenerator<[string, string]> {
      for (let i = 3000; ; i++) {
        if (i === 3300) void db.close()
        yield [`k${pad(i)}`, 'x']
      }
    }
    expect(await codeOf(() => ingest(db, closing(), { batchBytes: 200 }))).toBe('VARVE_CLOSED')
    expect(await codeOf(() => ingest(db, entries(1)))).toBe('VARVE_CLOSED')
  })

  it('leaves a prefix of the entries after a crash, and goes on after the last', async () => {
    const env = memoryEnv({ seed: 5 })
    const options = { ...TINY, durability: 'disk', env } as OpenOptions
    const db: Database = await open(STORE, options)
    const states: { readonly fs: typeof env.fs; readonly committed: number }[] = []
    let committed = 0
    env.fs.onStep = ({ index }) => {
      if (index % 7 === 0) states.push({ fs: env.fs.clone(), committed })
    }
    await ingest(db, entries(150), {
      batchBytes: 300,
      onProgress: (progress) => {
        committed = progress.entries
      },
    })
    env.fs.onStep = undefined
    await db.close()
    const all = [...entries(150)]
    for (const { fs, committed } of states) {
      for (const { fs: left } of fs.crashStates(CRASH_POLICIES.slice(0, 2))) {
        const found = Object.entries(await recovered(left)).sort()
        expect(found).toEqual(all.slice(0, found.length))
        expect(found.length).toBeGreaterThanOrEqual(committed)
      }
    }
    expect(states.length).toBeGreaterThan(10)
  })
})
