import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import {
  codeOf,
  contents,
  dump,
  type OpenedStore,
  openMemory,
  pad,
  recovered,
  STORE,
  TINY,
} from './helpers.js'

type Db = OpenedStore['db']

async function fill(db: Db, count: number, value: string, from = 0): Promise<void> {
  const writes = []
  for (let i = from; i < from + count; i++) writes.push(db.put(pad(i), `${value} ${i} `.repeat(5)))
  await Promise.all(writes)
}

function reopen(fs: MemoryFileSystem, options: OpenOptions = TINY): Promise<OpenedStore> {
  return openMemory(options, memoryEnv({ fs }))
}

function count(fs: MemoryFileSystem, pattern: RegExp): number {
  return fs.list(STORE).filter((name) => pattern.test(name)).length
}

describe('close', () => {
  it.each([
    'memory',
    'os',
    'disk',
  ] as const)('makes un-awaited %s writes durable and resolves them', async (durability) => {
    const { db, env } = await openMemory({ ...TINY, durability })
    const writes = []
    for (let i = 0; i < 100; i++) writes.push(db.put(pad(i), 'x'.repeat(60)))
    await db.close()
    expect(await Promise.all(writes)).toHaveLength(100)
    expect(db.durablePosition).toBe(100)
    expect(env.fs.openFiles()).toEqual([])
    expect(env.fs.hasLocks()).toBe(false)
    for (const { fs } of env.fs.crashStates()) expect(Object.keys(await recovered(fs))).toHaveLength(100)
  })

  it('is idempotent, and every call waits for the end', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 50, 'a')
    let closedEvents = 0
    db.on('store.closed', () => closedEvents++)
    const first = db.close()
    await Promise.all([first, db.close(), db[Symbol.asyncDispose]()])
    await db.close()
    expect([closedEvents, env.fs.hasLocks(), env.fs.openFiles()]).toEqual([1, false, []])
  })

  it('with iterators, reads, flushes, merges and a checkpoint in flight loses nothing and leaves nothing open', async () => {
    const options = { ...TINY, memtableBytes: 8192, memory: 2 ** 22 }
    const allowed = [undefined, 'VARVE_CLOSED']
    for (let delay = 0; delay < 12; delay++) {
      const { db, env } = await openMemory(options)
      await fill(db, 400, 'a')
      await db.flush()
      await fill(db, 400, 'b')
      const iterator = db.entries()
      await iterator.next()
      const inFlight = [
        codeOf(() => iterator.nextv(300)),
        codeOf(() => db.getMany(Array.from({ length: 400 }, (_, i) => pad(i)))),
        codeOf(() => db.flush()),
        codeOf(() => db.checkpoint('/copy')),
      ]
      for (let i = 0; i < delay; i++) await new Promise((resolve) => setImmediate(resolve))
      await db.close()
      for (const code of await Promise.all(inFlight)) expect(allowed).toContain(code)
      expect([env.fs.openFiles(), env.fs.hasLocks()]).toEqual([[], false])
      const found = await recovered(env.fs, options)
      expect(Object.keys(found)).toHaveLength(400)
      expect(found[pad(7)]).toMatch(/^b 7 /)
    }
  })

  it('leaves no process-wide trace: 30 cycles of open and close keep the number of files small', async () => {
    const env = memoryEnv()
    let files = 0
    for (let cycle = 0; cycle < 30; cycle++) {
      const { db } = await openMemory(TINY, env)
      expect(db.position).toBe(cycle * 20)
      await fill(db, 20, String(cycle))
      if (cycle % 3 === 0) await db.compact()
      await db.close()
      expect(env.fs.openFiles()).toEqual([])
      const { db: reader } = await openMemory({ ...TINY, readOnly: true }, env)
      const segments = reader.stats().levels.reduce((sum, level) => sum + level.segments, 0)
      await reader.close()
      files = env.fs.list(STORE).length
      expect(count(env.fs, /\.seg$/)).toBe(segments)
      expect([count(env.fs, /^MANIFEST/), count(env.fs, /\.tmp$/), count(env.fs, /\.log$/)]).toEqual([
        1, 0, 1,
      ])
    }
    expect(files).toBeLessThan(20)
  })

  it('gives the next open every position, value and file number in order', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 100, 'a')
    await db.del(pad(5))
    await db.clear({ gte: pad(50) })
    const wanted = await dump(db)
    await db.close()
    const numbers = () => env.fs.list(STORE).map((name) => Number(/\d+/.exec(name)?.[0] ?? 0))
    const highest = Math.max(...numbers())
    const again = await reopen(env.fs)
    expect(await dump(again.db)).toEqual(wanted)
    expect([again.db.position, again.db.durablePosition]).toEqual([102, 102])
    expect(await again.db.put('next', '1')).toBe(103)
    expect(Math.max(...numbers())).toBeGreaterThan(highest)
    await again.db.close()
  })
})

describe('a checkpoint', () => {
  it('opens as a store with the exact position, and later writes change no byte of it', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 120, 'a')
    const wanted = await dump(db)
    const during = db.put('during', '1')
    const { position } = await db.checkpoint('/copy')
    await during
    expect(position).toBe(121)
    const before = contents(env.fs, '/copy')
    await fill(db, 120, 'b')
    await db.clear()
    await db.compact()
    await db.close()
    expect(contents(env.fs, '/copy')).toEqual(before)
    for (const { fs } of env.fs.crashStates()) {
      const copy = await open('/copy', { ...TINY, env: memoryEnv({ fs }) } as never)
      expect(copy.position).toBe(position)
      expect(Object.fromEntries(await copy.entries().all())).toEqual({ ...wanted, during: '1' })
      await copy.put('own', 'life')
      await copy.close()
    }
  })

  it('of an empty store is an empty store', async () => {
    const { db, env } = await openMemory()
    expect(await db.checkpoint('/copy')).toEqual({ position: 0 })
    await db.close()
    const copy = await open('/copy', { createIfMissing: false, env } as never)
    expect([copy.position, await copy.keys().all()]).toEqual([0, []])
    await copy.close()
  })

  it('refuses a path where something is, and changes it not', async () => {
    const { db, env } = await openMemory()
    await db.put('a', '1')
    env.fs.makeDirectory('/there')
    env.fs.writeFile('/there/file', Buffer.from('x'))
    expect(await codeOf(() => db.checkpoint('/there'))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => db.checkpoint('/there/file'))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => db.checkpoint(STORE))).toBe('VARVE_INVALID_ARGUMENT')
    expect(contents(env.fs, '/there')).toEqual({ file: '78' })
    await db.close()
  })

  it('copies where the file system cannot link', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 100, 'a')
    const wanted = await dump(db)
    env.fs.link = () => false
    await db.checkpoint('/copy')
    await db.close()
    for (const { fs } of env.fs.crashStates()) {
      const copy = await open('/copy', { ...TINY, env: memoryEnv({ fs }) } as never)
      expect(Object.fromEntries(await copy.entries().all())).toEqual(wanted)
      await copy.close()
    }
  })
})

describe('verify', () => {
  it('reports what it read, with progress up to the total', async () => {
    const { db } = await openMemory(TINY)
    await fill(db, 150, 'a')
    await db.compact()
    const progress: [number, number][] = []
    const report = await db.verify({ onProgress: (done, total) => progress.push([done, total]) })
    const stats = db.stats()
    expect(report).toMatchObject({ entries: 150, bytes: stats.segmentBytes, logFiles: 0 })
    expect(report.segments).toBe(stats.levels.reduce((sum, level) => sum + level.segments, 0))
    expect(report.blocks).toBeGreaterThanOrEqual(report.segments)
    expect(progress.at(-1)).toEqual([report.bytes, report.bytes])
    await db.close()
  })

  it('fails with VARVE_CORRUPTION at a bit that was flipped on disk behind the cache', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 50, 'a')
    await db.compact()
    const name = env.fs.list(STORE).find((file) => file.endsWith('.seg'))!
    const counter = env.fs.inject({ op: 'read', path: /\.seg$/, effect: { flipBit: 100 } })
    expect(await codeOf(() => db.verify())).toBe('VARVE_CORRUPTION')
    expect([counter.fired, env.fs.stat(`${STORE}/${name}`) !== undefined]).toEqual([1, true])
    await db.close()
  })
})

describe('stats', () => {
  it('add up, and match what is on disk', async () => {
    const { db, env } = await openMemory(TINY)
    await fill(db, 300, 'a')
    await db.flush()
    await fill(db, 30, 'b')
    const stats = db.stats()
    const sum = (pattern: RegExp) =>
      env.fs
        .list(STORE)
        .filter((name) => pattern.test(name))
        .reduce((bytes, name) => bytes + env.fs.stat(`${STORE}/${name}`)!.sizeBytes, 0)
    expect(stats.levels.reduce((bytes, level) => bytes + level.bytes, 0)).toBe(stats.segmentBytes)
    expect(stats.segmentBytes).toBe(sum(/\.seg$/))
    expect(stats.logBytes).toBe(sum(/\.log$/))
    expect(stats.diskBytes).toBe(stats.segmentBytes + stats.logBytes)
    expect(stats.memory.usedBytes).toBe(
      stats.memory.memtableBytes + stats.memory.cacheBytes + stats.memory.tableBytes,
    )
    expect([stats.position, stats.flushedPosition <= stats.position]).toEqual([330, true])
    expect(stats.writeAmplification).toBeGreaterThanOrEqual(1)
    expect(stats.spaceAmplification).toBeGreaterThanOrEqual(1)
    expect(stats.health).toBeUndefined()
    expect(stats.memory.budgetBytes).toBe(TINY.memory)
    await db.close()
  })

  it('keep the write amplification over a reopen, and begin it at 0', async () => {
    const { db, env } = await openMemory(TINY)
    expect(db.stats().writeAmplification).toBe(0)
    for (let round = 0; round < 4; round++) {
      await fill(db, 60, String(round))
      await db.compact()
    }
    const before = db.stats().writeAmplification
    expect(before).toBeGreaterThan(1)
    await db.close()
    const again = await openMemory({ ...TINY, readOnly: true }, memoryEnv({ fs: env.fs }))
    expect(again.db.stats().writeAmplification).toBe(before)
    await again.db.close()
  })

  it('approximateSize grows with the range, and an empty range is 0', async () => {
    const { db } = await openMemory({ ...TINY, compression: 'none' })
    await fill(db, 500, 'a')
    await db.compact()
    const all = db.approximateSize({})
    const half = db.approximateSize({ lt: pad(250) })
    expect(all).toBeGreaterThan(0)
    expect(all).toBeLessThanOrEqual(db.stats().segmentBytes)
    expect(half / all).toBeGreaterThan(0.4)
    expect(half / all).toBeLessThan(0.6)
    expect(db.approximateSize({ gt: 'b', lt: 'a' })).toBe(0)
    expect(db.approximateSize({ gt: 'zzz' })).toBe(0)
    await db.close()
  })
})

describe('events', () => {
  it('of flushes and compactions come in pairs that name the same work', async () => {
    const { db } = await openMemory(TINY)
    const flushes: number[] = []
    const merges: string[] = []
    db.on('flush.began', ({ logNumber }) => flushes.push(logNumber))
    db.on('flush.ended', ({ logNumber }) => expect(flushes.pop()).toBe(logNumber))
    db.on('compaction.began', ({ inputs }) => merges.push(inputs.join()))
    db.on('compaction.ended', ({ inputs }) => expect(merges.pop()).toBe(inputs.join()))
    let throws = 0
    db.on('flush.ended', () => {
      throws++
      throw new Error('a listener')
    })
    let silent = 0
    db.on('flush.ended', () => silent++)()
    await fill(db, 400, 'a')
    await db.compact()
    const { jobs } = db.stats()
    expect([flushes, merges, silent]).toEqual([[], [], 0])
    expect(throws).toBe(jobs.flushes)
    expect(jobs.flushes).toBeGreaterThan(3)
    expect(jobs.compactions).toBeGreaterThan(0)
    await db.close()
  })
})

describe('retention of the log', () => {
  const rotate = async (db: Db, rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      await fill(db, 20, String(round))
      await db.flush()
    }
  }

  it('keeps no file beyond what recovery needs by default', async () => {
    const { db, env } = await openMemory(TINY)
    await rotate(db, 4)
    expect(count(env.fs, /\.log$/)).toBe(1)
    expect(db.oldestPosition).toBe(db.position + 1)
    await db.put('a', '1')
    expect(db.oldestPosition).toBe(db.position)
    await db.close()
  })

  it('keeps files up to maxBytes and trims the oldest beyond it', async () => {
    const { db, env } = await openMemory({ ...TINY, log: { maxBytes: 8000 } })
    await rotate(db, 2)
    expect(db.oldestPosition).toBe(1)
    await rotate(db, 20)
    const bytes = env.fs
      .list(STORE)
      .filter((name) => name.endsWith('.log'))
      .reduce((sum, name) => sum + env.fs.stat(`${STORE}/${name}`)!.sizeBytes, 0)
    expect(bytes).toBeLessThan(8000 + 2200)
    expect(bytes).toBeGreaterThan(4000)
    const { oldestPosition } = db
    expect(oldestPosition).toBeGreaterThan(1)
    expect(oldestPosition).toBeLessThan(db.position)
    expect(db.stats().oldestPosition).toBe(oldestPosition)
    await db.close()
    const again = await reopen(env.fs, { ...TINY, log: { maxBytes: 8000 } })
    expect(again.db.oldestPosition).toBe(oldestPosition)
    expect((await again.db.verify()).logFiles).toBeGreaterThan(1)
    await again.db.close()
    const none = await reopen(env.fs, TINY)
    expect([none.db.oldestPosition, count(env.fs, /\.log$/)]).toEqual([none.db.position + 1, 1])
    await none.db.close()
  })

  it('drops files older than maxAgeMs, even under maxBytes', async () => {
    const { db, env } = await openMemory({ ...TINY, log: { maxBytes: 2 ** 30, maxAgeMs: 40 } })
    await rotate(db, 2)
    expect(db.oldestPosition).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 60))
    await rotate(db, 1)
    expect(db.oldestPosition).toBeGreaterThan(20)
    expect(count(env.fs, /\.log$/)).toBeLessThan(4)
    await db.close()
  })
})
