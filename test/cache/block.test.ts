import { describe, expect, it } from 'vitest'
import { BlockCache } from '../../src/cache/block-cache.js'
import { EXPIRY_BYTES, KIND_DEL, KIND_PUT } from '../../src/key/batch-format.js'
import { Block, BlockScratch, EntryFields } from '../../src/segment/block.js'
import { BlockBuilder } from '../../src/segment/block-builder.js'
import { hashKey } from '../../src/util/hash.js'

interface Entry {
  readonly key: string
  readonly kind: number
  readonly position: number
  readonly value: string
  readonly expires: boolean
}

function built(entries: readonly Entry[]): Buffer {
  const builder = new BlockBuilder(0, 4096)
  for (const { key, kind, position, value, expires } of entries) {
    const when = Buffer.alloc(expires ? EXPIRY_BYTES : 0, 1)
    const bytes = Buffer.concat([Buffer.from(key), when, Buffer.from(value)])
    const keyEnd = key.length
    builder.add(bytes, 0, keyEnd, kind, position, keyEnd + when.length, bytes.length)
  }
  return Buffer.from(builder.finish())
}

function entriesOf(block: Block): Entry[] {
  const fields = new EntryFields()
  return Array.from({ length: block.count }, (_, entry) => {
    block.read(entry, fields)
    const { keyStart, keyEnd, valueStart, valueEnd, kind, position } = fields
    const [key, value] = [block.bytes.slice(keyStart, keyEnd), block.bytes.slice(valueStart, valueEnd)]
    const expires = kind === KIND_PUT && valueStart > keyEnd
    return { key: key.toString(), kind, position, value: value.toString(), expires }
  })
}

function find(block: Block, key: string): number {
  const bytes = Buffer.from(key)
  return block.find(bytes, 0, bytes.length, hashKey(bytes, 0, bytes.length))
}

/** Versions of a key, newest first, of all kinds. */
function entriesWith(distance: number): Entry[] {
  const entries: Entry[] = []
  for (let i = 0; i < 40; i++) {
    const key = `key-${String(i).padStart(3, '0')}`
    if (i % 7 === 0) entries.push({ key, kind: KIND_DEL, position: i + distance, value: '', expires: false })
    const position = i * 3 + (i % 5 === 0 ? distance / 2 : 1)
    entries.push({ key, kind: KIND_PUT, position, value: 'v'.repeat(i % 9), expires: i % 4 === 0 })
  }
  return entries
}

describe.each([
  ['near each other', 1000],
  ['four thousand million apart and more', 2 ** 44],
])('a block of positions %s', (_, distance) => {
  const entries = entriesWith(distance)
  const scratch = new BlockScratch()
  const parsed = Block.parse(built(entries), scratch)!
  const cache = new BlockCache(2 ** 24)
  const owner = cache.register(new Uint32Array(10))
  const views = [0, 1].map(() => new Block())
  // Memory that was used before.
  cache.regionOf(cache.add(owner, 9, 0)).bytes.fill(255, 32)

  it('is the same in the cache, wherever it stands there, and in memory of its own', () => {
    expect(entriesOf(parsed)).toEqual(entries)
    for (const [number, view] of views.entries()) {
      expect(parsed.keepIn(cache, owner, number, view)).toBe(true)
      expect(entriesOf(view)).toEqual(entries)
      expect(entriesOf(view.clone())).toEqual(entries)
      const own = new Block()
      const bytes = Buffer.alloc(10 + view.sizeBytes)
      view.copyBytes(bytes, 10)
      own.placeOn(view, bytes, 10)
      expect(entriesOf(own)).toEqual(entries)
    }
    const clone = parsed.clone()
    Block.parse(built(entriesWith(3)), scratch)
    expect(entriesOf(clone)).toEqual(entries)
  })

  it('finds the newest entry of each key in all of them, and no other', () => {
    for (const block of [...views, views[0]!.clone(), Block.parse(built(entries))!]) {
      for (const { key } of entries)
        expect(find(block, key)).toBe(entries.findIndex((entry) => entry.key === key))
      for (const missing of ['', 'key-', 'key-0005', 'key-040', 'z']) expect(find(block, missing)).toBe(-1)
    }
  })
})

it.each([1, 2, 3, 4, 5, 37, 512, 513])('finds each of %i keys in the cache, and no other', (count) => {
  const keyAt = (i: number) => `key-${String(i).padStart(5, '0')}`
  const entries = Array.from({ length: count }, (_, i) => {
    return { key: keyAt(2 * i), kind: KIND_PUT, position: i, value: 'v', expires: false }
  })
  const cache = new BlockCache(2 ** 24)
  const owner = cache.register(new Uint32Array(2))
  // Memory that was used before.
  cache.regionOf(cache.add(owner, 1, 0)).bytes.fill(255, 32)
  const block = new Block()
  expect(Block.parse(built(entries))!.keepIn(cache, owner, 0, block)).toBe(true)
  // The first lookup is done without the tags, which the second one writes.
  for (let i = -1; i <= 2 * count; i++) {
    const wanted = i >= 0 && i % 2 === 0 && i < 2 * count ? i / 2 : -1
    expect([i, find(block, i < 0 ? '' : keyAt(i))]).toEqual([i, wanted])
  }
})
