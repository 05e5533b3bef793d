import { expect, it } from 'vitest'
import { open } from '../../src/database.js'
import type { Env, File } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { OpenOptions } from '../../src/index.js'
import { pad, STORE, TINY } from './helpers.js'
import { slowClock } from './slow-clock.js'

const KEYS = 300

it('getMany asks a slow disk for many blocks at once, each once', async () => {
  const { env, reads } = slowDisk()
  const options = { ...TINY, memory: 65_536, blockBytes: 1024, compression: 'none', env } as OpenOptions
  const db = await open<string, string>(STORE, options)
  for (let index = 0; index < KEYS; index++) await db.put(pad(index), `${index}`.repeat(40))
  await db.compact()
  // Reads take so long, by this clock, that the store goes on without blocking.
  for (let index = 0; index < 10; index++) await db.get(pad(index))
  reads.total = 0
  reads.most = 0
  const keys = Array.from({ length: KEYS }, (_, index) => pad((index * 7) % KEYS))
  const values = await db.getMany([...keys, 'none'])
  expect(values).toEqual([...keys.map((key) => `${Number(key)}`.repeat(40)), undefined])
  expect(reads.most).toBeGreaterThan(4)
  expect(reads.most).toBeLessThanOrEqual(16)
  expect(reads.total).toBeLessThan(KEYS / 3)
  await db.close()
})

function slowDisk(): { env: Env; reads: { running: number; most: number; total: number } } {
  const inner = memoryEnv()
  const reads = { running: 0, most: 0, total: 0 }
  const slow = (file: File): File =>
    new Proxy(file, {
      get(target, name) {
        if (name === 'readAsync')
          return async (into: Uint8Array, offset: number) => {
            reads.total++
            reads.most = Math.max(reads.most, ++reads.running)
            try {
              await new Promise((resolve) => setImmediate(resolve))
              return await target.readAsync(into, offset)
            } finally {
              reads.running--
            }
          }
        const value = Reflect.get(target, name, target) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  const fs = new Proxy(inner.fs, {
    get(target, name) {
      if (name === 'open') return (path: string, mode: 'read' | 'create') => slow(target.open(path, mode))
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { env: { ...inner, fs, clock: slowClock(inner.clock) }, reads }
}
