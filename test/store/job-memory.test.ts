import { afterEach, expect, it, vi } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import type { OpenOptionsWithEnv } from '../../src/store/options.js'

const ENTRIES = 40_000

afterEach(() => vi.restoreAllMocks())

it('a flush frees its large arrays itself, which the collector would find late', async () => {
  const options: OpenOptionsWithEnv<string, string> = { env: memoryEnv(), memory: 64 * 2 ** 20, workers: 0 }
  const db = await open('/db', options)
  await db.batch(Array.from({ length: ENTRIES }, (_, i) => ({ type: 'put', key: `${i}`, value: '' })))
  const cloned = vi.spyOn(globalThis, 'structuredClone')
  await db.flush()
  const freed = cloned.mock.results.map(({ value }) => (value as ArrayBuffer).byteLength)
  // Each entry has its offset, its position and its place in the order, each key its hash; then there is what is written.
  expect(freed.filter((bytes) => bytes >= 4 * ENTRIES).length).toBeGreaterThanOrEqual(5)
  await db.close()
})
