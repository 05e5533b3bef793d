import { afterEach, describe, expect, it, vi } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Database } from '../../src/index.js'
import { RunIterator } from '../../src/memtable/run-iterator.js'
import { openMemory } from './helpers.js'

const VERSIONS = 5000

/** A key with very many versions between two others. */
async function putVersions(db: Database): Promise<void> {
  await db.put('after', 'last')
  for (let i = 0; i < VERSIONS; i++) await db.put('again', String(i))
  await db.put('a', 'first')
}

const LATEST = [
  ['a', 'first'],
  ['after', 'last'],
  ['again', String(VERSIONS - 1)],
]

afterEach(() => {
  vi.restoreAllMocks()
})

describe('a scan over a key that was written thousands of times', () => {
  it('passes its versions by a search', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 1 }))
    await putVersions(db)
    await db.put('b', 'end')
    const steps = vi.spyOn(RunIterator.prototype, 'next')
    expect(await db.entries().all()).toEqual([...LATEST, ['b', 'end']])
    expect([...db.entriesSync({ gte: 'again' })]).toEqual([LATEST[2], ['b', 'end']])
    expect(steps.mock.calls.length).toBeLessThan(100)
    await db.close()
  })

  it('sees of them what its snapshot does, and none of a deleted one', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 2 }))
    await putVersions(db)
    const snapshot = db.snapshot()
    await db.put('again', 'newer')
    await db.put('b', 'end')
    expect(await db.entries({ snapshot }).all()).toEqual(LATEST)
    await db.del('again')
    expect(await db.entries().all()).toEqual([LATEST[0], LATEST[1], ['b', 'end']])
    expect([...db.entriesSync({ snapshot })]).toEqual(LATEST)
    // Of what a snapshot holds segments keep one version, and the newest.
    await db.flush()
    expect(await db.entries({ snapshot }).all()).toEqual(LATEST)
    snapshot.close()
    await db.close()
  })

  it('passes them where keys that are longer begin with it', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 3 }))
    for (let i = 0; i < 50; i++) await db.put('k', String(i))
    await db.put('k\0', 'next')
    await db.put('k\0\0', 'and next')
    expect((await db.entries().all()).map(([, value]) => value)).toEqual(['49', 'next', 'and next'])
    await db.close()
  })

  it('passes them by a search on its way back', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 4 }))
    await putVersions(db)
    await db.put('b', 'end')
    const steps = [vi.spyOn(RunIterator.prototype, 'prev'), vi.spyOn(RunIterator.prototype, 'next')]
    const all = [...LATEST, ['b', 'end']].toReversed()
    expect(await db.entries({ reverse: true }).all()).toEqual(all)
    expect([...db.entriesSync({ lte: 'again', reverse: true })]).toEqual(all.slice(1))
    expect(await db.entries({ reverse: true, lte: 'again', limit: 1 }).all()).toEqual([LATEST[2]])
    expect(steps.flatMap(({ mock }) => mock.calls).length).toBeLessThan(200)
    await db.close()
  })

  it('passes what is newer than its snapshot by a search', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 5 }))
    await putVersions(db)
    const others = Array.from({ length: 64 }, (_, i): [string, string] => [`b${i + 100}`, 'old'])
    for (const [key, value] of others) await db.put(key, value)
    const snapshot = db.snapshot()
    await putVersions(db)
    for (const [key] of others.filter((_, i) => i % 2 === 0)) await db.put(key, 'new')
    const seen = [...LATEST, ...others]
    const steps = [vi.spyOn(RunIterator.prototype, 'prev'), vi.spyOn(RunIterator.prototype, 'next')]
    expect(await db.entries({ snapshot }).all()).toEqual(seen)
    expect(await db.entries({ snapshot, reverse: true }).all()).toEqual(seen.toReversed())
    expect(steps.flatMap(({ mock }) => mock.calls).length).toBeLessThan(500)
    snapshot.close()
    await db.close()
  })

  it('passes no more than its versions, however many newer keys follow', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 8 }))
    for (let i = 0; i < 20; i++) await db.put('k', String(i))
    const snapshot = db.snapshot()
    for (let i = 0; i < 20; i++) await db.put('k', 'newer')
    for (let i = 0; i < 200; i++) await db.put(`l${i}`, 'newer')
    expect([...db.entriesSync({ snapshot })]).toEqual([['k', '19']])
    expect([...db.entriesSync({ snapshot, reverse: true })]).toEqual([['k', '19']])
    snapshot.close()
    await db.close()
  })

  it('sees what its snapshot does on its way back, and none of a deleted one', async () => {
    const { db } = await openMemory({}, memoryEnv({ seed: 6 }))
    await putVersions(db)
    const early = db.snapshot()
    await db.del('again')
    const late = db.snapshot()
    for (let i = 0; i < 50; i++) await db.put('again', 'newest')
    await db.clear({ gte: 'again', lt: 'b' })
    await db.put('b', 'end')
    const now = [LATEST[0], LATEST[1], ['b', 'end']].toReversed()
    const check = async () => {
      expect(await db.entries({ reverse: true }).all()).toEqual(now)
      expect([...db.entriesSync({ reverse: true, snapshot: early })]).toEqual(LATEST.toReversed())
      expect(await db.entries({ reverse: true, snapshot: late }).all()).toEqual(now.slice(1))
    }
    await check()
    await db.flush()
    await check()
    early.close()
    late.close()
    await db.close()
  })

  it('passes those that many snapshots keep in a segment', async () => {
    const { db } = await openMemory({ workers: 0 }, memoryEnv({ seed: 7 }))
    await db.put('a', 'first')
    const snapshots = []
    for (let i = 0; i < 60; i++) {
      await db.put('again', String(i))
      snapshots.push(db.snapshot())
    }
    await db.put('b', 'end')
    await db.flush()
    for (const [i, snapshot] of snapshots.entries()) {
      const seen = [
        ['a', 'first'],
        ['again', String(i)],
      ]
      expect([...db.entriesSync({ snapshot })]).toEqual(seen)
      expect([...db.entriesSync({ snapshot, reverse: true })]).toEqual(seen.toReversed())
      snapshot.close()
    }
    await db.close()
  })
})
