import { beforeEach, describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import type { MemoryEnv } from '../../src/env/memory-env.js'
import type { Database } from '../../src/index.js'
import { VALUE_BYTES_MAX } from '../../src/key/batch-format.js'
import { codeOf, openMemory, STORE } from './helpers.js'

// What a caller without types may hand in.
const WRONG_TEXTS: readonly unknown[] = [undefined, null, 1, true, Symbol('s'), {}, [], Buffer.from('a'), 1n]
const HALF_SURROGATES = ['\ud800', 'a\udc00', '\ud83d\ud83d', '\udca9\ud83d']

let db: Database<string, string>
let env: MemoryEnv

beforeEach(async () => {
  const opened = await openMemory()
  db = opened.db
  env = opened.env
  await db.put('there', '1')
  return () => db.close()
})

/** Refused with the code, and nothing of it is left: no position, no key, and the neighbours are whole. */
async function expectRefused(code: string, call: (db: Database<string, string>) => unknown): Promise<void> {
  const before = db.position
  const first = db.put('neighbour', 'before')
  const refused = codeOf(() => call(db))
  const last = db.put('neighbour', 'after')
  expect(await refused).toBe(code)
  expect([await first, await last]).toEqual([before + 1, before + 2])
  expect(db.position).toBe(before + 2)
  expect(await db.entries().all()).toEqual([
    ['neighbour', 'after'],
    ['there', '1'],
  ])
}

describe('a refused call', () => {
  it.each(WRONG_TEXTS.map((key) => [typeof key, key]))('refuses a key that is a %s', async (_, key) => {
    const wrong = key as string
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.put(wrong, 'v'))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.del(wrong))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.get(wrong))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getSync(wrong))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getMany(['a', wrong]))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getEntry(wrong))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.has(wrong))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch([{ type: 'del', key: wrong }]))
    if (wrong === undefined) return
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.entries({ gte: wrong }))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.keysSync({ prefix: wrong }))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.clear({ lt: wrong }))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.approximateSize({ lte: wrong }))
  })

  it.each(
    WRONG_TEXTS.map((value) => [typeof value, value]),
  )('refuses a value that is a %s', async (_, value) => {
    const wrong = value as string
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.put('k', wrong))
    const ops = [
      { type: 'put', key: 'first', value: 'ok' },
      { type: 'put', key: 'k', value: wrong },
    ] as const
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch(ops))
  })

  it.each(HALF_SURROGATES)('refuses half a surrogate pair in %j', async (text) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.put(text, 'v'))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.put('k', text))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.del(text))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.keys({ gt: text }))
  })

  it.each([undefined, null, 'put', 5, {}])('refuses %j as the operations of a batch', async (ops) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch(ops as never))
  })

  it.each([
    undefined,
    null,
    'put',
    {},
    { type: 'clear' },
    { type: 'put' },
    { type: 'put', key: 'k' },
  ])('refuses %j as the second operation of a batch', async (op) => {
    const ops = [{ type: 'put', key: 'first', value: 'ok' }, op]
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch(ops as never))
  })

  it.each([
    'fast',
    0,
    null,
    {},
    { intervalMs: 0 },
    { intervalMs: -1 },
    { intervalMs: Number.NaN },
  ])('refuses %j as a durability', async (durability) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.put('k', 'v', { durability } as never))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.del('k', { durability } as never))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch([], { durability } as never))
  })

  it.each(['1', -1, 1.5, Number.NaN, {}, true])('refuses %j as a condition', async (position) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) =>
      to.put('k', 'v', { ifPosition: position as number }),
    )
    const check = [{ key: 'k', position: position as number }]
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch([], { check }))
  })

  it('refuses ifPosition for a batch, which has no single key', async () => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.batch([], { ifPosition: null }))
  })

  it.each([
    { gt: 'a', gte: 'a' },
    { lt: 'a', lte: 'b' },
    { gt: '', gte: 'b' },
  ])('refuses the contradictory range %j', async (range) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.entries(range))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.valuesSync(range))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.clear(range))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.compact(range))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.approximateSize(range))
  })

  it.each([null, 'a', 7])('refuses %j as a range', async (range) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.entries(range as never))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.clear(range as never))
  })

  it.each([-2, 1.5, Number.NaN, '1', null])('refuses %j as a limit', async (limit) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.keys({ limit: limit as number }))
  })

  it.each([{ reverse: true }, { limit: 1 }, { reverse: false }])('refuses a clear with %j', async (range) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.clear(range))
  })

  it.each([0, -1, 1.5, '1', undefined])('refuses %j as the size of nextv', async (size) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', async (to) => {
      const iterator = to.keys()
      try {
        await iterator.nextv(size as number)
      } finally {
        await iterator.close()
      }
    })
  })

  it.each([-1, 0.5, '3', Number.NaN])('refuses %j as atLeast', async (atLeast) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.get('a', { atLeast: atLeast as number }))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getSync('a', { atLeast: atLeast as number }))
  })

  it.each([-1, '3', Number.NaN])('refuses %j as timeoutMs', async (timeoutMs) => {
    const options = { atLeast: 1, timeoutMs: timeoutMs as number }
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.get('a', options))
  })

  it.each([{}, 1, 'snapshot'])('refuses %j as a snapshot', async (snapshot) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.get('a', { snapshot } as never))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.entries({ snapshot } as never))
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getMany(['a'], { snapshot } as never))
  })

  it('refuses a snapshot of another store, and one that is closed', async () => {
    const other = await openMemory()
    const foreign = other.db.snapshot()
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.get('a', { snapshot: foreign }))
    const closed = db.snapshot()
    closed.close()
    await expectRefused('VARVE_CLOSED', (to) => to.get('a', { snapshot: closed }))
    await other.db.close()
  })

  it.each([null, undefined, 'a', {}])('refuses %j as the keys of getMany', async (keys) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.getMany(keys as never))
  })

  it.each([undefined, null, '', 5, {}])('refuses %j as the path of a checkpoint', async (path) => {
    await expectRefused('VARVE_INVALID_ARGUMENT', (to) => to.checkpoint(path as string))
    expect(env.fs.list('/')).toEqual([STORE.slice(1)])
  })
})

describe('the limits', () => {
  const LONGEST = 65_535

  it.each([
    ['one byte a character', 'k'.repeat(LONGEST)],
    ['two bytes a character', `${'é'.repeat((LONGEST - 1) / 2)}k`],
    ['three bytes a character', '水'.repeat(LONGEST / 3)],
    ['four bytes a pair', `${'😀'.repeat((LONGEST - 3) / 4)}abc`],
  ])('take a key of 65,535 bytes and refuse one more: %s', async (_, key) => {
    expect(Buffer.byteLength(key)).toBe(LONGEST)
    const tooLong = `${key}k`
    await expectRefused('VARVE_LIMIT', (to) => to.put(tooLong, 'v'))
    await expectRefused('VARVE_LIMIT', (to) => to.del(tooLong))
    await expectRefused('VARVE_LIMIT', (to) => to.get(tooLong))
    await expectRefused('VARVE_LIMIT', (to) => to.getMany([tooLong]))
    await expectRefused('VARVE_LIMIT', (to) => to.keys({ gte: tooLong }))
    await expectRefused('VARVE_LIMIT', (to) => to.clear({ prefix: tooLong }))
    const position = await db.put(key, 'long')
    expect(await db.getEntry(key)).toEqual({ value: 'long', position })
    await db.flush()
    expect(await db.get(key)).toBe('long')
    expect((await db.keys({ gte: key.slice(0, 10), lte: key }).all()).at(-1)).toBe(key)
  })

  it('take the empty key and the empty value', async () => {
    await db.put('', '')
    await db.flush()
    expect(await db.entries({ limit: 1 }).all()).toEqual([['', '']])
  })

  it('refuse a value above 256 MiB, alone and in a batch, before anything is written', async () => {
    const store = await open<string, Uint8Array>('/bytes', { valueEncoding: 'buffer', env } as never)
    const fake = new Uint8Array(8)
    Object.defineProperty(fake, 'length', { value: VALUE_BYTES_MAX + 1 })
    expect(await codeOf(() => store.put('k', fake))).toBe('VARVE_LIMIT')
    const ops = [
      { type: 'put', key: 'a', value: new Uint8Array(1) },
      { type: 'put', key: 'k', value: fake },
    ] as const
    expect(await codeOf(() => store.batch(ops))).toBe('VARVE_LIMIT')
    expect(store.position).toBe(0)
    expect(await store.get('a')).toBeUndefined()
    await store.close()
  })

  it('refuse a batch above 1 GiB or 10 million operations, before anything is written', async () => {
    const store = await open<string, Uint8Array>('/bytes', { valueEncoding: 'buffer', env } as never)
    const fake = new Uint8Array(8)
    Object.defineProperty(fake, 'length', { value: VALUE_BYTES_MAX })
    const large = { type: 'put', key: 'k', value: fake } as const
    expect(await codeOf(() => store.batch([large, large, large, large]))).toBe('VARVE_LIMIT')
    const many = new Array(10_000_001).fill({ type: 'del', key: 'k' })
    expect(await codeOf(() => store.batch(many))).toBe('VARVE_LIMIT')
    expect(store.position).toBe(0)
    await store.close()
  })
})
