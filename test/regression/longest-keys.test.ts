import { describe, expect, it } from 'vitest'
import type { Range } from '../../src/index.js'
import { openMemory, TINY } from '../store/helpers.js'

const LONGEST = 'y'.repeat(65_535)
const LAST = Buffer.alloc(65_535, 0xff)
const KEYS = ['', 'a', 'x', LONGEST, 'z', 'zz']

// The key right after one of the greatest length took 65,536 bytes: written down, it was the empty key.
describe('a clear whose bounds are as long as keys can be', () => {
  it.each<[string, Range<string>, string[]]>([
    ['gt', { gt: LONGEST }, ['', 'a', 'x', LONGEST]],
    ['gte', { gte: LONGEST }, ['', 'a', 'x']],
    ['gt, lte', { gt: LONGEST, lte: 'z' }, ['', 'a', 'x', LONGEST, 'zz']],
    ['lt', { lt: LONGEST }, [LONGEST, 'z', 'zz']],
    ['lte', { lte: LONGEST }, ['z', 'zz']],
    ['gt, lte of the same', { gt: LONGEST, lte: LONGEST }, KEYS],
    ['prefix', { prefix: LONGEST }, ['', 'a', 'x', 'z', 'zz']],
  ])('takes what a read of its range shows, before and after a restart: %s', async (_, range, left) => {
    const { db, env } = await openMemory({ ...TINY, memory: 2 ** 22, memtableBytes: 2 ** 20 })
    for (const key of KEYS) await db.put(key, 'v')
    const shown = await db.keys(range).all()
    await db.clear(range)
    const found = await db.keys().all()
    expect(found).toEqual(left)
    expect(KEYS.filter((key) => !shown.includes(key))).toEqual(left)
    await db.close()
    const { db: again } = await openMemory({ ...TINY, memory: 2 ** 22, memtableBytes: 2 ** 20 }, env)
    await again.compact()
    expect(await again.keys().all()).toEqual(left)
    await again.close()
  })

  it('takes nothing after the last of all keys', async () => {
    const { db } = await openMemory({
      ...TINY,
      memory: 2 ** 22,
      memtableBytes: 2 ** 20,
      keyEncoding: 'buffer',
    } as never)
    await db.put(LAST as never, 'last')
    await db.put(Buffer.from('a') as never, 'first')
    await db.clear({ gt: LAST as never })
    expect(await db.values().all()).toEqual(['first', 'last'])
    await db.clear({ lte: LAST as never })
    expect(await db.values().all()).toEqual([])
    await db.close()
  })
})
