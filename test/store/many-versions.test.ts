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
})
