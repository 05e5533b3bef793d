import { describe, expect, it } from 'vitest'
import type { OpenOptions } from '../../src/index.js'
import { type OpenedStore, openMemory, TINY } from './helpers.js'
import { ManualClock } from './manual-clock.js'

type Db = OpenedStore['db']

const keyAt = (index: number) => `key-${String(index).padStart(4, '0')}`
const MEMTABLE_BYTES = 8192
const IDLE_MS = 1000

async function openIdle(options: OpenOptions = {}) {
  const clock = new ManualClock()
  const env = clock.env()
  const { db } = await openMemory(
    { ...TINY, workers: 1, l0SegmentsMax: 8, memtableBytes: MEMTABLE_BYTES, ...options },
    env,
  )
  const events: string[] = []
  for (const name of ['flush.began', 'flush.ended', 'compaction.began', 'compaction.ended'] as const)
    db.on(name, ({ forReads }) => events.push(forReads ? `${name} for reads` : name))
  return { db, env, clock, events }
}

/** Keys of which each takes a hundred bytes of a memtable. */
async function write(db: Db, from: number, count: number): Promise<void> {
  for (let index = from; index < from + count; index++) await db.put(keyAt(index), 'v'.repeat(60))
}

/** Range reads that go over a few thousand entries, if there are so many. */
function readAll(db: Db, reads = 100): void {
  for (let read = 0; read < reads; read++) for (const _ of db.keysSync());
}

/** And nothing follows from it any more. */
async function ended(db: Db, name: 'flush.ended' | 'compaction.ended'): Promise<void> {
  await db.once(name)
  await new Promise((resolve) => setImmediate(resolve))
}

const HALF = 40
const LITTLE = 10

describe('a store that is read and not written to', () => {
  it('flushes a memtable that is a quarter full once nothing was written for a second, once', async () => {
    const { db, clock, events } = await openIdle()
    await write(db, 0, HALF)
    readAll(db)
    clock.nowMs += IDLE_MS - 1
    readAll(db)
    expect(events).toEqual([])
    clock.nowMs += 1
    readAll(db)
    expect(events).toEqual(['flush.began for reads'])
    await ended(db, 'flush.ended')
    expect(db.stats().jobs).toEqual({ flushes: 1, compactions: 0, moves: 0, forReads: 1 })
    expect([...db.keysSync()]).toHaveLength(HALF)
    clock.nowMs += 10 * IDLE_MS
    readAll(db)
    expect(events).toHaveLength(2)
    await db.close()
  })

  it('leaves little that was written where it is, and does nothing by itself, without reads', async () => {
    const { db, clock, events } = await openIdle()
    await write(db, 0, LITTLE)
    clock.nowMs += IDLE_MS
    readAll(db)
    await write(db, LITTLE, HALF)
    await clock.pass(100 * IDLE_MS)
    // As many point reads as one likes.
    for (let read = 0; read < 2000; read++) db.getSync(keyAt(read % HALF))
    // Fewer entries than it looks after.
    for (const _ of db.keysSync({ limit: 20 }));
    expect(events).toEqual([])
    await db.close()
  })

  it('merges level 0 if that is more than one segment', async () => {
    const { db, clock, events } = await openIdle()
    for (let round = 0; round < 2; round++) {
      for (let segment = 0; segment < 3; segment++) {
        await write(db, 0, HALF)
        await db.flush()
      }
      events.length = 0
      readAll(db)
      expect(events).toEqual([])
      clock.nowMs += IDLE_MS
      readAll(db)
      expect(events).toEqual(['compaction.began for reads'])
      await ended(db, 'compaction.ended')
      expect(
        db
          .stats()
          .levels.map(({ segments }) => segments)
          .slice(0, 2),
      ).toEqual([0, 1])
      expect(db.stats().jobs).toMatchObject({ compactions: round + 1, forReads: round + 1 })
    }
    await write(db, 0, HALF)
    await db.flush()
    events.length = 0
    clock.nowMs += IDLE_MS
    readAll(db)
    expect(events).toEqual([])
    await db.close()
  })

  it('waits until reads went over a quarter of what there is to write', async () => {
    const { db, clock, events } = await openIdle({ memory: 1 << 23, memtableBytes: 1 << 20 })
    const entries = 8000
    const readSome = (limit: number) => {
      for (const _ of db.keysSync({ limit }));
    }
    await write(db, 0, entries)
    await db.flush()
    await write(db, 0, entries)
    // Sorts them; what is written next makes it count anew.
    readSome(1)
    await write(db, 0, 1)
    events.length = 0
    clock.nowMs += IDLE_MS
    readSome(1900)
    expect(events).toEqual([])
    readSome(1900)
    expect(events).toEqual(['flush.began for reads'])
    await ended(db, 'flush.ended')
    // Entries read while it began are few.
    readSome(2000)
    expect(events).toHaveLength(2)
    readSome(2500)
    expect(events).toEqual(['flush.began for reads', 'flush.ended for reads', 'compaction.began for reads'])
    await ended(db, 'compaction.ended')
    await db.close()
  })

  it('counts what a read has to sort: its first one, however short, begins the flush of an unsorted memtable', async () => {
    const { db, clock, events } = await openIdle({ memory: 1 << 23, memtableBytes: 1 << 20 })
    for (let round = 0; round < 2; round++) {
      await write(db, 0, 4000)
      events.length = 0
      clock.nowMs += IDLE_MS
      const read = round === 0 ? [...db.keysSync({ limit: 1 })] : await db.keys({ limit: 1 }).all()
      expect(read).toEqual([keyAt(0)])
      expect(events[0]).toBe('flush.began for reads')
      await db.flush()
    }
    await db.close()
  })

  it('flushes and then merges, and begins anew once something was written', async () => {
    const { db, clock, events } = await openIdle()
    for (let round = 0; round < 2; round++) {
      await write(db, 0, HALF)
      await db.flush()
      await write(db, 0, HALF)
      events.length = 0
      clock.nowMs += IDLE_MS
      readAll(db)
      await ended(db, 'flush.ended')
      readAll(db)
      await ended(db, 'compaction.ended')
      readAll(db)
      expect(events).toEqual([
        'flush.began for reads',
        'flush.ended for reads',
        'compaction.began for reads',
        'compaction.ended for reads',
      ])
    }
    await db.close()
  })

  it('leaves a flush that was asked for, and merges of tiers, as they are', async () => {
    const { db, clock, events } = await openIdle({ compaction: 'tiered' })
    for (let segment = 0; segment < 2; segment++) {
      await write(db, 0, HALF)
      await db.flush()
    }
    clock.nowMs += IDLE_MS
    readAll(db)
    expect(events).toEqual(['flush.began', 'flush.ended', 'flush.began', 'flush.ended'])
    await db.close()
  })

  it('does nothing while something is being written, nor where it may not write', async () => {
    const { db, env, clock, events } = await openIdle()
    await write(db, 0, HALF)
    clock.nowMs += IDLE_MS
    const written = db.put('new', 'value')
    readAll(db)
    expect(events).toEqual([])
    await written
    const { db: reader } = await openMemory({ readOnly: true }, env)
    clock.nowMs += IDLE_MS
    readAll(reader)
    await reader.close()
    expect(events).toEqual([])
    await db.close()
  })

  it('does nothing where the thread that reads would have to do it', async () => {
    const { db, clock, events } = await openIdle({ workers: 0 })
    await write(db, 0, HALF)
    clock.nowMs += IDLE_MS
    readAll(db)
    expect(events).toEqual([])
    await db.close()
  })

  it('does nothing once it closes, whatever was read before', async () => {
    const { db, clock, events } = await openIdle({ memory: 1 << 23, memtableBytes: 1 << 20 })
    await write(db, 0, 3000)
    const iterators = [db.keysSync(), db.keysSync()]
    for (const iterator of iterators) iterator.next()
    // What was sorted counts no more.
    await write(db, 0, 1)
    clock.nowMs += IDLE_MS
    for (const iterator of iterators) for (let entry = 1; entry < 1000; entry++) iterator.next()
    const closing = db.close()
    for (const iterator of iterators) iterator.return?.()
    await closing
    expect(events).toEqual([])
  })
})
