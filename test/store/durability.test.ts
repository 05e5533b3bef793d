import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { openMemory, pad, recovered, STORE, TINY, until, type Watched, watched } from './helpers.js'

async function openWatched(options: OpenOptions): Promise<Watched & { readonly db: Database }> {
  const watch = watched(memoryEnv())
  const db = await open(STORE, { ...options, env: watch.env } as OpenOptions)
  watch.calls.length = 0
  return Object.assign(watch, { db })
}

describe('durability', () => {
  it("'memory' writes nothing until something else needs it: a kill loses it", async () => {
    const { db, calls, env } = await openWatched({ durability: 'memory' })
    await db.put('a', '1')
    expect([calls, db.durablePosition]).toEqual([[], 0])
    const fs = env.fs as ReturnType<typeof memoryEnv>['fs']
    expect(await recovered(fs.clone())).toEqual({})
    await db.put('b', '1', { durability: 'os' })
    expect(await recovered(fs.clone())).toEqual({ a: '1', b: '1' })
    await db.close()
    expect(await recovered(fs.clone())).toEqual({ a: '1', b: '1' })
  })

  it("'os' hands every acknowledged write to the system and syncs nothing: a kill loses nothing", async () => {
    const { db, calls, env } = await openWatched({ durability: 'os' })
    const fs = env.fs as ReturnType<typeof memoryEnv>['fs']
    for (let i = 0; i < 5; i++) {
      await db.put(pad(i), 'x')
      expect(Object.keys(await recovered(fs.clone()))).toHaveLength(i + 1)
    }
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(calls.filter((call) => call.startsWith('sync'))).toEqual([])
    expect(db.durablePosition).toBe(0)
    await db.close()
  })

  it('{ intervalMs } syncs in the background within the interval', async () => {
    const { db, env } = await openMemory({ durability: { intervalMs: 20 } })
    await db.put('a', '1')
    await db.put('b', '1')
    expect(db.durablePosition).toBe(0)
    await until(() => db.durablePosition === 2)
    expect(db.durablePosition).toBe(2)
    expect(await recovered(env.fs.crash('strict'))).toEqual({ a: '1', b: '1' })
    await db.put('c', '1')
    await until(() => db.durablePosition === 3)
    expect(await recovered(env.fs.crash('strict'))).toEqual({ a: '1', b: '1', c: '1' })
    await db.close()
  })

  it("'disk' acknowledges only what every kind of power loss keeps", async () => {
    const { db, env } = await openMemory({ durability: 'disk' })
    const wanted: Record<string, string> = {}
    for (let i = 0; i < 4; i++) {
      const position = await db.put(pad(i), String(i))
      wanted[pad(i)] = String(i)
      expect(db.durablePosition).toBeGreaterThanOrEqual(position)
      for (const { fs } of env.fs.crashStates()) expect(await recovered(fs)).toEqual(wanted)
    }
    await db.close()
  })

  it("'disk' holds across log rotations: older logs and the new name are synced first", async () => {
    const { db, env } = await openMemory({ ...TINY, durability: 'os', l0SegmentsMax: 50 })
    const logs = new Set<number>()
    db.on('log.rotated', ({ logNumber }) => logs.add(logNumber))
    const wanted: Record<string, string> = {}
    for (let i = 0; i < 90; i++) {
      wanted[pad(i)] = String(i).repeat(30)
      if (i % 30 !== 29) void db.put(pad(i), wanted[pad(i)]!)
      else {
        const position = await db.put(pad(i), wanted[pad(i)]!, { durability: 'disk' })
        expect(db.durablePosition).toBeGreaterThanOrEqual(position)
        for (const { fs } of env.fs.crashStates()) expect(await recovered(fs)).toEqual(wanted)
      }
    }
    expect(logs.size).toBeGreaterThan(2)
    await db.close()
  })

  it('can be chosen for one write, up and down', async () => {
    const { db, calls } = await openWatched({ durability: 'disk' })
    await db.put('a', '1', { durability: 'os' })
    expect([calls, db.durablePosition]).toEqual([['write 000002.log'], 0])
    await db.put('b', '1', { durability: 'memory' })
    expect(calls).toHaveLength(1)
    await db.batch([{ type: 'put', key: 'c', value: '1' }])
    expect([calls.includes('sync 000002.log'), db.durablePosition]).toEqual([true, 3])
    await db.del('a', { durability: 'os' })
    expect(db.durablePosition).toBe(3)
    await db.close()
  })

  it('never runs ahead of the position, and neither goes back', async () => {
    const { db } = await openMemory({ ...TINY, durability: { intervalMs: 1 } })
    let last = [0, 0]
    for (let i = 0; i < 400; i++) {
      const durability = (['memory', 'os', 'disk'] as const)[i % 3]!
      const write = db.put(pad(i % 50), 'x'.repeat(40), { durability })
      if (i % 7 === 0) await write
      const now = [db.durablePosition, db.position]
      expect(now[0]).toBeLessThanOrEqual(now[1]!)
      expect(now[0]! >= last[0]! && now[1]! >= last[1]!).toBe(true)
      last = now
    }
    await db.close()
    expect(db.durablePosition).toBe(400)
  })
})

describe('durable writes', () => {
  it('that arrive while an fdatasync runs share the next one', async () => {
    const watch = await openWatched({ durability: 'disk' })
    const { db, calls } = watch
    let open!: () => void
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const syncs = () => calls.filter((call) => call.startsWith('sync 0')).length
    watch.beforeSync = () => gate
    // Two at once go to the other thread.
    const first = Promise.all([db.put('a', '1'), db.put('b', '1')])
    await until(() => syncs() === 1)
    const later = []
    for (let i = 0; i < 10; i++) {
      later.push(db.put(pad(i), 'x'))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect([syncs(), db.durablePosition, db.position]).toEqual([1, 0, 12])
    open()
    expect(await first).toEqual([1, 2])
    expect(await Promise.all(later)).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    expect([syncs(), db.durablePosition]).toEqual([2, 12])
    await db.close()
  })

  it('are not acknowledged by an fdatasync that began before them', async () => {
    const watch = await openWatched({ durability: 'disk' })
    const { db } = watch
    const gates: (() => void)[] = []
    watch.beforeSync = () => new Promise((resolve) => gates.push(resolve))
    const acknowledged: string[] = []
    const first = Promise.all([db.put('a', '1'), db.put('b', '1')]).then(() => acknowledged.push('first'))
    await until(() => gates.length === 1)
    const second = db.put('c', '1').then(() => acknowledged.push('second'))
    gates[0]!()
    await first
    await until(() => gates.length === 2)
    expect([acknowledged, db.durablePosition]).toEqual([['first'], 2])
    gates[1]!()
    await second
    expect(db.durablePosition).toBe(3)
    watch.beforeSync = async () => {}
    await db.close()
  })
})

describe('sync', () => {
  it('is a barrier for every write that was called before, whatever its durability', async () => {
    const { db, env } = await openMemory({ ...TINY, durability: 'memory' })
    const wanted: Record<string, string> = {}
    for (let i = 0; i < 60; i++) {
      wanted[pad(i)] = String(i).repeat(20)
      void db.put(pad(i), wanted[pad(i)]!)
    }
    expect(await db.sync()).toBe(60)
    expect(db.durablePosition).toBe(60)
    for (const { fs } of env.fs.crashStates()) expect(await recovered(fs)).toEqual(wanted)
    await db.close()
  })

  it('of nothing new resolves to the last position, and runs beside itself', async () => {
    const { db } = await openMemory()
    expect(await db.sync()).toBe(0)
    await db.put('a', '1')
    expect(await Promise.all([db.sync(), db.sync(), db.sync()])).toEqual([1, 1, 1])
    expect(await db.sync()).toBe(1)
    await db.close()
  })
})
