import { describe, expect, it } from 'vitest'
import { Database } from '../../src/database.js'
import { codeOf, openMemory, pad, TINY, until } from './helpers.js'

async function filled(options = TINY, count = 200) {
  const opened = await openMemory(options)
  for (let i = 0; i < count; i++) await opened.db.put(pad(i), `value ${i} `.repeat(5))
  return opened
}

const aborted = (): AbortSignal => AbortSignal.abort(new Error('enough'))

describe('a signal', () => {
  it('ends a wait for a position, and leaves nothing behind', async () => {
    const { db, env } = await filled()
    let timers = 0
    const { after } = env.clock
    env.clock.after = (...args) => {
      timers++
      const cancel = after(...args)
      return () => {
        timers--
        cancel()
      }
    }
    const controller = new AbortController()
    const options = { atLeast: db.position + 10, timeoutMs: 60_000, signal: controller.signal }
    const reads = [
      db.get('a', options),
      db.getMany(['a'], options),
      db.has('a', options),
      db.getEntry('a', options),
    ]
    await until(() => timers === 4)
    controller.abort(new Error('enough'))
    for (const read of reads) {
      await expect(read).rejects.toMatchObject({ code: 'VARVE_ABORTED', cause: { message: 'enough' } })
    }
    expect(timers).toBe(0)
    expect(await codeOf(() => db.get('a', options))).toBe('VARVE_ABORTED')
    // Where there is nothing to wait for, it ends nothing.
    expect(await db.get(pad(1), { atLeast: 1 })).toBeDefined()
    await db.close()
  })

  it('ends an iterator at its next step, and frees what it pinned at once', async () => {
    const { db } = await filled()
    const controller = new AbortController()
    const iterator = db.entries({ signal: controller.signal })
    expect((await iterator.next()).done).toBe(false)
    expect(db.stats().snapshots.count).toBe(1)
    controller.abort()
    await new Promise((resolve) => setImmediate(resolve))
    expect(db.stats().snapshots.count).toBe(0)
    expect(await codeOf(() => iterator.next())).toBe('VARVE_ABORTED')
    expect(await codeOf(() => iterator.nextv(5))).toBe('VARVE_ABORTED')
    await iterator.close()

    const early = db.keys({ signal: aborted() })
    await new Promise((resolve) => setImmediate(resolve))
    expect(db.stats().snapshots.count).toBe(0)
    expect(await codeOf(() => early.all())).toBe('VARVE_ABORTED')
    expect(await codeOf(() => [...db.keysSync({ signal: aborted() })])).toBe('VARVE_ABORTED')
    expect(db.stats().snapshots.count).toBe(0)
    expect(await codeOf(() => db.clear({ signal: aborted() }))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })

  it('ends a step that is under way', async () => {
    const { db } = await filled()
    const controller = new AbortController()
    const all = db.entries({ signal: controller.signal }).all()
    controller.abort()
    expect(await codeOf(() => all)).toBe('VARVE_ABORTED')
    expect(db.stats().snapshots.count).toBe(0)
    await db.close()
  })

  it('ends the wait for a flush and a compaction; what is under way is finished', async () => {
    const { db } = await filled({ ...TINY, memtableBytes: 1 << 20 })
    const controller = new AbortController()
    const flush = db.flush({ signal: controller.signal })
    controller.abort()
    expect(await codeOf(() => flush)).toBe('VARVE_ABORTED')
    await until(() => db.stats().flushedPosition === db.position)
    expect(db.stats().flushedPosition).toBe(db.position)
    expect(await codeOf(() => db.flush({ signal: aborted() }))).toBe('VARVE_ABORTED')

    for (let i = 0; i < 200; i++) await db.put(pad(i), 'new')
    const ended = new AbortController()
    const compaction = db.compact({ signal: ended.signal })
    await db.once('compaction.began')
    ended.abort()
    expect(await codeOf(() => compaction)).toBe('VARVE_ABORTED')
    await db.compact()
    expect((await db.verify()).entries).toBe(200)
    await db.close()
  })

  it('ends a verification between two segments, and a checkpoint without a trace', async () => {
    const { db, env } = await filled()
    await db.compact()
    const controller = new AbortController()
    const onProgress = () => controller.abort()
    expect(db.stats().levels.reduce((sum, level) => sum + level.segments, 0)).toBeGreaterThan(1)
    expect(await codeOf(() => db.verify({ signal: controller.signal, onProgress }))).toBe('VARVE_ABORTED')
    expect(await codeOf(() => db.checkpoint('/copy', { signal: controller.signal }))).toBe('VARVE_ABORTED')

    let looks = 0
    const late = {
      get aborted() {
        // The third look is in the middle of the files.
        return ++looks > 2
      },
      addEventListener() {},
      removeEventListener() {},
      reason: undefined,
    } as unknown as AbortSignal
    expect(await codeOf(() => db.checkpoint('/copy', { signal: late }))).toBe('VARVE_ABORTED')
    expect(env.fs.list('/').filter((name) => name.startsWith('copy'))).toEqual([])
    expect(await db.checkpoint('/copy')).toEqual({ position: db.position })
    await db.close()
  })

  it('ends the wait for an event', async () => {
    const { db } = await filled()
    const controller = new AbortController()
    const never = db.once('view.failed', { signal: controller.signal })
    controller.abort()
    expect(await codeOf(() => never)).toBe('VARVE_ABORTED')
    expect(await codeOf(() => db.once('flush.ended', { signal: aborted() }))).toBe('VARVE_ABORTED')
    const flushed = db.once('flush.ended')
    await db.flush()
    expect(await flushed).toMatchObject({ type: 'flush.ended', segments: [expect.any(Number)] })
    const orphan = db.once('view.switched')
    const closed = db.once('store.closed')
    await db.close()
    expect(await codeOf(() => orphan)).toBe('VARVE_CLOSED')
    expect(await closed).toEqual({ type: 'store.closed' })
  })

  it('ends the wait for a view', async () => {
    const { db } = await openMemory()
    const view = await db.view('v', { version: 1, apply: () => {} })
    const controller = new AbortController()
    const { signal } = controller
    const waits = [
      view.get('a', { atLeast: 100, signal }),
      view.reach(100, { signal }),
      view.keys({ atLeast: 100, signal }).all(),
    ]
    controller.abort()
    for (const wait of waits) await expect(wait).rejects.toMatchObject({ code: 'VARVE_ABORTED' })
    expect(await codeOf(() => view.reach(100, { signal }))).toBe('VARVE_ABORTED')
    await db.close()
  })
})

describe('await using', () => {
  it('closes iterators, feeds, consumers, views and the store', async () => {
    const { db } = await filled()
    const { archive } = Database.typedStoreOf(db).store
    const consumer = await db.consumer('c', { from: 'start' })
    for (const open of [
      () => db.entries(),
      () => db.changes({ live: true }),
      () => db.changes({ compacted: true }),
      () => db.bootstrap({ live: true }),
      () => consumer.read({ live: true }),
    ]) {
      const iterator = open()
      await iterator.next()
      await iterator[Symbol.asyncDispose]()
      expect((await codeOf(() => iterator.next())) ?? 'VARVE_CLOSED').toBe('VARVE_CLOSED')
    }
    expect(db.stats().snapshots.count).toBe(0)
    await consumer[Symbol.asyncDispose]()
    expect(archive.hasPins).toBe(false)
    const view = await db.view('v', { version: 1, apply: () => {} })
    await using(view)
    const snapshot = db.snapshot()
    snapshot[Symbol.dispose]()
    expect(db.stats().snapshots.count).toBe(0)
    await using(db)
    expect(await codeOf(() => db.get('a'))).toBe('VARVE_CLOSED')
  })

  async function using(resource: AsyncDisposable): Promise<void> {
    await resource[Symbol.asyncDispose]()
  }
})
