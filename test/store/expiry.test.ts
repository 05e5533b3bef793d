import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import {
  type Change,
  type Database,
  type OpenOptions,
  repair,
  restore,
  secondaryIndex,
} from '../../src/index.js'
import { codeOf, dump, STORE, TINY } from './helpers.js'
import { ManualClock } from './manual-clock.js'

const SECOND = 1000
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30 } }

function openAt(clock: ManualClock, fs?: MemoryFileSystem, path = STORE, options: OpenOptions = KEPT) {
  return open(path, { ...options, env: clock.env(fs) } as OpenOptions)
}

/** Until the key is gone; says which is not. */
async function gone(db: Database, ...keys: string[]): Promise<void> {
  for (const key of keys) {
    await expect.poll(() => db.has(key), { timeout: 5000, interval: 2, message: key }).toBe(false)
  }
}

async function changesOf(db: Database, after = 0): Promise<Change<string, string>[]> {
  const changes: Change<string, string>[] = []
  for await (const change of db.changes({ after })) changes.push(change)
  return changes
}

describe('entries that expire', () => {
  it('are deleted once their time has come, by a write of the log that feeds see like every del', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    const startMs = clock.nowMs
    await db.put('a', '1', { ttlMs: 10 * SECOND })
    await db.batch([
      { type: 'put', key: 'b', value: '2', expiresAt: startMs + 20 * SECOND },
      { type: 'put', key: 'c', value: '3' },
      { type: 'put', key: 'd', value: '4', ttlMs: 5 * SECOND },
    ])
    expect(await db.getEntry('a')).toEqual({ value: '1', position: 1, expiresAt: startMs + 10 * SECOND })
    expect(await db.getEntry('c')).toEqual({ value: '3', position: 2 })
    await clock.pass(9.9 * SECOND)
    await gone(db, 'd')
    expect(await db.get('a')).toBe('1')
    await clock.pass(0.1 * SECOND)
    await gone(db, 'a')
    await clock.pass(10 * SECOND)
    await gone(db, 'b')
    expect(await dump(db)).toEqual({ c: '3' })
    const changes = await changesOf(db)
    expect(changes.map(({ ops }) => ops)).toEqual([
      [{ type: 'put', key: 'a', value: '1', expiresAt: startMs + 10 * SECOND }],
      [
        { type: 'put', key: 'b', value: '2', expiresAt: startMs + 20 * SECOND },
        { type: 'put', key: 'c', value: '3' },
        { type: 'put', key: 'd', value: '4', expiresAt: startMs + 5 * SECOND },
      ],
      [{ type: 'del', key: 'd' }],
      [{ type: 'del', key: 'a' }],
      [{ type: 'del', key: 'b' }],
    ])
    await db.close()
    expect(clock.timers).toBe(0)
  })

  it('stay when they are written again without an expiry, and go later with a later one', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    for (const key of ['kept', 'later', 'sooner', 'cleared', 'deleted', 'counted'])
      await db.put(key, '1', { ttlMs: 10 * SECOND })
    await db.put('kept', '2')
    await db.put('later', '2', { ttlMs: 30 * SECOND })
    await db.put('sooner', '2', { ttlMs: 1 * SECOND })
    await db.clear({ prefix: 'cleared' })
    await db.put('cleared', '2')
    await db.del('deleted')
    await db.put('deleted', '2', { ttlMs: 30 * SECOND })
    await db.increment('counted')
    await db.increment('counted', 1, { ttlMs: 20 * SECOND })
    expect((await db.getEntry('counted'))?.expiresAt).toBe(clock.nowMs + 20 * SECOND)
    await db.increment('counted')
    expect(await db.getEntry('counted')).toMatchObject({ value: '4', expiresAt: clock.nowMs + 20 * SECOND })
    await clock.pass(SECOND)
    await gone(db, 'sooner')
    await db.put('marker', '1', { ttlMs: 9 * SECOND })
    await clock.pass(10 * SECOND)
    await gone(db, 'marker')
    expect(await dump(db)).toEqual({ kept: '2', later: '2', cleared: '2', deleted: '2', counted: '4' })
    await clock.pass(30 * SECOND)
    await gone(db, 'later', 'deleted', 'counted')
    expect(await dump(db)).toEqual({ kept: '2', cleared: '2' })
    await db.close()
  })

  it('keep their time through flush, compaction, crash, restart, checkpoint, a lost manifest and a restored log', async () => {
    const clock = new ManualClock()
    const env = clock.env()
    const db = await open(STORE, { ...KEPT, env } as OpenOptions)
    const expiresAt = clock.nowMs + 100 * SECOND
    for (let i = 0; i < 200; i++) {
      await db.put(`k${i}`, `v${i}`.repeat(5), i % 2 === 0 ? { expiresAt: expiresAt + (i % 10) } : {})
      if (i % 60 === 59) await db.flush()
    }
    await db.compact()
    await db.put('last', '1', { expiresAt })
    expect((await db.getEntry('k12'))?.expiresAt).toBe(expiresAt + 2)
    await db.checkpoint('/copy')
    const crashed = env.fs.clone()
    const damaged = env.fs.clone()
    damaged.remove(`${STORE}/CURRENT`)
    await db.close()
    await repair(STORE, { env: clock.env(damaged) })
    await restore('/restored', { log: STORE, env })
    const copies: [string, MemoryFileSystem, string][] = [
      ['crashed', crashed, STORE],
      ['restarted', env.fs, STORE],
      ['checkpoint', env.fs, '/copy'],
      ['repaired', damaged, STORE],
      ['restored', env.fs, '/restored'],
    ]
    const opened = []
    for (const [what, fs, path] of copies) opened.push({ what, copy: await openAt(clock, fs, path) })
    for (const { copy } of opened) {
      expect(await copy.getEntry('k12')).toMatchObject({ expiresAt: expiresAt + 2 })
      expect(await copy.getEntry('k13')).not.toHaveProperty('expiresAt')
    }
    await clock.pass(101 * SECOND)
    for (const { what, copy } of opened) {
      await expect
        .poll(async () => (await copy.keys().all()).length, { timeout: 5000, message: what })
        .toBe(100)
      await copy.close()
    }
    expect(clock.timers).toBe(0)
  })

  it('are shown with their time by every way of reading the log', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    const expiresAt = clock.nowMs + SECOND
    await db.put('short', 'x', { expiresAt })
    await db.put('long', 'x'.repeat(6000), { expiresAt })
    await db.put('kept', 'x')
    await db.flush()
    const seen: unknown[] = []
    for await (const { ops } of db.changes({ compacted: true })) seen.push(...ops)
    expect(seen).toEqual([
      { type: 'put', key: 'short', value: 'x', expiresAt },
      { type: 'put', key: 'long', value: 'x'.repeat(6000), expiresAt },
      { type: 'put', key: 'kept', value: 'x' },
    ])
    for await (const event of db.bootstrap()) {
      if (event.type !== 'snapshot') continue
      expect(event.entries.map(([key, , , at]) => [key, at])).toEqual([
        ['kept', undefined],
        ['long', expiresAt],
        ['short', expiresAt],
      ])
    }
    const index = await db.view(
      'soon',
      secondaryIndex({ version: 1, from: 'snapshot', key: (_k, _v, at) => at }),
    )
    expect(await index.find(expiresAt)).toEqual(['long', 'short'])
    // What a change says can be written to another store as it is.
    const other = await openAt(clock, undefined, '/other')
    for await (const { ops } of db.changes({ after: 0 })) await other.batch(ops as never)
    expect(await other.getEntry('long')).toMatchObject({ expiresAt })
    await clock.pass(SECOND)
    await gone(db, 'short', 'long')
    await gone(other, 'short', 'long')
    await index.reach()
    expect(await index.find(expiresAt)).toEqual([])
    await db.close()
    await other.close()
  })

  it('commit with transactions, and a view whose name is the index cannot be opened', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    await db.transaction(async (tx) => {
      tx.put('session', '1', { ttlMs: SECOND })
      tx.put('user', '1')
    })
    const consumer = await db.consumer('c', { from: 'start' })
    await consumer.run((change, tx) => {
      for (const op of change.ops) if (op.type === 'put') tx.put(`seen/${op.key}`, '1', { ttlMs: 2 * SECOND })
    })
    await clock.pass(SECOND)
    await gone(db, 'session')
    expect(await db.has('seen/session')).toBe(true)
    await clock.pass(SECOND)
    await gone(db, 'seen/session')
    expect(await dump(db)).toEqual({ user: '1' })
    expect(await codeOf(() => db.view('\0expiry', { version: 1, apply() {} }))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })

  it('wait for the clock where it was set back, and an overwrite in the last moment wins', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    await db.put('a', '1', { ttlMs: 10 * SECOND })
    await db.put('b', '1', { ttlMs: 10 * SECOND })
    const { nowMs } = clock
    clock.nowMs -= 3600 * SECOND
    await clock.pass(20 * SECOND)
    expect(await db.getMany(['a', 'b'])).toEqual(['1', '1'])
    clock.nowMs = nowMs
    const passing = clock.pass(10 * SECOND)
    void db.put('b', '2')
    await passing
    void db.put('b', '3')
    await clock.pass(10 * SECOND)
    await gone(db, 'a')
    expect(await db.get('b')).toBe('3')
    await db.close()
  })

  it('go in batches of bounded size, however many are due; closing in the middle leaves the rest for later', async () => {
    const clock = new ManualClock()
    const env = clock.env()
    const db = await open(STORE, { ...KEPT, memtableBytes: 1 << 16, env } as OpenOptions)
    for (let i = 0; i < 3; i++)
      await db.batch(
        Array.from({ length: 400 }, (_, j) => ({
          type: 'put' as const,
          key: `k${i}-${j}`,
          value: 'x',
          ttlMs: SECOND,
        })),
      )
    const before = db.position
    const passing = clock.pass(SECOND)
    await expect.poll(() => db.position, { interval: 0 }).toBeGreaterThan(before)
    await passing
    await db.close()
    const again = await open(STORE, { ...KEPT, memtableBytes: 1 << 16, env } as OpenOptions)
    await clock.pass(SECOND)
    await expect.poll(async () => (await again.keys().all()).length, { timeout: 5000 }).toBe(0)
    const sizes = (await changesOf(again, before)).map(({ ops }) => ops.length)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(512)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(1200)
    await again.close()
  })

  it('refuse what is no time, before anything is written', async () => {
    const clock = new ManualClock()
    const db = await openAt(clock)
    const wrong: unknown[] = [
      { ttlMs: 0 },
      { ttlMs: -1 },
      { ttlMs: Number.NaN },
      { ttlMs: Number.POSITIVE_INFINITY },
      { ttlMs: '5' },
      { ttlMs: 2 ** 48 },
      { expiresAt: 1.5 },
      { expiresAt: 0 },
      { expiresAt: 2 ** 48 },
      { expiresAt: new Date() },
      { ttlMs: 5, expiresAt: 5 },
    ]
    for (const options of wrong) {
      const calls = [
        () => db.put('k', 'v', options as never),
        () => db.update('k', () => 'v', options as never),
        () => db.batch([{ type: 'put', key: 'k', value: 'v', ...(options as object) }]),
        () => db.transaction((tx) => tx.put('k', 'v', options as never)),
      ]
      for (const call of calls)
        expect(await codeOf(call), JSON.stringify(options)).toBe('VARVE_INVALID_ARGUMENT')
    }
    expect(await codeOf(() => db.batch([], { ttlMs: 5 } as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(db.position).toBe(0)
    await db.put('past', 'v', { expiresAt: 1 })
    await clock.pass(0)
    await gone(db, 'past')
    await db.close()
  })
})
