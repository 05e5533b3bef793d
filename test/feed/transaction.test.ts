import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { VarveError } from '../../src/errors.js'
import { codeOf, openMemory, pad, TINY } from '../store/helpers.js'
import { type Db, KEPT, openKept, SEED, turns } from './helpers.js'

const withdraw = (db: Db, amount: number) =>
  db.transaction(async (tx) => {
    const balance = Number(await tx.get('balance'))
    await turns(1)
    if (balance < amount) return false
    tx.put('balance', String(balance - amount))
    return true
  })

describe('transaction', () => {
  it('D42 lets exactly 10 of 50 concurrent withdrawals of 10 from 100 succeed', async () => {
    const { db } = await openKept()
    await db.put('balance', '100')
    const results = await Promise.all(Array.from({ length: 50 }, () => withdraw(db, 10)))
    expect(results.filter(Boolean)).toHaveLength(10)
    expect(await db.get('balance')).toBe('0')
  })

  it(`D38 bank transfers keep the sum, never go below zero, and retry conflicts (seed ${SEED})`, async () => {
    const { db } = await openKept()
    const accounts = Array.from({ length: 8 }, (_, i) => `account:${i}`)
    await db.batch(accounts.map((key) => ({ type: 'put', key, value: '100' })))
    const random = new SeededRandom(SEED)
    let calls = 0
    const transfers = Array.from({ length: 400 }, () => {
      const [from, to] = [accounts[random.below(8)]!, accounts[random.below(8)]!]
      const amount = 1 + random.below(60)
      return db.transaction(async (tx) => {
        calls++
        const [a, b] = await tx.getMany([from, to])
        if (from === to || Number(a) < amount) return
        await turns(random.below(3))
        tx.put(from, String(Number(a) - amount))
        tx.put(to, String(Number(b) + amount))
      })
    })
    const audits: number[] = []
    const auditor = (async () => {
      for (let i = 0; i < 30; i++) {
        const entries = await db.entries({ prefix: 'account:' }).all()
        audits.push(entries.reduce((sum, [, value]) => sum + Number(value), 0))
        for (const [, value] of entries) expect(Number(value)).toBeGreaterThanOrEqual(0)
        await turns(2)
      }
    })()
    await Promise.all([...transfers, auditor])
    expect(new Set(audits)).toEqual(new Set([800]))
    expect(calls).toBeGreaterThan(400)
  })

  it('reads its own writes over what is stored, point by point and in ranges', async () => {
    const { db } = await openKept()
    for (const key of ['a', 'b', 'c', 'd', 'e']) await db.put(key, key)
    await db.flush()
    await db.put('f', 'f')
    await db.transaction(async (tx) => {
      tx.put('b', 'B')
      tx.del('c')
      tx.put('bb', 'new')
      expect(await tx.get('b')).toBe('B')
      expect(tx.getSync('c')).toBeUndefined()
      expect(await tx.has('bb')).toBe(true)
      expect(await tx.has('c')).toBe(false)
      expect(await tx.has('d')).toBe(true)
      expect(await tx.getMany(['a', 'b', 'c', 'x'])).toEqual(['a', 'B', undefined, undefined])
      const all = async (range = {}) => {
        const found: string[] = []
        for await (const [key, value] of tx.entries(range)) found.push(`${key}=${value}`)
        return found
      }
      expect(await all()).toEqual(['a=a', 'b=B', 'bb=new', 'd=d', 'e=e', 'f=f'])
      expect(await all({ reverse: true, limit: 3 })).toEqual(['f=f', 'e=e', 'd=d'])
      expect(await all({ gt: 'a', lte: 'd', limit: 2 })).toEqual(['b=B', 'bb=new'])
      expect(await all({ prefix: 'b', reverse: true })).toEqual(['bb=new', 'b=B'])
      tx.clear({ gte: 'b', lt: 'e' })
      expect(await all()).toEqual(['a=a', 'e=e', 'f=f'])
      tx.put('d', 'again')
      expect(await all()).toEqual(['a=a', 'd=again', 'e=e', 'f=f'])
      expect(await tx.get('bb')).toBeUndefined()
    })
    expect(await db.entries().all()).toEqual([
      ['a', 'a'],
      ['d', 'again'],
      ['e', 'e'],
      ['f', 'f'],
    ])
  })

  it('shows a clear and what was put after it to followers of the log in an order that folds to the same', async () => {
    const { db } = await openKept()
    await db.put('k1', '1')
    await db.transaction((tx) => {
      tx.put('k2', 'gone')
      tx.clear({ prefix: 'k' })
      tx.put('k1', '2')
    })
    const changes = []
    for await (const change of db.changes({ after: 1 })) changes.push(change.ops)
    expect(changes).toMatchObject([
      [
        { type: 'clear', range: { prefix: 'k' } },
        { type: 'put', key: 'k1', value: '2' },
      ],
    ])
    expect(await db.entries().all()).toEqual([['k1', '2']])
  })

  it('sees the store as it was when it began', async () => {
    const { db } = await openKept(TINY)
    await db.put('a', '1')
    const tx = db.begin()
    await db.put('a', '2')
    for (let i = 0; i < 100; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.compact()
    expect(await tx.get('a')).toBe('1')
    expect(tx.position).toBe(1)
    expect(await tx.commit()).toBe(1)
    expect(await codeOf(() => tx.get('a'))).toBe('VARVE_CLOSED')
    expect(db.stats().snapshots.count).toBe(0)
  })

  it('gives up after its retries, and says so', async () => {
    const { db } = await openKept()
    await db.put('a', '0')
    let calls = 0
    const losing = db.transaction(
      async (tx) => {
        calls++
        await tx.get('a')
        await db.put('a', String(calls))
        tx.put('a', 'mine')
      },
      { retries: 2 },
    )
    expect(await codeOf(() => losing)).toBe('VARVE_CONFLICT')
    expect(calls).toBe(3)
    expect(await db.get('a')).toBe('3')
  })

  it('passes on what its function throws, and writes nothing then', async () => {
    const { db } = await openKept()
    const failing = db.transaction((tx) => {
      tx.put('a', '1')
      throw new VarveError('VARVE_CONFLICT', 'mine')
    })
    await expect(failing).rejects.toThrow('mine')
    expect(db.position).toBe(0)
  })

  it('ends with its signal and with its store', async () => {
    const { db } = await openKept()
    await db.put('a', '1')
    const controller = new AbortController()
    const ended = codeOf(() =>
      db.transaction(
        async (tx) => {
          tx.put('a', '2')
          await new Promise(() => {})
        },
        { signal: controller.signal },
      ),
    )
    await turns(1)
    controller.abort()
    expect(await ended).toBe('VARVE_ABORTED')
    const tx = db.begin()
    tx.put('a', '3')
    await db.close()
    expect(await codeOf(() => tx.commit())).toBe('VARVE_CLOSED')
    expect(await codeOf(() => db.transaction(() => {}))).toBe('VARVE_CLOSED')
    expect(await codeOf(() => db.begin())).toBe('VARVE_CLOSED')
  })

  it.each([
    ['no function', undefined as never, {}],
    ['negative retries', () => {}, { retries: -1 }],
    ['half a retry', () => {}, { retries: 0.5 }],
    ['an unknown durability', () => {}, { durability: 'never' as never }],
  ])('refuses %s', async (_, work, options) => {
    const { db } = await openKept()
    expect(await codeOf(() => db.transaction(work, options))).toBe('VARVE_INVALID_ARGUMENT')
  })

  it('checks keys, values and ranges when they are given', async () => {
    const { db } = await openKept()
    const tx = db.begin()
    expect(await codeOf(() => tx.put('k'.repeat(70_000), ''))).toBe('VARVE_LIMIT')
    expect(await codeOf(() => tx.put(5 as never, ''))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => tx.put('k', 5 as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => tx.get(undefined as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => tx.entries({ gt: 'a', gte: 'b' }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => tx.clear({ limit: 1 }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => tx.getMany('a' as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await tx.commit()).toBe(0)
    expect(db.position).toBe(0)
  })

  it('keeps what its caller does with buffers afterwards out', async () => {
    const { db } = await openKept()
    const bytes = db.withEncodings<Buffer, Buffer>({ keyEncoding: 'buffer', valueEncoding: 'buffer' })
    const key = Buffer.from('key')
    const value = Buffer.from('value')
    await bytes.transaction((tx) => {
      tx.put(key, value)
      key.fill(0)
      value.fill(0)
    })
    expect(await db.get('key')).toBe('value')
  })
})

describe('what makes a transaction conflict', () => {
  const reads: Record<string, (tx: ReturnType<Db['begin']>) => unknown> = {
    'a key': (tx) => tx.get('b'),
    'a key that is not there': (tx) => tx.getSync('x'),
    'one of many keys': (tx) => tx.getMany(['a', 'b', 'x']),
    'whether a key is there': (tx) => tx.has('b'),
    'a range': async (tx) => {
      for await (const _ of tx.entries({ gte: 'b', lt: 'd' }));
    },
    'a range backwards': async (tx) => {
      for await (const _ of tx.entries({ gte: 'b', lt: 'd', reverse: true }));
    },
    'the first of a range': async (tx) => {
      for await (const _ of tx.entries({ gte: 'b', limit: 1 }));
    },
    'the last of a range': async (tx) => {
      for await (const _ of tx.entries({ lt: 'd', reverse: true, limit: 1 }));
    },
  }
  const writes: Record<string, (db: Db) => Promise<unknown>> = {
    'put b': (db) => db.put('b', 'new'),
    'del b': (db) => db.del('b'),
    'put x': (db) => db.put('x', 'new'),
    'put ab': (db) => db.put('ab', 'new'),
    'put bb': (db) => db.put('bb', 'new'),
    'put e': (db) => db.put('e', 'new'),
    'clear b to c': (db) => db.clear({ gte: 'b', lt: 'c' }),
    'clear e and on': (db) => db.clear({ gte: 'e' }),
    'clear nothing': (db) => db.clear({ gte: 'z', lt: 'a' }),
    'a place of a consumer': (db) => db.consumer('b'),
  }
  const conflicts: Record<string, readonly string[]> = {
    'a key': ['put b', 'del b', 'clear b to c'],
    'a key that is not there': ['put x', 'clear e and on'],
    'one of many keys': ['put b', 'del b', 'put x', 'clear b to c', 'clear e and on'],
    'whether a key is there': ['put b', 'del b', 'clear b to c'],
    'a range': ['put b', 'del b', 'put bb', 'clear b to c'],
    'a range backwards': ['put b', 'del b', 'put bb', 'clear b to c'],
    'the first of a range': ['put b', 'del b', 'clear b to c'],
    // It saw c alone.
    'the last of a range': [],
  }

  it.each(Object.keys(reads))('is worked out for %s', async (read) => {
    for (const where of ['memory', 'files']) {
      for (const [write, run] of Object.entries(writes)) {
        const { db } = await openMemory(where === 'memory' ? KEPT : TINY)
        for (const key of ['a', 'b', 'c', 'd']) await db.put(key, key)
        const tx = db.begin()
        await reads[read]!(tx)
        tx.put('out', '1')
        await run(db)
        if (where === 'files') {
          for (let i = 0; i < 60; i++) await db.put(`filler ${i}`, 'v'.repeat(100))
          await db.flush()
        }
        const expected = conflicts[read]!.includes(write) ? 'VARVE_CONFLICT' : undefined
        expect(`${where}, ${write}: ${await codeOf(() => tx.commit())}`).toBe(
          `${where}, ${write}: ${expected}`,
        )
        expect(await db.has('out')).toBe(expected === undefined)
        await db.close()
      }
    }
  })

  it('is nothing where a transaction only reads, or only writes', async () => {
    const { db } = await openKept()
    await db.put('a', '1')
    const reading = db.begin()
    await reading.get('a')
    const writing = db.begin()
    writing.put('a', '3')
    await db.put('a', '2')
    expect(await reading.commit()).toBe(1)
    expect(await writing.commit()).toBe(3)
  })

  it(`leaves histories that some order of the transactions explains (seed ${SEED})`, async () => {
    // Each transaction appends its number to keys that it chose by what it read: replaying the commits one by one in
    // order of position must give every transaction the same reads.
    const step = fc.record({ reads: fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }), turns: fc.nat(4) })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        const { db } = await openMemory(KEPT)
        const done: { position: number; number: number; reads: (string | undefined)[]; keys: string[] }[] = []
        await Promise.all(
          steps.map(async (plan, number) => {
            for (;;) {
              const tx = db.begin()
              const keys = plan.reads.map((key) => pad(key))
              const reads = await tx.getMany(keys)
              await turns(plan.turns)
              for (const [i, key] of keys.entries()) tx.put(key, `${reads[i] ?? ''}${number},`)
              try {
                done.push({ position: await tx.commit(), number, reads, keys })
                return
              } catch (error) {
                if (!(error instanceof VarveError) || error.code !== 'VARVE_CONFLICT') throw error
              }
            }
          }),
        )
        const state = new Map<string, string>()
        for (const { number, reads, keys } of done.sort((a, b) => a.position - b.position)) {
          expect(reads).toEqual(keys.map((key) => state.get(key)))
          const before = keys.map((key) => state.get(key) ?? '')
          for (const [i, key] of keys.entries()) state.set(key, `${before[i]}${number},`)
        }
        expect(await db.entries().all()).toEqual([...state].sort())
        await db.close()
      }),
      { seed: SEED, numRuns: 25 },
    )
  })
})
