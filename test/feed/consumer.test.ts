import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { codeOf, failureOf, openMemory, pad, TINY, until } from '../store/helpers.js'
import { changesOf, type Db, drain, KEPT, type Opened, openKept, positionsOf, turns } from './helpers.js'

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

async function putMany(db: Db, count: number, valueBytes = 20): Promise<void> {
  for (let i = 0; i < count; i++) void db.put(pad(i), 'v'.repeat(valueBytes))
  await db.sync()
}

/** What a run hands to its handler. */
async function handled(consumer: Opened): Promise<number[]> {
  const seen: number[] = []
  await consumer.run(({ position }) => {
    seen.push(position)
  })
  return seen
}

describe('run', () => {
  it('D1 hands out every change once, in order, and goes on there the next time', async () => {
    const { db } = await openKept()
    await putMany(db, 100)
    const consumer = await db.consumer('c')
    expect(await handled(consumer)).toEqual(range(1, 100))
    expect(consumer).toMatchObject({ position: 100, lag: 0, lagBytes: 0, lagMs: 0 })
    await db.put('more', '1')
    expect(consumer.lag).toBe(1)
    expect(await handled(consumer)).toEqual([db.position - 1])
    expect(await handled(consumer)).toEqual([])
  })

  it('commits effects and place as one batch, and does not hand them back', async () => {
    const { db } = await openKept()
    await db.put('a', '1')
    await db.put('b', '2')
    const consumer = await db.consumer('copy')
    const start = db.position
    await consumer.run((change, tx) => {
      for (const op of change.ops) if (op.type === 'put') tx.put(`copy:${op.key}`, op.value)
    })
    expect(db.position).toBe(start + 2)
    expect(await db.entries({ prefix: 'copy:' }).all()).toEqual([
      ['copy:a', '1'],
      ['copy:b', '2'],
    ])
    expect(consumer).toMatchObject({ position: 2, lag: 0 })
    await consumer.close()
    const again = await db.consumer('copy')
    expect(again.position).toBe(2)
    expect(await handled(again)).toEqual([])
    expect(again.lag).toBe(0)
    expect(db.position).toBe(start + 2)
  })

  it('shows its own effects where that is asked for', async () => {
    const { db } = await openKept()
    await db.put('3', '')
    const consumer = await db.consumer('c')
    const keys: string[] = []
    await consumer.run(
      ({ ops: [op] }, tx) => {
        if (op?.type !== 'put') return
        keys.push(op.key)
        if (op.key !== '0') tx.put(String(Number(op.key) - 1), '')
      },
      { showsOwn: true },
    )
    expect(keys).toEqual(['3', '2', '1', '0'])
  })

  it('shows batches without operations, and not those that hold only places of consumers', async () => {
    const { db } = await openKept()
    await db.batch([])
    const first = await db.consumer('first')
    const second = await db.consumer('second')
    expect(await handled(first)).toEqual([1])
    expect(await handled(second)).toEqual([1])
    expect(await drain(first)).toEqual([])
  })

  it('lets an idle store stay as it is, with live consumers that write and that do not', async () => {
    const { db } = await openKept()
    const seen: number[] = []
    const quiet = await db.consumer('quiet')
    const writer = await db.consumer('writer')
    const runs = [
      quiet.run(({ position }) => void seen.push(position), { live: true }),
      writer.run(({ position }, tx) => tx.put('last', String(position)), { live: true }),
    ]
    await db.put('a', '1')
    await until(() => seen.length === 2)
    // The progress of the quiet one is saved up for a second.
    await new Promise((resolve) => setTimeout(resolve, 1100))
    const { position } = db
    expect(quiet.lag + writer.lag).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 1200))
    expect(db.position).toBe(position)
    await Promise.all([quiet.close(), writer.close()])
    await Promise.all(runs)
    expect(db.position).toBe(position)
  })

  it('goes on live, from files, memory and what is written meanwhile', async () => {
    const { db } = await openKept()
    await putMany(db, 300, 60)
    await db.flush()
    const consumer = await db.consumer('c')
    const keys: string[] = []
    const done = consumer.run(
      ({ ops: [op] }) => {
        if (op?.type === 'put') keys.push(op.key)
        if (keys.length === 600) void consumer.close()
      },
      { live: true },
    )
    for (let i = 300; i < 600; i++) {
      void db.put(pad(i), 'v'.repeat(i % 90))
      if (i % 40 === 0) await db.flush()
    }
    await done
    expect(keys).toEqual(range(0, 599).map(pad))
  })

  it('calls the handler again where another writer changed what it had read', async () => {
    const { db } = await openKept()
    await db.put('in', '1')
    await db.put('sum', '10')
    const consumer = await db.consumer('c')
    let calls = 0
    await consumer.run(async ({ ops: [op] }, tx) => {
      if (op?.type !== 'put' || op.key !== 'in') return
      const sum = Number(await tx.get('sum'))
      if (++calls === 1) await db.put('sum', '20')
      tx.put('sum', String(sum + 1))
    })
    expect(calls).toBe(2)
    expect(await db.get('sum')).toBe('21')
  })

  it('sees its earlier effects, however many are under way', async () => {
    const { db } = await openKept()
    await putMany(db, 500)
    const consumer = await db.consumer('c')
    await consumer.run((_, tx) => tx.put('count', String(Number(tx.getSync('count') ?? 0) + 1)))
    expect(await db.get('count')).toBe('500')
  })
})

describe('read and ack', () => {
  it('delivers again what was not acknowledged, and nothing that was', async () => {
    const { db } = await openKept()
    await putMany(db, 10)
    const consumer = await db.consumer('c')
    expect(positionsOf(await drain(consumer))).toEqual(range(1, 10))
    await consumer.ack(4)
    expect(consumer.position).toBe(4)
    await consumer.ack(2)
    expect(consumer.position).toBe(4)
    expect(positionsOf(await drain(consumer)).filter((position) => position <= 10)).toEqual(range(5, 10))
    await Promise.all(range(5, 10).map((position) => consumer.ack(position)))
    expect(consumer).toMatchObject({ position: 10 })
    expect(await drain(consumer)).toEqual([])
    expect(consumer.lag).toBe(0)
    await consumer.close()
    const again = await db.consumer('c')
    expect(again.position).toBe(10)
    expect(await drain(again)).toEqual([])
  })

  it('is not behind once all was acknowledged, and acknowledging gives no other consumer work', async () => {
    const { db } = await openKept()
    await putMany(db, 5)
    const consumer = await db.consumer('c')
    const reader = consumer.read({ live: true })
    for (const position of range(1, 5)) {
      expect(await reader.next()).toMatchObject({ value: { position } })
      await consumer.ack(position)
    }
    const waiting = reader.next()
    await turns(3)
    expect(consumer.lag).toBe(0)
    await reader.return!()
    expect(await waiting).toEqual({ value: undefined, done: true })
  })

  it.each([
    ['not read yet', 6],
    ['negative', -1],
    ['a fraction', 1.5],
    ['no number', '3' as never],
    ['not finite', Number.NaN],
  ])('takes no acknowledgement of a position that is %s', async (_, position) => {
    const { db } = await openKept()
    await putMany(db, 8)
    const consumer = await db.consumer('c')
    const reader = consumer.read()
    for (let i = 0; i < 5; i++) await reader.next()
    expect(await codeOf(() => consumer.ack(position))).toBe('VARVE_INVALID_ARGUMENT')
    expect(consumer.position).toBe(0)
  })
})

describe('the place of a consumer', () => {
  it('D25 is moved to any position, and two consumers do not affect each other', async () => {
    const { db } = await openKept()
    await putMany(db, 1000)
    const [one, two] = [await db.consumer('one'), await db.consumer('two', { from: 700 })]
    expect(positionsOf(await drain(two)).slice(0, 2)).toEqual([701, 702])
    for (const position of [0, 500, 1000]) {
      await one.seek(position)
      expect(one.position).toBe(position)
      expect(positionsOf(await drain(one)).filter((at) => at <= 1000)).toEqual(range(position + 1, 1000))
    }
    expect(two.position).toBe(700)
    expect(positionsOf(await drain(two))[0]).toBe(701)
  })

  it('moves under a reader and under a run', async () => {
    const { db } = await openKept()
    await putMany(db, 20)
    const consumer = await db.consumer('c')
    const reader = consumer.read()
    for (let i = 0; i < 10; i++) await reader.next()
    await consumer.seek(3)
    expect(await reader.next()).toMatchObject({ value: { position: 4 } })
    expect(await codeOf(() => consumer.ack(9))).toBe('VARVE_INVALID_ARGUMENT')
    await reader.return!()
    await consumer.seek(0)
    const seen: number[] = []
    await consumer.run(async ({ position }, tx) => {
      seen.push(position)
      tx.put('effects', `${(await tx.get('effects')) ?? ''}${position},`)
      if (position === 5 && seen.length === 5) await consumer.seek(2)
    })
    expect(seen.filter((at) => at <= 20)).toEqual([...range(1, 5), ...range(3, 20)])
    expect((await db.get('effects'))!.startsWith('1,2,3,4,5,3,4,5,6,')).toBe(true)
  })

  it.each([
    ['the start', { from: 'start' }, 1],
    ['the start by default', {}, 1],
    ['a position', { from: 3 }, 4],
  ] as const)('begins at %s', async (_, options, first) => {
    const { db } = await openKept()
    await putMany(db, 5)
    expect(positionsOf(await drain(await db.consumer('c', options)))).toEqual(range(first, 5))
  })

  it('begins now, and keeps that although nothing was read', async () => {
    const { db, env } = await openKept()
    await putMany(db, 5)
    const consumer = await db.consumer('c', { from: 'now' })
    expect(consumer).toMatchObject({ position: 5, lag: 0 })
    await db.put('later', '1')
    await db.close()
    const again = await openKept(KEPT, env)
    const resumed = await again.db.consumer('c', { from: 'start' })
    expect((await drain(resumed)).map(({ ops }) => ops)).toEqual([
      [{ type: 'put', key: 'later', value: '1' }],
    ])
  })

  it.each([
    ['a flush', (db: Db) => db.flush()],
    [
      'many flushes and a compaction',
      async (db: Db) => {
        await putMany(db, 200, 100)
        await db.compact()
      },
    ],
    ['nothing', async () => {}],
  ])('survives %s and reopening, twice', async (_, disturb) => {
    const { db, env } = await openKept()
    await putMany(db, 10)
    const consumer = await db.consumer('c')
    await drain(consumer)
    await consumer.ack(7)
    await disturb(db)
    await db.close()
    for (let i = 0; i < 2; i++) {
      const again = await openKept(KEPT, env)
      const resumed = await again.db.consumer('c')
      expect(resumed.position).toBe(7)
      expect(positionsOf(await drain(resumed)).slice(0, 3)).toEqual([8, 9, 10])
      await again.db.close()
    }
  })

  it('is in a checkpoint, shown by a store that only reads, and gone after drop', async () => {
    const { db, env } = await openKept()
    await putMany(db, 10)
    const consumer = await db.consumer('c')
    await drain(consumer)
    await consumer.ack(7)
    await db.checkpoint('/copy')
    const { open } = await import('../../src/index.js')
    const readOnly = await open('/store', { ...KEPT, readOnly: true, env } as never)
    expect(readOnly.stats().consumers).toMatchObject([{ name: 'c', position: 7, isOpen: false, parked: 0 }])
    expect(await codeOf(() => readOnly.consumer('c'))).toBe('VARVE_READ_ONLY')
    await readOnly.close()
    const copy = await open('/copy', { ...KEPT, env } as never)
    expect(copy.stats().consumers).toMatchObject([{ name: 'c', position: 7 }])
    // A checkpoint has no log: what the consumer has not read is not there to be read.
    const moved = await copy.consumer('c')
    expect(await codeOf(() => moved.run(() => {}))).toBe('VARVE_POSITION_LOST')
    await moved.seek(copy.position)
    await moved.run(() => {})
    await moved.drop()
    expect(copy.stats().consumers).toEqual([])
    await copy.flush()
    await copy.close()
    const again = await open('/copy', { ...KEPT, env } as never)
    expect(again.stats().consumers).toEqual([])
    await again.close()
  })

  it('survives a full disk and resume', async () => {
    const { db, env } = await openKept()
    await putMany(db, 10)
    const consumer = await db.consumer('c')
    await drain(consumer)
    await consumer.ack(7)
    const fault = env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'ENOSPC' } })
    expect(await codeOf(() => db.put('x', 'y'))).toBe('VARVE_NO_SPACE')
    expect(fault.fired).toBe(1)
    await db.resume()
    expect(await codeOf(() => consumer.run(() => {}))).toBe('VARVE_CLOSED')
    const again = await db.consumer('c')
    expect(positionsOf(await drain(again)).slice(0, 3)).toEqual([8, 9, 10])
  })

  it('is not behind while it is closed, where nothing but its own notes came after it', async () => {
    const { db } = await openKept()
    await putMany(db, 3)
    const [quiet, writing] = [await db.consumer('quiet'), await db.consumer('writing')]
    await quiet.run(() => {})
    await quiet.close()
    expect(db.stats().consumers[0]).toMatchObject({ name: 'quiet', position: 3, lag: 0, lagMs: 0 })
    await db.put('d', '4')
    await writing.run((change, tx) => tx.put('last', String(change.position)))
    await writing.close()
    expect(db.stats().consumers[1]).toMatchObject({ name: 'writing', lag: 0, isOpen: false })
  })

  it('is told for every consumer by stats, with lag in positions, bytes and milliseconds', async () => {
    const { db } = await openKept()
    await putMany(db, 100, 100)
    const reading = await db.consumer('a', { from: 50 })
    const done = await db.consumer('b', { from: 'now' })
    await done.close()
    await new Promise((resolve) => setTimeout(resolve, 30))
    const [a, b] = db.stats().consumers
    expect(a).toMatchObject({ name: 'a', position: 50, lag: db.position - 50, isOpen: true, parked: 0 })
    expect(a!.lagBytes).toBeGreaterThan(50 * 100)
    expect(a!.lagBytes).toBeLessThan(100 * 150)
    expect(a!.lagMs).toBeGreaterThanOrEqual(20)
    expect(a).toMatchObject({ lagBytes: reading.lagBytes })
    expect(b).toMatchObject({ name: 'b', lag: 0, lagBytes: 0, lagMs: 0, isOpen: false })
  })
})

describe('bad input', () => {
  it.each([
    ['an empty name', '', {}, 'VARVE_INVALID_ARGUMENT'],
    ['a name that is no string', 5 as never, {}, 'VARVE_INVALID_ARGUMENT'],
    ['a name with a zero', 'a\0b', {}, 'VARVE_INVALID_ARGUMENT'],
    ['a name with half a character', '\ud800', {}, 'VARVE_INVALID_ARGUMENT'],
    ['a name of 256 bytes', 'ø'.repeat(128), {}, 'VARVE_LIMIT'],
    ['a start in the future', 'c', { from: 99 }, 'VARVE_INVALID_ARGUMENT'],
    ['a negative start', 'c', { from: -1 }, 'VARVE_INVALID_ARGUMENT'],
    ['a fraction as start', 'c', { from: 0.5 }, 'VARVE_INVALID_ARGUMENT'],
    ['an unknown start', 'c', { from: 'end' as never }, 'VARVE_INVALID_ARGUMENT'],
  ])('is refused and leaves nothing: %s', async (_, name, options, code) => {
    const { db } = await openKept()
    await putMany(db, 5)
    expect(await codeOf(() => db.consumer(name, options))).toBe(code)
    expect(db.position).toBe(5)
    expect(db.stats().consumers).toEqual([])
  })

  it.each([
    ['from the future', 99],
    ['negative', -1],
    ['a fraction', 2.5],
    ['no number', '1' as never],
  ])('seek refuses a position that is %s', async (_, position) => {
    const { db } = await openKept()
    await putMany(db, 5)
    const consumer = await db.consumer('c', { from: 2 })
    expect(await codeOf(() => consumer.seek(position))).toBe('VARVE_INVALID_ARGUMENT')
    expect(consumer.position).toBe(2)
    expect(db.position).toBe(6)
  })

  it('names the oldest position where the one asked for is gone', async () => {
    const { db } = await openKept(TINY)
    await putMany(db, 200, 100)
    await db.flush()
    const failure = await failureOf(() => db.consumer('c', { from: 3 }))
    expect(failure).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
    const consumer = await db.consumer('c', { from: 'now' })
    expect(await codeOf(() => consumer.seek(3))).toBe('VARVE_POSITION_LOST')
    expect(consumer.position).toBe(200)
  })

  it('lets a name of 255 bytes be open once at a time', async () => {
    const { db } = await openKept()
    const name = 'n'.repeat(255)
    const opening = db.consumer(name)
    expect(await codeOf(() => db.consumer(name))).toBe('VARVE_LOCKED')
    const consumer = await opening
    expect(await codeOf(() => db.consumer(name))).toBe('VARVE_LOCKED')
    expect(await codeOf(() => db.withEncodings({ valueEncoding: 'buffer' }).consumer(name))).toBe(
      'VARVE_LOCKED',
    )
    await consumer.close()
    await (await db.consumer(name)).close()
  })

  it('runs or reads once at a time, and not after close or drop', async () => {
    const { db } = await openKept()
    await putMany(db, 3)
    const consumer = await db.consumer('c')
    const running = consumer.run(() => {}, { live: true })
    expect(await codeOf(() => consumer.run(() => {}))).toBe('VARVE_LOCKED')
    expect(await codeOf(() => consumer.read())).toBe('VARVE_LOCKED')
    await consumer.drop()
    await running
    for (const use of [
      () => consumer.run(() => {}),
      () => consumer.read(),
      () => consumer.ack(1),
      () => consumer.seek(0),
      () => consumer.drop(),
    ]) {
      expect(await codeOf(use)).toBe('VARVE_CLOSED')
    }
    expect(positionsOf(await drain(await db.consumer('c')))).toEqual([1, 2, 3])
  })

  it.each([
    ['no handler', undefined as never, {}],
    ['an unknown policy', () => {}, { onError: 'skip' as never }],
    ['no attempts', () => {}, { onError: { retry: { attempts: 0 } } }],
    ['a negative wait', () => {}, { onError: { retry: { minMs: -1 } } }],
    ['waits the wrong way round', () => {}, { onError: { retry: { minMs: 2, maxMs: 1 } } }],
    ['an unknown end of retries', () => {}, { onError: { retry: { giveUp: 'x' as never } } }],
    ['an unknown durability', () => {}, { durability: 'never' as never }],
  ])('run refuses %s', async (_, handler, options) => {
    const { db } = await openKept()
    const consumer = await db.consumer('c')
    expect(await codeOf(() => consumer.run(handler, options))).toBe('VARVE_INVALID_ARGUMENT')
    await consumer.run(() => {})
  })
})

describe('a consumer of a store of durable writes', () => {
  it('is shown what is on disk, and ends with its effects on disk', async () => {
    const { db, env } = await openKept({ ...KEPT, durability: 'disk' })
    for (let i = 0; i < 50; i++) void db.put(pad(i), 'v')
    const consumer = await db.consumer('c')
    await consumer.run(({ position }, tx) => {
      expect(db.durablePosition).toBeGreaterThanOrEqual(position)
      tx.put('count', String(Number(tx.getSync('count') ?? 0) + 1))
    })
    expect(db.durablePosition).toBe(db.position)
    const [strict] = [...env.fs.crashStates()].filter(({ name }) => name === 'strict')
    const crashed = await openMemory({ ...KEPT, durability: 'disk' }, memoryEnv({ fs: strict!.fs }))
    expect(await crashed.db.get('count')).toBe('50')
    expect(await handled(await crashed.db.consumer('c'))).toEqual([])
    await crashed.db.close()
    expect(positionsOf(await changesOf(db))).toEqual(range(1, db.position))
  })
})
