import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { BatchOp } from '../../src/index.js'
import { codeOf, dump, failureOf, openMemory, pad, recovered, STORE, TINY } from './helpers.js'

type TextOp = BatchOp<string, string>

describe('un-awaited writes', () => {
  it('take positions in call order across put, del, batch and clear, and apply in that order', async () => {
    const { db } = await openMemory()
    const positions = await Promise.all([
      db.put('a', '1'),
      db.put('b', '1'),
      db.clear(),
      db.put('b', '2'),
      db.batch([
        { type: 'put', key: 'c', value: '1' },
        { type: 'del', key: 'b' },
        { type: 'put', key: 'b', value: '3' },
      ]),
      db.del('c'),
      db.put('d', '1'),
      db.clear({ gte: 'd' }),
    ])
    expect(positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(await dump(db)).toEqual({ b: '3' })
    expect(await db.getEntry('b')).toEqual({ value: '3', position: 5 })
    await db.close()
  })

  it('of one turn become one write(2)', async () => {
    const { db, env } = await openMemory()
    const writes: string[] = []
    env.fs.onStep = ({ op, path }) => op === 'write' && writes.push(path)
    const first = [db.put('a', '1'), db.del('b'), db.batch([]), db.clear(), db.put('c', '2')]
    expect(writes).toHaveLength(0)
    await Promise.all(first)
    expect(writes).toHaveLength(1)
    await db.put('d', '1')
    expect(writes).toHaveLength(2)
    await db.close()
  })

  it('of more than a memtable split into several log files, with none lost', async () => {
    const { db, env } = await openMemory(TINY)
    const wanted: Record<string, string> = {}
    const all = []
    for (let i = 0; i < 300; i++) {
      wanted[pad(i)] = String(i).repeat(20)
      all.push(db.put(pad(i), wanted[pad(i)]!))
    }
    expect(await Promise.all(all)).toEqual(all.map((_, i) => i + 1))
    expect(await dump(db)).toEqual(wanted)
    expect(await recovered(env.fs.clone())).toEqual(wanted)
    await db.close()
  })
})

describe('a write', () => {
  it('is read before it is acknowledged only together with its group', async () => {
    const { db } = await openMemory()
    const write = db.put('a', '1')
    expect([db.position, db.getSync('a')]).toEqual([0, undefined])
    await write
    expect([db.position, db.getSync('a')]).toEqual([1, '1'])
    await db.close()
  })

  it('lets its buffers be used again as soon as the call has returned', async () => {
    const env = memoryEnv()
    const db = await open<Uint8Array, Uint8Array>(STORE, {
      ...({ env } as object),
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    })
    const key = Buffer.from('key1')
    const value = Buffer.from('value1')
    const put = db.put(key, value)
    key.write('key2')
    value.write('value2')
    const ops = [{ type: 'put' as const, key, value }]
    const batch = db.batch(ops)
    key.fill(0)
    value.fill(0)
    ops.length = 0
    await Promise.all([put, batch])
    expect(await db.entries().all()).toEqual([
      [Buffer.from('key1'), Buffer.from('value1')],
      [Buffer.from('key2'), Buffer.from('value2')],
    ])
    await db.close()
  })

  it('of 10 MB, and one larger than the memtable, come back whole after flush and reopen', async () => {
    const { db, env } = await openMemory({ ...TINY, memory: 64 * 2 ** 20 })
    const huge = 'ab😀z'.repeat(1.25e6)
    expect(Buffer.byteLength(huge)).toBeGreaterThanOrEqual(10e6 - 2e6)
    await db.put('before', '1')
    await db.put('huge', huge)
    await db.put('large', 'x'.repeat(5000))
    await db.put('after', '2')
    expect((await db.get('huge')) === huge).toBe(true)
    await db.flush()
    expect((await db.get('huge')) === huge).toBe(true)
    await db.close()
    const again = await openMemory({ ...TINY, memory: 64 * 2 ** 20 }, memoryEnv({ fs: env.fs }))
    expect((await again.db.get('huge')) === huge).toBe(true)
    expect((await again.db.get('large'))?.length).toBe(5000)
    expect(await again.db.getMany(['before', 'after'])).toEqual(['1', '2'])
    await again.db.close()
  })

  it('of nothing, an empty batch, takes a position all the same', async () => {
    const { db, env } = await openMemory()
    expect(await db.batch([])).toBe(1)
    expect(await db.put('a', '1')).toBe(2)
    expect(await db.clear({ gt: 'b', lt: 'a' })).toBe(3)
    expect(await dump(db)).toEqual({ a: '1' })
    await db.close()
    const again = await openMemory({}, memoryEnv({ fs: env.fs }))
    expect(again.db.position).toBe(3)
    await again.db.close()
  })

  it('of a batch keeps the last of several operations on one key', async () => {
    const { db } = await openMemory()
    const put = (value: string): TextOp => ({ type: 'put', key: 'k', value })
    await db.batch([put('1'), put('2'), { type: 'del', key: 'k' }, put('3')])
    expect(await db.getEntry('k')).toEqual({ value: '3', position: 1 })
    await db.batch([put('4'), { type: 'del', key: 'k' }])
    expect(await db.getEntry('k')).toBeUndefined()
    await db.flush()
    expect(await dump(db)).toEqual({})
    await db.close()
  })

  it('of a clear takes exactly its range, in memtables and in segments', async () => {
    for (const isFlushed of [false, true]) {
      const { db } = await openMemory(TINY)
      for (const key of ['a', 'b', 'ba', 'bb', 'c', 'd']) db.put(key, key)
      if (isFlushed) await db.flush()
      await db.clear({ gte: 'b', lt: 'bb' })
      expect(Object.keys(await dump(db))).toEqual(['a', 'bb', 'c', 'd'])
      await db.clear({ prefix: 'b' })
      await db.clear({ gt: 'c' })
      if (isFlushed) await db.compact()
      expect(Object.keys(await dump(db))).toEqual(['a', 'c'])
      await db.put('b', 'again')
      expect(Object.keys(await dump(db))).toEqual(['a', 'b', 'c'])
      await db.clear()
      expect(await dump(db)).toEqual({})
      await db.close()
    }
  })
})

describe('a condition', () => {
  it('of null holds only where the key is absent: never written, deleted or cleared', async () => {
    const { db } = await openMemory()
    expect(await db.put('a', '1', { ifPosition: null })).toBe(1)
    expect(await codeOf(() => db.put('a', '2', { ifPosition: null }))).toBe('VARVE_CONFLICT')
    await db.del('a')
    expect(await db.put('a', '3', { ifPosition: null })).toBe(3)
    await db.clear()
    await db.flush()
    expect(await db.put('a', '4', { ifPosition: null })).toBe(5)
    await db.close()
  })

  it('of a position holds only for the entry that was written there, flushed or not', async () => {
    const { db } = await openMemory()
    const first = await db.put('a', '1')
    const second = await db.put('a', '2', { ifPosition: first })
    expect(await codeOf(() => db.del('a', { ifPosition: first }))).toBe('VARVE_CONFLICT')
    await db.flush()
    expect(await codeOf(() => db.put('b', '1', { ifPosition: second }))).toBe('VARVE_CONFLICT')
    expect(await db.del('a', { ifPosition: second })).toBe(3)
    expect(await codeOf(() => db.put('a', '1', { ifPosition: second }))).toBe('VARVE_CONFLICT')
    await db.close()
  })

  it('sees every un-awaited write that was called before it', async () => {
    const { db } = await openMemory()
    const results = await Promise.allSettled([
      db.put('a', '1'),
      db.put('a', '2', { ifPosition: 1 }),
      db.put('a', '3', { ifPosition: 1 }),
      db.del('a', { ifPosition: 2 }),
      db.put('a', '4', { ifPosition: null }),
      db.put('a', '5', { ifPosition: null }),
    ])
    const shown = results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason.code))
    expect(shown).toEqual([1, 2, 'VARVE_CONFLICT', 3, 4, 'VARVE_CONFLICT'])
    expect(await db.get('a')).toBe('4')
    await db.close()
  })

  it('of a batch is checked before the batch, all of them, and a conflict changes nothing', async () => {
    const { db } = await openMemory()
    await db.put('a', '1')
    const ops: TextOp[] = [
      { type: 'put', key: 'b', value: 'new' },
      { type: 'del', key: 'a' },
    ]
    const held = { key: 'b', position: null }
    const broken = { key: 'a', position: 7 }
    const failure = await failureOf(() => db.batch(ops, { check: [held, broken] }))
    expect(failure?.code).toBe('VARVE_CONFLICT')
    expect([db.position, await dump(db)]).toEqual([1, { a: '1' }])
    expect(await db.batch(ops, { check: [held, { key: 'a', position: 1 }] })).toBe(2)
    expect(await dump(db)).toEqual({ b: 'new' })
    await db.close()
  })

  it('lets exactly one of many concurrent increments of each round win', async () => {
    const { db } = await openMemory()
    await db.put('n', '0')
    const increment = async (): Promise<void> => {
      for (;;) {
        const { value, position } = (await db.getEntry('n'))!
        const code = await codeOf(() => db.put('n', String(Number(value) + 1), { ifPosition: position }))
        if (code === undefined) return
        expect(code).toBe('VARVE_CONFLICT')
      }
    }
    await Promise.all(Array.from({ length: 20 }, increment))
    expect([await db.get('n'), db.position]).toEqual(['20', 21])
    await db.close()
  })
})
