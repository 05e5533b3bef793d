import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Durability } from '../../src/index.js'
import { codeOf, openMemory, pad, TINY } from './helpers.js'

const MODES: readonly Durability[] = ['memory', 'os', 'disk', { intervalMs: 5 }]
const VALUE = 'x'.repeat(90)

type Db = Awaited<ReturnType<typeof openMemory>>['db']

/** Writes until the disk is full; how many writes were acknowledged. */
async function fill(db: Db, from: number): Promise<number> {
  for (let i = from; i < from + 2000; i++) {
    const code = await codeOf(() => db.put(pad(i), VALUE))
    if (code === undefined) continue
    expect(code).toBe('VARVE_NO_SPACE')
    return i
  }
  throw new Error('the disk is never full')
}

async function expectKeys(db: Db, count: number): Promise<void> {
  const keys = new Set(await db.keys().all())
  for (let i = 0; i < count; i++) expect(keys.has(pad(i)), `key ${i} of ${count}`).toBe(true)
}

describe.each(MODES)('a full disk, with durability %o', (durability) => {
  it('loses nothing acknowledged once it is freed, whether resumed or opened again', async () => {
    for (let freeBytes = 4000; freeBytes < 16_000; freeBytes += 2733) {
      const { db, env } = await openMemory({ ...TINY, durability })
      env.fs.setCapacity(freeBytes)
      const first = await fill(db, 0)
      // Reads go on, writes do not.
      if (durability !== 'memory') await expectKeys(db, first)
      expect(await codeOf(() => db.put('late', '1'))).toBe('VARVE_NO_SPACE')
      env.fs.setCapacity(freeBytes + 20_000)
      await db.resume()
      await expectKeys(db, durability === 'memory' ? 0 : first)
      const second = await fill(db, first)
      await db.close().catch(() => {})
      expect(env.fs.openHandles()).toEqual([])
      env.fs.setCapacity(Number.POSITIVE_INFINITY)
      const again = await openMemory({ ...TINY, durability }, memoryEnv({ fs: env.fs.clone() }))
      if (durability !== 'memory') await expectKeys(again.db, second)
      await again.db.verify()
      await again.db.close()
    }
  })
})
