import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { openMemory, TINY } from './helpers.js'

const MEMTABLE_BYTES = 64 * 1024
const OPTIONS = {
  ...TINY,
  memory: 8 * MEMTABLE_BYTES,
  memtableBytes: MEMTABLE_BYTES,
  compression: 'none',
} as const
const KEYS = Array.from({ length: 400 }, (_, i) => `key${String(i).padStart(3, '0')}`)
const VALUE = 'v'.repeat(2000)

describe('a memtable that nothing was written to', () => {
  it('leaves its memory to the cache until the first write', async () => {
    const env = memoryEnv({ seed: 1 })
    const filled = await openMemory(OPTIONS, env)
    for (const key of KEYS) await filled.db.put(key, VALUE)
    await filled.db.flush()
    await filled.db.close()

    const { db } = await openMemory(OPTIONS, env)
    const readAll = async () => {
      for (const key of KEYS) expect(await db.get(key)).toBe(VALUE)
      for (const key of KEYS) expect(await db.get(key)).toBe(VALUE)
    }
    await readAll()
    const read = db.stats().memory
    expect(read.memtableBytes).toBe(0)
    expect(read.cacheBytes).toBeGreaterThan(OPTIONS.memory - MEMTABLE_BYTES)
    expect(read.usedBytes).toBeLessThanOrEqual(OPTIONS.memory)

    await db.put('key000', 'new')
    const written = db.stats().memory
    expect(written.memtableBytes).toBeGreaterThanOrEqual(MEMTABLE_BYTES)
    expect(written.usedBytes).toBeLessThanOrEqual(OPTIONS.memory)
    await db.put('key000', VALUE)
    await readAll()
    expect(db.stats().memory.usedBytes).toBeLessThanOrEqual(OPTIONS.memory)
    await db.close()
  })
})
