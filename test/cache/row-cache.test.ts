import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockCache } from '../../src/cache/block-cache.js'
import { RowCache, type RowPlace } from '../../src/cache/row-cache.js'
import { hashKey } from '../../src/util/hash.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const CAPACITY = 16_384

function place(): RowPlace {
  return { bytes: Buffer.alloc(0), valueStart: 0, valueEnd: 0, position: 0 }
}

function newRows(capacity = CAPACITY): { cache: BlockCache; rows: RowCache } {
  const cache = new BlockCache(capacity)
  return { cache, rows: new RowCache(cache, capacity) }
}

function add(rows: RowCache, key: Buffer, value: Buffer, position: number): void {
  const row = { bytes: value, valueStart: 0, valueEnd: value.length, position }
  rows.add(key, 0, key.length, hashKey(key, 0, key.length), row, false)
  // Wherever it stands now.
  expect(value.compare(row.bytes, row.valueStart, row.valueEnd)).toBe(0)
}

function find(rows: RowCache, key: Buffer, atMost = Number.MAX_SAFE_INTEGER): [string, number] | undefined {
  const found = place()
  if (!rows.find(key, 0, key.length, hashKey(key, 0, key.length), atMost, found)) return undefined
  return [Buffer.from(found.bytes).toString('latin1', found.valueStart, found.valueEnd), found.position]
}

describe('the row cache', () => {
  it('gives back what it holds: keys and values of any size, positions up to 48 bits', () => {
    const { cache, rows } = newRows()
    const cases: [string, string, number][] = [
      ['', 'the empty key', 1],
      ['a', '', 2],
      ['k'.repeat(700), 'v'.repeat(1300), 2 ** 40 + 7],
      ['b', 'x', 2 ** 48 - 1],
    ]
    for (const [key, value, position] of cases) add(rows, Buffer.from(key), Buffer.from(value), position)
    for (const [key, value, position] of cases)
      expect(find(rows, Buffer.from(key))).toEqual([value, position])
    expect(cache.count).toBe(4)
  })

  it('fetches rows that are there and rows that are not, and changes nothing by that', () => {
    const { cache, rows } = newRows()
    const keys = Array.from({ length: 40 }, (_, i) => Buffer.from(`key ${i}`))
    const hashes = Uint32Array.from(keys, (key) => hashKey(key, 0, key.length))
    // There is no table yet.
    rows.fetch(hashes, hashes.length)
    for (let i = 0; i < 20; i++) add(rows, keys[i]!, Buffer.from(`value ${i}`), i)
    const found = keys.map((key) => find(rows, key))
    rows.fetch(hashes, hashes.length)
    expect(keys.map((key) => find(rows, key))).toEqual(found)
    expect([found.filter((row) => row !== undefined).length, cache.count]).toEqual([20, 20])
  })

  it('shows no row to a reader of an older position', () => {
    const { rows } = newRows()
    add(rows, Buffer.from('a'), Buffer.from('1'), 10)
    expect([find(rows, Buffer.from('a'), 9), find(rows, Buffer.from('a'), 10)]).toEqual([
      undefined,
      ['1', 10],
    ])
  })

  it('keeps no large row, no position beyond 48 bits, and nothing at all without room for a few', () => {
    const { cache, rows } = newRows()
    add(rows, Buffer.from('a'), Buffer.alloc(2040), 1)
    add(rows, Buffer.from('b'), Buffer.alloc(1), 2 ** 48)
    const none = newRows(1000)
    add(none.rows, Buffer.from('a'), Buffer.from('1'), 1)
    expect([cache.count, none.cache.count, none.rows.sizeBytes]).toEqual([0, 0, 0])
  })

  it(`never gives a value but the last one added for a key and not forgotten since (seed ${SEED})`, () => {
    const keys = Array.from({ length: 300 }, (_, i) => Buffer.from(`key${i}`.repeat((i % 9) + 1)))
    const step = fc.record({
      kind: fc.constantFrom('add', 'add', 'add', 'find', 'find', 'forget', 'block', 'shrink', 'grow'),
      key: fc.nat(keys.length - 1),
      size: fc.oneof(fc.nat(100), fc.nat(2100)),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 2000 }), (steps) => {
        const { cache, rows } = newRows()
        const blocks = new Uint32Array(50)
        const owner = cache.register(blocks)
        const model = new Map<number, [string, number]>()
        let hits = 0
        for (const [position, { kind, key, size }] of steps.entries()) {
          const bytes = keys[key]!
          if (kind === 'add') {
            const value = `${position}/`.padEnd(size, 'x')
            add(rows, bytes, Buffer.from(value), position)
            if (12 + bytes.length + value.length <= 2048) model.set(key, [value, position])
          } else if (kind === 'block') {
            // Other records come and go in the same memory.
            if (blocks[key % 50] === 0) cache.add(owner, key % 50, size)
            if (key % 7 === 0) cache.drop(owner, key % 50)
          } else if (kind === 'shrink' || kind === 'grow') {
            cache.setCapacity(kind === 'grow' ? CAPACITY : CAPACITY / 2)
          } else if (kind === 'forget') {
            rows.forget(hashKey(bytes, 0, bytes.length))
            model.delete(key)
            expect(find(rows, bytes)).toBeUndefined()
          } else {
            const found = find(rows, bytes)
            if (found) expect(found).toEqual(model.get(key))
            if (found) hits++
          }
        }
        fc.pre(hits > 0)
      }),
      { seed: SEED, numRuns: 60 },
    )
  })

  it('takes no room from others for a row that is in the cache already', () => {
    const { cache, rows } = newRows()
    const blocks = new Uint32Array(100)
    const owner = cache.register(blocks)
    for (let number = 0; number < blocks.length; number++) cache.add(owner, number, 240)
    const before = blocks.slice()
    const place = blocks.findLast((block) => block !== 0)!
    const start = cache.payloadAt(place)
    const row = { bytes: cache.regionOf(place).bytes, valueStart: start, valueEnd: start + 240, position: 1 }
    const key = Buffer.from('a')
    rows.add(key, 0, 1, hashKey(key, 0, 1), row, true)
    expect([blocks, find(rows, key)]).toEqual([before, undefined])
    rows.add(key, 0, 1, hashKey(key, 0, 1), { ...row, bytes: Buffer.alloc(CAPACITY) }, false)
    expect(find(rows, key)?.[1]).toBe(1)
  })

  it('clears', () => {
    const { cache, rows } = newRows()
    for (let i = 0; i < 1000; i++) add(rows, Buffer.from(`${i}`), Buffer.alloc(100), i)
    for (const _ of rows.clear());
    for (let i = 0; i < 1000; i++) expect(find(rows, Buffer.from(`${i}`))).toBeUndefined()
    add(rows, Buffer.from('a'), Buffer.from('1'), 1)
    expect([cache.count, find(rows, Buffer.from('a'))]).toEqual([1, ['1', 1]])
  })
})
