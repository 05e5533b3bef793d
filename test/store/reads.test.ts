import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { codeOf, dump, openMemory, pad, STORE, TINY } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

function openWith<K, V>(options: OpenOptions<K, V>): Promise<Database<K, V>> {
  return open<K, V>(STORE, { ...options, env: memoryEnv() } as OpenOptions<K, V>)
}

/** As it comes from the memtable, and again from segments. */
async function twice(db: { flush(): Promise<void> }, check: () => Promise<void>): Promise<void> {
  await check()
  await db.flush()
  await check()
}

describe('encodings', () => {
  it.each([
    '',
    'a',
    'é',
    '水',
    '😀',
    '\0',
    'a\0b',
    '\uffff',
    'x'.repeat(2000),
    '😀'.repeat(500),
  ])('utf8 gives %.8j back, as key and as value', async (text) => {
    const db = await openWith<string, string>({})
    await db.put(text, text)
    await twice(db, async () => {
      expect(await db.get(text)).toBe(text)
      expect(await db.entries().all()).toEqual([[text, text]])
    })
    await db.close()
  })

  it.each(['buffer', 'view'] as const)('%s gives every byte back', async (encoding) => {
    const db = await openWith<Uint8Array, Uint8Array>({ keyEncoding: encoding, valueEncoding: encoding })
    const all = Uint8Array.from({ length: 256 }, (_, i) => i)
    await db.put(all, all)
    await db.put(new Uint8Array(0), new Uint8Array(0))
    await db.put(new Uint8Array(new ArrayBuffer(8), 2, 3).fill(7), all.subarray(3, 5))
    await twice(db, async () => {
      expect(Buffer.compare((await db.get(all))!, all)).toBe(0)
      expect((await db.get(new Uint8Array(0)))?.length).toBe(0)
      expect([...(await db.get(new Uint8Array([7, 7, 7])))!]).toEqual([3, 4])
    })
    await db.close()
  })

  it('buffer hands out copies: what a caller does to one changes nothing', async () => {
    const db = await openWith<string, Buffer>({ valueEncoding: 'buffer' } as never)
    await db.put('a', Buffer.from('hello'))
    await twice(db, async () => {
      ;(await db.get('a'))!.fill(0)
      db.getSync('a')!.fill(0)
      expect((await db.get('a'))!.toString()).toBe('hello')
    })
    await db.close()
  })

  it('view stays what it was while the store goes on', async () => {
    const db = await openWith<string, Uint8Array>({ ...TINY, valueEncoding: 'view' } as never)
    await db.put('a', Buffer.from('hello'))
    const view = (await db.get('a'))!
    for (let i = 0; i < 200; i++) await db.put(pad(i), Buffer.alloc(100, i))
    await db.compact()
    expect(Buffer.from(view).toString()).toBe('hello')
    await db.close()
  })

  it('json and a custom encoding give values back', async () => {
    const upper = {
      encode: (text: string) => Buffer.from(text.toUpperCase()),
      decode: (bytes: Uint8Array) => Buffer.from(bytes).toString().toLowerCase(),
    }
    const db = await openWith<string, unknown>({ keyEncoding: upper, valueEncoding: 'json' } as never)
    const values = [null, 1, 'a', [1, { b: [] }], { c: '\ud800' }, false, '']
    for (const [i, value] of values.entries()) await db.put(`k${i}`, value)
    await twice(db, async () => {
      expect(await db.values().all()).toEqual(values)
      expect(await db.keys({ limit: 1 }).all()).toEqual(['k0'])
      expect(await db.get('K1')).toBe(1)
    })
    expect(await codeOf(() => db.put('x', undefined))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => db.put('x', 1n))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })
})

type Part = string | number | boolean | null
type Tuple = Part[]

/** null, then booleans, then numbers, then strings by code point. */
function compareParts(a: Part, b: Part): number {
  const rank = (part: Part) =>
    part === null ? 0 : typeof part === 'boolean' ? 1 : typeof part === 'number' ? 2 : 3
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  return Number(a) - Number(b)
}

function compareTuples(a: Tuple, b: Tuple): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const order = compareParts(a[i]!, b[i]!)
    if (order !== 0) return order
  }
  return a.length - b.length
}

describe('tuple keys', () => {
  const part = fc.oneof(
    fc.constantFrom<Part>(true, false, 0, 1, -1, 2 ** 31, -(2 ** 40), 1.5, 'a', 'ab', 'b'),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    fc.stringMatching(/^[a-zé水]{1,6}$/),
  )
  const tuples = fc.uniqueArray(fc.array(part, { minLength: 1, maxLength: 3 }), {
    minLength: 2,
    maxLength: 30,
    comparator: (a, b) => compareTuples(a, b) === 0,
  })

  it(`come back as they were, in the order of their typed parts (seed ${SEED})`, async () => {
    const property = fc.asyncProperty(tuples, async (keys) => {
      const db = await openWith<Tuple, string>({ keyEncoding: 'tuple' })
      await Promise.all(keys.map((key) => db.put(key, JSON.stringify(key))))
      const sorted = [...keys].sort(compareTuples)
      expect(await db.keys().all()).toEqual(sorted)
      expect(await db.keys({ reverse: true }).all()).toEqual(sorted.toReversed())
      expect(await db.getMany(sorted)).toEqual(sorted.map((key) => JSON.stringify(key)))
      await db.close()
    })
    await fc.assert(property, { seed: SEED, numRuns: 60 })
  })

  it.each([
    [[null]],
    [['a', null]],
    [[null, 1]],
    [[1.5, null]],
    [['', '']],
    [[]],
    [['a', '\x01']],
  ])('of %j come back as they were', async (key) => {
    const db = await openWith<Tuple, string>({ keyEncoding: 'tuple' })
    await db.put(key, 'v')
    expect(await db.entries().all()).toEqual([[key, 'v']])
    await db.close()
  })

  it('are found by a prefix of whole parts, and not by part of a part', async () => {
    const db = await openWith<Tuple, string>({ keyEncoding: 'tuple' })
    const keys: Tuple[] = [
      ['a'],
      ['a', 1],
      ['a', 1, 'x'],
      ['a', 2],
      ['a', 'b'],
      ['ab'],
      ['ab', 1],
      ['b'],
      [1, 2],
      [1],
    ]
    for (const key of keys) await db.put(key, 'v')
    expect(await db.keys({ prefix: ['a'] }).all()).toEqual([
      ['a'],
      ['a', 1],
      ['a', 1, 'x'],
      ['a', 2],
      ['a', 'b'],
    ])
    expect(await db.keys({ prefix: ['a', 1] }).all()).toEqual([
      ['a', 1],
      ['a', 1, 'x'],
    ])
    expect(await db.keys({ prefix: ['ab'], reverse: true }).all()).toEqual([['ab', 1], ['ab']])
    expect(await db.keys({ prefix: [] }).all()).toHaveLength(keys.length)
    await db.clear({ prefix: ['a'] })
    expect(await db.keys().all()).toEqual([[1], [1, 2], ['ab'], ['ab', 1], ['b']])
    await db.close()
  })

  it.each([
    [['a', undefined]],
    [[{}]],
    [[Number.NaN]],
    ['a'],
    [['\ud800']],
    [[Symbol('s')]],
  ])('of %o are refused', async (key) => {
    const db = await openWith<Tuple, string>({ keyEncoding: 'tuple' })
    expect(await codeOf(() => db.put(key as Tuple, 'v'))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })
})

describe('point reads', () => {
  it('agree with one another, and a missing key is undefined', async () => {
    const { db } = await openMemory()
    await db.put('a', '1')
    await db.put('gone', '1')
    await db.del('gone')
    await twice(db, async () => {
      for (const [key, value] of [
        ['a', '1'],
        ['gone', undefined],
        ['never', undefined],
      ] as const) {
        expect(await db.get(key)).toBe(value)
        expect(db.getSync(key)).toBe(value)
        expect(await db.has(key)).toBe(value !== undefined)
        expect((await db.getEntry(key))?.value).toBe(value)
      }
      expect(await db.getMany(['never', 'a', 'gone', 'a'])).toEqual([undefined, '1', undefined, '1'])
      expect(await db.getMany([])).toEqual([])
    })
    await db.close()
  })

  it('getEntry tells the position that wrote the value, through flush, compaction and reopen', async () => {
    const { db, env } = await openMemory(TINY)
    await db.put('a', '1')
    await db.batch([{ type: 'put', key: 'b', value: '1' }])
    const position = await db.put('a', '2')
    await db.put('c', '1')
    const wanted = [
      { value: '2', position },
      { value: '1', position: 2 },
    ]
    await twice(db, async () => expect([await db.getEntry('a'), await db.getEntry('b')]).toEqual(wanted))
    await db.compact()
    expect([await db.getEntry('a'), await db.getEntry('b')]).toEqual(wanted)
    await db.close()
    const again = await openMemory(TINY, memoryEnv({ fs: env.fs }))
    expect([await again.db.getEntry('a'), await again.db.getEntry('b')]).toEqual(wanted)
    await again.db.close()
  })

  it('getMany sees one position, whatever is written while it runs', async () => {
    const { db } = await openMemory(TINY)
    const keys = Array.from({ length: 500 }, (_, i) => pad(i))
    const writeAll = (value: string) => db.batch(keys.map((key) => ({ type: 'put', key, value })))
    await writeAll('0')
    await db.flush()
    for (let round = 1; round <= 10; round++) {
      const [values] = await Promise.all([db.getMany(keys), writeAll(String(round))])
      expect(new Set(values)).toEqual(new Set([String(round - 1)]))
    }
    expect(db.stats().snapshots.count).toBe(0)
    await db.close()
  })

  it('getMany lets its array and keys be used again at once', async () => {
    const db = await openWith<Buffer, string>({ ...TINY, keyEncoding: 'buffer' } as never)
    const key = Buffer.from('a')
    await db.put(key, '1')
    const keys = Array.from({ length: 200 }, () => key)
    const reading = db.getMany(keys)
    key.write('b')
    keys.length = 0
    expect(await reading).toEqual(new Array(200).fill('1'))
    await db.close()
  })

  it('getMany keeps the keys that are left when it first waits', async () => {
    const env = memoryEnv()
    let nowMs = 0
    // Two milliseconds between any two looks: every turn is due, and no disk is quick.
    const monotonicMs = () => {
      nowMs += 2
      return nowMs
    }
    const options = { ...TINY, memory: 2 ** 16, keyEncoding: 'buffer' as const }
    const db = await open<Buffer, string>(STORE, {
      ...options,
      env: { ...env, clock: { ...env.clock, monotonicMs, sleep: () => env.clock.sleep(0) } },
    } as never)
    const names = Array.from({ length: 300 }, (_, i) => pad(i))
    for (const name of names) void db.put(Buffer.from(name), name)
    await db.compact()
    const keys = names.map((name) => Buffer.from(name))
    const reading = db.getMany(keys)
    for (const key of keys) key.fill(0)
    expect(await reading).toEqual(names)
    await db.close()
  })
})

describe('atLeast', () => {
  it('waits for the position, and reads what is there then', async () => {
    const { db } = await openMemory()
    await db.put('a', '1')
    expect(await db.get('a', { atLeast: 1 })).toBe('1')
    const reads = [
      db.get('a', { atLeast: 3 }),
      db.getEntry('a', { atLeast: 3, timeoutMs: 5000 }).then((entry) => entry?.value),
      db.getMany(['a'], { atLeast: 3 }).then(([value]) => value),
      db.has('a', { atLeast: 3 }).then((isThere) => (isThere ? '3' : 'none')),
    ]
    let isDone = false
    void Promise.race(reads).then(() => {
      isDone = true
    })
    await db.put('a', '2')
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(isDone).toBe(false)
    await db.put('a', '3')
    expect(await Promise.all(reads)).toEqual(['3', '3', '3', '3'])
    await db.close()
  })

  it('is VARVE_TIMEOUT when the position does not come in time, at once for getSync', async () => {
    const { db } = await openMemory()
    await db.put('a', '1')
    expect(await codeOf(() => db.get('a', { atLeast: 2, timeoutMs: 5 }))).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => db.get('a', { atLeast: 2, timeoutMs: 0 }))).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => db.getSync('a', { atLeast: 2 }))).toBe('VARVE_TIMEOUT')
    expect(db.getSync('a', { atLeast: 1 })).toBe('1')
    await db.close()
  })

  it('that waits is VARVE_CLOSED when the store closes', async () => {
    const { db } = await openMemory()
    const waiting = codeOf(() => db.get('a', { atLeast: 1 }))
    await db.close()
    expect(await waiting).toBe('VARVE_CLOSED')
  })
})

describe('a snapshot', () => {
  it('sees the store as it was, through overwrites, deletes, clears, flushes and compactions', async () => {
    const { db } = await openMemory(TINY)
    const taken: { snapshot: ReturnType<typeof db.snapshot>; wanted: Record<string, string> }[] = []
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 40; i++) void db.put(pad(i), `${round}`.repeat(30))
      await db.del(pad(round))
      await db.clear({ gte: pad(20 + round), lt: pad(22 + round) })
      taken.push({ snapshot: db.snapshot(), wanted: await dump(db) })
      if (round % 2 === 1) await db.flush()
    }
    await db.clear()
    for (let pass = 0; pass < 2; pass++) {
      for (const { snapshot, wanted } of taken) {
        expect(Object.fromEntries(await db.entries({ snapshot }).all())).toEqual(wanted)
        expect(Object.fromEntries([...db.entriesSync({ snapshot, reverse: true })])).toEqual(wanted)
        const keys = Object.keys(wanted)
        expect(await db.getMany(keys, { snapshot })).toEqual(Object.values(wanted))
        expect(await db.get(pad(3), { snapshot })).toBe(wanted[pad(3)])
        expect(db.getSync(pad(21), { snapshot })).toBe(wanted[pad(21)])
      }
      await db.compact()
    }
    expect(db.stats().snapshots).toEqual({ count: 6, oldestPosition: taken[0]!.snapshot.position })
    for (const { snapshot } of taken) snapshot.close()
    for (const { snapshot } of taken) snapshot[Symbol.dispose]()
    expect(db.stats().snapshots).toEqual({ count: 0, oldestPosition: undefined })
    await db.compact()
    expect(db.stats().levels.reduce((sum, { entries }) => sum + entries, 0)).toBe(0)
    await db.close()
  })
})

describe('a value as a view', () => {
  it('stays as it is, whatever is read after it', async () => {
    const db = await openWith<string, Uint8Array>({ ...TINY, memory: 65_536, valueEncoding: 'view' })
    for (let i = 0; i < 400; i++) void db.put(pad(i), Buffer.from(`value ${i} `.repeat(8)))
    await db.flush()
    const views = []
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 400; i++) views.push([i, db.getSync(pad(i))!, await db.get(pad(i))] as const)
    }
    for (const [i, sync, awaited] of views) {
      expect(Buffer.from(sync).toString()).toBe(`value ${i} `.repeat(8))
      expect(Buffer.from(awaited!).toString()).toBe(`value ${i} `.repeat(8))
    }
    await db.close()
  })
})
