import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { openMemory, pad, TINY } from '../store/helpers.js'

const KEPT = { ...TINY, durability: 'os', log: { maxBytes: 2 ** 20 } } as const

async function positionsOf(db: Awaited<ReturnType<typeof openMemory>>['db']): Promise<number[]> {
  const positions: number[] = []
  for await (const { position } of db.changes()) positions.push(position)
  return positions
}

describe('log files that are kept for readers', () => {
  it('have no hole after a power loss that followed their flush', async () => {
    const { db, env } = await openMemory(KEPT)
    for (let i = 0; i < 40; i++) await db.put(pad(i), `${i} `.repeat(30))
    await db.flush()
    const { fs } = memoryEnv({ fs: env.fs.crash('strict') })
    await db.close()
    const after = await openMemory(KEPT, memoryEnv({ fs }))
    expect(await positionsOf(after.db)).toEqual(Array.from({ length: after.db.position }, (_, i) => i + 1))
    expect(after.db.position).toBe(40)
    await after.db.verify()
    await after.db.close()
  })

  it('have none after a kill and then a power loss', async () => {
    const { db, env } = await openMemory(KEPT)
    for (let i = 0; i < 5; i++) await db.put(pad(i), `${i} `.repeat(30))
    const killed = env.fs.clone()
    await db.close()
    const second = await openMemory(KEPT, memoryEnv({ fs: killed }))
    const lost = killed.crash('strict')
    await second.db.close()
    const after = await openMemory(KEPT, memoryEnv({ fs: lost }))
    expect(await positionsOf(after.db)).toEqual([1, 2, 3, 4, 5])
    await after.db.close()
  })

  it('are sound for verify also where a crash tore their end', async () => {
    const { db, env } = await openMemory(KEPT)
    await db.put('a', 'x'.repeat(1000))
    await db.sync()
    await db.put('b', 'y'.repeat(1500))
    const torn = env.fs.crash('garbage-tail')
    await db.close()
    const after = await openMemory(KEPT, memoryEnv({ fs: torn }))
    expect(after.db.position).toBe(1)
    await after.db.verify()
    expect(await positionsOf(after.db)).toEqual([1])
    await after.db.close()
  })

  it('may be trimmed while verify reads them', async () => {
    const { db, env } = await openMemory({ ...TINY, log: { maxBytes: 8000 } })
    for (let i = 0; i < 60; i++) await db.put(pad(i), `${i} `.repeat(30))
    const logs = env.fs.list('/store').filter((name) => name.endsWith('.log'))
    expect(logs.length).toBeGreaterThan(2)
    const verifying = db.verify()
    for (let i = 0; i < 300; i++) await db.put(pad(i), `${i} `.repeat(30))
    await db.flush()
    await verifying
    await db.close()
  })
})
