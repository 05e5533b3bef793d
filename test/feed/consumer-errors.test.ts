import { describe, expect, it } from 'vitest'
import { codeOf, failureOf, pad, until } from '../store/helpers.js'
import { type Db, HandClock, handClockEnv, KEPT, openKept, turns } from './helpers.js'

async function putMany(db: Db, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) void db.put(pad(i), String(i))
  await db.sync()
}

const forever = () => new Promise<void>(() => {})

describe('a handler that throws', () => {
  it('D36 stop: ends the run with the position, holds up nobody else, and begins there again', async () => {
    const { db } = await openKept()
    await putMany(db, 10)
    const [bad, good] = [await db.consumer('bad'), await db.consumer('good')]
    const boom = new Error('poison')
    let count = 0
    const failing = failureOf(() =>
      bad.run(({ position }, tx) => {
        tx.put(`effect:${position}`, '1')
        if (position === 5) throw boom
      }),
    )
    await good.run(() => void count++)
    expect(await failing).toMatchObject({ code: 'VARVE_HANDLER', position: 5, cause: boom })
    expect((await failing)!.message).toContain('poison')
    expect(bad.position).toBe(4)
    expect(await db.get('effect:4')).toBe('1')
    expect(await db.get('effect:5')).toBeUndefined()
    // The ten changes, and what the other one wrote while this one ran or had written before.
    expect(count).toBeGreaterThanOrEqual(10)
    const seen: number[] = []
    await bad.run(({ position }) => void seen.push(position))
    expect(seen[0]).toBe(5)
  })

  it('D36 retry: is called again after longer and longer waits, and what it had written is gone', async () => {
    const clock = new HandClock()
    const { db } = await openKept({ ...KEPT, durability: 'os' }, handClockEnv(clock))
    await db.put('a', '1')
    const consumer = await db.consumer('c')
    const calls: number[] = []
    const running = consumer.run(
      async (_, tx) => {
        calls.push(clock.wallMs())
        tx.put(`try:${calls.length}`, '1')
        await tx.get('a')
        if (calls.length < 5) throw new Error('not yet')
      },
      { onError: { retry: { minMs: 100, maxMs: 400 } } },
    )
    await turns(3)
    for (let i = 0; i < 200 && calls.length < 5; i++) await clock.pass(10)
    await running
    const waits = calls.slice(1).map((at, i) => at - calls[i]!)
    for (const [i, maxMs] of [100, 200, 400, 400].entries()) {
      expect(waits[i]).toBeGreaterThanOrEqual(maxMs / 2)
      expect(waits[i]).toBeLessThanOrEqual(maxMs + 10)
    }
    expect((await db.entries({ prefix: 'try:' }).all()).map(([key]) => key)).toEqual(['try:5'])
  })

  it('D36 park: puts the change aside, lists it after reopening, and does it when asked', async () => {
    const { db, env } = await openKept()
    await putMany(db, 6)
    const consumer = await db.consumer('c')
    await consumer.run(
      ({ position }, tx) => {
        if (position % 3 === 0) throw new TypeError(`bad ${position}`)
        tx.put(`effect:${position}`, '1')
      },
      { onError: 'park' },
    )
    expect(consumer.position).toBe(6)
    expect(consumer.parked()).toMatchObject([
      { position: 3, attempts: 1, error: 'TypeError: bad 3' },
      { position: 6, attempts: 1, error: 'TypeError: bad 6' },
    ])
    await db.flush()
    await db.close()
    const { db: again } = await openKept(KEPT, env)
    const resumed = await again.consumer('c')
    expect(again.stats().consumers).toMatchObject([{ name: 'c', position: 6, parked: 2 }])
    expect(resumed.parked().map(({ position }) => position)).toEqual([3, 6])
    const other = await again.consumer('other')
    await other.run(() => Promise.reject(new Error('x')), { onError: 'park' })
    const hanging = codeOf(() => other.retry(1, forever))
    await turns(2)
    await other.drop()
    expect(await hanging).toBe('VARVE_CLOSED')
    const failure = await failureOf(() => resumed.retry(3, () => Promise.reject(new Error('still bad'))))
    expect(failure).toMatchObject({ code: 'VARVE_HANDLER', position: 3 })
    await resumed.retry(3, async ({ ops: [op] }, tx) => {
      if (op?.type === 'put') tx.put('effect:3', `${op.value}, at last`)
    })
    expect(await again.get('effect:3')).toBe('3, at last')
    await resumed.unpark(6)
    expect(resumed.parked()).toEqual([])
    expect(await codeOf(() => resumed.unpark(6))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => resumed.retry(1, () => {}))).toBe('VARVE_INVALID_ARGUMENT')
    expect(again.stats().consumers).toMatchObject([{ parked: 0 }])
    const seen: number[] = []
    await resumed.run(({ position }) => void seen.push(position))
    expect(seen).toEqual([])
  })

  it('is tried so often, then parked; or stops', async () => {
    const { db } = await openKept()
    await putMany(db, 2)
    const retry = { attempts: 3, minMs: 1, maxMs: 2 }
    const parking = await db.consumer('parking')
    await parking.run(() => Promise.reject(new Error('x'.repeat(1000))), {
      onError: { retry: { ...retry, giveUp: 'park' } },
    })
    expect(parking.parked()).toMatchObject([
      { position: 1, attempts: 3 },
      { position: 2, attempts: 3 },
    ])
    expect(parking.parked()[0]!.error.length).toBeLessThan(500)
    const stopping = await db.consumer('stopping')
    let calls = 0
    const failing = stopping.run(
      () => {
        calls++
        throw new Error('never')
      },
      { onError: { retry } },
    )
    expect(await failureOf(() => failing)).toMatchObject({ code: 'VARVE_HANDLER', position: 1 })
    expect(calls).toBe(3)
  })

  it('stops as well for effects that are too large, and parks them', async () => {
    const { db } = await openKept()
    await putMany(db, 2)
    const consumer = await db.consumer('c')
    const handler = ({ position }: { position: number }, tx: { put(key: string, value: string): void }) => {
      tx.put(position === 1 ? 'k'.repeat(70_000) : 'fine', '')
    }
    expect(await failureOf(() => consumer.run(handler))).toMatchObject({ code: 'VARVE_HANDLER', position: 1 })
    await consumer.run(handler, { onError: 'park' })
    expect(consumer.parked()).toMatchObject([{ position: 1 }])
    expect(await db.get('fine')).toBe('')
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['an object that cannot be shown', Object.create(null)],
  ])('may throw %s', async (_, thrown) => {
    const { db } = await openKept()
    await putMany(db, 1)
    const consumer = await db.consumer('c')
    const failing = consumer.run(() => {
      throw thrown
    })
    expect(await failureOf(() => failing)).toMatchObject({ code: 'VARVE_HANDLER', position: 1 })
  })

  it('waits no longer for its retry once it is closed or aborted', async () => {
    const { db } = await openKept()
    await putMany(db, 1)
    const consumer = await db.consumer('c')
    const onError = { retry: { minMs: 100_000, maxMs: 100_000 } }
    const controller = new AbortController()
    const aborted = codeOf(() =>
      consumer.run(() => Promise.reject(new Error('x')), { onError, signal: controller.signal }),
    )
    await turns(3)
    controller.abort()
    expect(await aborted).toBe('VARVE_ABORTED')
    const closed = consumer.run(() => Promise.reject(new Error('x')), { onError })
    await turns(3)
    await consumer.close()
    await closed
    expect((await db.consumer('c')).position).toBe(0)
  })
})

describe('a handler that never returns', () => {
  it('is told, given a second, and left behind: close ends, and nothing it does has an effect', async () => {
    const { db } = await openKept()
    await putMany(db, 3)
    const consumer = await db.consumer('c')
    let release!: () => void
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const later: (string | undefined)[] = []
    let wasTold = false
    const running = consumer.run(async ({ position }, tx) => {
      tx.put(`before:${position}`, '1')
      if (position < 2) return
      tx.signal.addEventListener('abort', () => {
        wasTold = true
      })
      await released
      later.push(await codeOf(() => tx.put('after', '1')), await codeOf(() => tx.get('x')))
    })
    await until(() => consumer.position === 1)
    const startMs = performance.now()
    await consumer.close()
    await running
    expect(performance.now() - startMs).toBeLessThan(5000)
    expect(wasTold).toBe(true)
    release()
    await until(() => later.length === 2)
    expect(later).toEqual(['VARVE_CLOSED', 'VARVE_CLOSED'])
    expect(await db.get('before:1')).toBe('1')
    expect(await db.get('before:2')).toBeUndefined()
    expect(await db.get('after')).toBeUndefined()
    expect((await db.consumer('c')).position).toBe(1)
  })

  it('does not hold up the close of its store, nor what closes from within', async () => {
    const { db, env } = await openKept()
    await putMany(db, 1)
    const [hanging, closing] = [await db.consumer('hanging'), await db.consumer('closing')]
    const runs = [
      hanging.run(forever, { live: true }),
      closing.run(async () => closing.close(), { live: true }),
    ]
    await turns(3)
    await db.close()
    await Promise.all(runs)
    expect(env.fs.openFiles()).toEqual([])
  })

  it('may end within the second: its effects count', async () => {
    const { db } = await openKept()
    await putMany(db, 2)
    const consumer = await db.consumer('c')
    const running = consumer.run(async (_, tx) => {
      await new Promise((resolve) => tx.signal.addEventListener('abort', resolve))
      tx.put('done', '1')
    })
    await turns(2)
    await consumer.close()
    await running
    expect(await db.get('done')).toBe('1')
    expect((await db.consumer('c')).position).toBe(1)
  })
})

describe('an end from outside', () => {
  it('ends live runs and readers, waiting or not', async () => {
    const { db } = await openKept()
    const controller = new AbortController()
    const [a, b, c, d] = [
      await db.consumer('a'),
      await db.consumer('b'),
      await db.consumer('c'),
      await db.consumer('d'),
    ]
    const { signal } = controller
    const ends = [
      codeOf(() => a.run(() => {}, { live: true, signal })),
      codeOf(() => b.read({ live: true, signal }).next()),
      codeOf(() => c.run(() => {}, { live: true })),
      codeOf(() => d.read({ live: true }).next()),
    ]
    await turns(2)
    controller.abort()
    await c.close()
    await db.close()
    expect(await Promise.all(ends)).toEqual(['VARVE_ABORTED', 'VARVE_ABORTED', undefined, undefined])
    expect(await codeOf(() => a.run(() => {}))).toBe('VARVE_CLOSED')
  })

  it('a failure of the store ends them with what failed, under any policy', async () => {
    const { db, env } = await openKept()
    await db.put('a', '1')
    const consumer = await db.consumer('c')
    env.fs.inject({ op: 'write', path: /\.log$/, repeat: 'forever', effect: { errno: 'EIO' } })
    const retry = { minMs: 1, maxMs: 1 }
    const failing = codeOf(() =>
      consumer.run((_, tx) => tx.put('x', '1'), { onError: { retry }, live: true }),
    )
    expect(await failing).toBe('VARVE_IO')
    expect(await codeOf(() => consumer.run((_, tx) => tx.put('x', '1'), { onError: 'park' }))).toBe(
      'VARVE_IO',
    )
    await consumer.close()
  })

  it('an aborted signal runs nothing', async () => {
    const { db } = await openKept()
    await putMany(db, 1)
    const consumer = await db.consumer('c')
    const signal = AbortSignal.abort()
    let calls = 0
    expect(await codeOf(() => consumer.run(() => void calls++, { signal }))).toBe('VARVE_ABORTED')
    expect(await codeOf(() => consumer.read({ signal }).next())).toBe('VARVE_ABORTED')
    expect(calls).toBe(0)
  })
})
