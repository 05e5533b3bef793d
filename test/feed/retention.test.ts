import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { countToTrim, nextTrimMs } from '../../src/log/log-retention.js'
import { CommitTimes } from '../../src/store/commit-times.js'
import { codeOf, failureOf, openMemory, pad, TINY } from '../store/helpers.js'
import {
  type Db,
  drain,
  HandClock,
  handClockEnv,
  openKept,
  positionsOf,
  turns,
  whilePassing,
} from './helpers.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** `count` writes of about 130 bytes of log each. */
async function fill(db: Db, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await db.put(pad(i), 'v'.repeat(100))
}

async function logBytesOf(db: Db): Promise<number> {
  await turns(5)
  return db.stats().logBytes
}

describe('retention', () => {
  it('by age goes on for days, with writes and without, on a simulated clock', async () => {
    const clock = new HandClock()
    const env = handClockEnv(clock)
    const { db } = await openKept(
      { ...TINY, durability: 'os', log: { maxBytes: 2 ** 40, maxAgeMs: 2 * DAY_MS } },
      env,
    )
    const hourOf: number[] = []
    for (let hour = 1; hour <= 10 * 24; hour++) {
      // On the fourth and fifth day nobody writes.
      const isQuiet = hour > 72 && hour <= 120
      if (!isQuiet) {
        await whilePassing(clock, db.put(`hour ${hour}`, 'v'.repeat(200)))
        hourOf[db.position] = hour
      }
      await clock.pass(HOUR_MS)
      const oldest = hourOf[db.oldestPosition] ?? Number.POSITIVE_INFINITY
      // What is younger than two days is there; a file may hold on to what is up to two days older than its end.
      const youngestGone = hourOf[db.oldestPosition - 1] ?? Number.NEGATIVE_INFINITY
      expect(hour - youngestGone, `hour ${hour}`).toBeGreaterThanOrEqual(db.oldestPosition === 1 ? 0 : 47)
      expect(hour - oldest, `hour ${hour}`).toBeLessThanOrEqual(97)
    }
    await clock.pass(5 * DAY_MS)
    expect(db.oldestPosition).toBe(db.position + 1)
    expect(env.fs.list('/store').filter((name) => name.endsWith('.log'))).toHaveLength(1)
    // A store with nothing in its log to get old is left alone.
    const { flushes } = db.stats().jobs
    await clock.pass(20 * DAY_MS)
    expect(db.stats().jobs.flushes).toBe(flushes)
    await db.close()
    expect(clock.timerCount).toBe(0)
  })

  it('by age goes on after reopening, without a write', async () => {
    const clock = new HandClock()
    const env = handClockEnv(clock)
    const options = { ...TINY, log: { maxBytes: 2 ** 40, maxAgeMs: DAY_MS } }
    const { db } = await openKept(options, env)
    await whilePassing(clock, fill(db, 50))
    await db.close()
    await clock.pass(HOUR_MS)
    const { db: again } = await openKept(options, env)
    expect(again.oldestPosition).toBe(1)
    await clock.pass(DAY_MS + HOUR_MS)
    expect(again.oldestPosition).toBe(51)
  })

  it('by bytes keeps about that much, and never what recovery needs', async () => {
    const { db } = await openKept({ ...TINY, log: { maxBytes: 20_000 } })
    for (let round = 0; round < 10; round++) {
      await fill(db, 100)
      await db.flush()
      expect(await logBytesOf(db)).toBeLessThan(20_000 + 4096)
    }
    expect(await logBytesOf(db)).toBeGreaterThan(14_000)
    expect(db.oldestPosition).toBeGreaterThan(800)
  })

  it('is held by a consumer, open or not, also over reopening, and lets go as it comes after', async () => {
    const options = { ...TINY, log: { maxBytes: 0 } }
    const { db, env } = await openKept(options)
    await fill(db, 50)
    const consumer = await db.consumer('c', { from: 'now' })
    await consumer.close()
    await fill(db, 200)
    await db.flush()
    expect(db.oldestPosition).toBeLessThanOrEqual(51)
    await db.close()
    const { db: again } = await openKept(options, env)
    expect(again.oldestPosition).toBeLessThanOrEqual(51)
    const resumed = await again.consumer('c')
    expect(await drain(resumed)).toHaveLength(200)
    await resumed.ack(200)
    await fill(again, 60)
    await again.flush()
    expect(again.oldestPosition).toBeGreaterThan(180)
    expect(again.oldestPosition).toBeLessThanOrEqual(201)
    await resumed.drop()
    await fill(again, 60)
    await again.flush()
    expect(again.oldestPosition).toBeGreaterThan(260)
  })

  it('lets go of an idle store too, once the place of the consumer is on disk', async () => {
    const clock = new HandClock()
    const env = handClockEnv(clock)
    const { db } = await openKept({ ...TINY, log: { maxBytes: 0 } }, env)
    const consumer = await db.consumer('c')
    await whilePassing(clock, fill(db, 100))
    await whilePassing(clock, db.flush())
    expect(db.oldestPosition).toBe(1)
    await consumer.run(() => {})
    await clock.pass(20_000)
    expect(db.oldestPosition).toBeGreaterThan(100)
  })

  it('is held from where a power loss would leave the consumer', async () => {
    const options = { ...TINY, durability: 'os', log: { maxBytes: 0 } } as const
    const { db, env } = await openKept(options)
    const consumer = await db.consumer('c')
    await db.sync()
    for (let round = 0; round < 30; round++) {
      await fill(db, 7)
      await consumer.run(() => {})
      await turns(3)
      for (const { name, fs } of env.fs.crashStates()) {
        const { db: crashed } = await openMemory(options, memoryEnv({ fs }))
        const resumed = await crashed.consumer('c')
        expect(await codeOf(() => resumed.run(() => {})), `round ${round}, ${name}`).toBeUndefined()
        await crashed.close()
      }
    }
    expect(db.oldestPosition).toBeGreaterThan(100)
  })

  it('D40 shows the lag of a consumer that is down, and at the cap evicts it, told and never silent', async () => {
    const options = { ...TINY, log: { maxBytes: 0, pinnedMaxBytes: 16_384 } }
    const { db, env } = await openKept(options)
    const evicted: object[] = []
    let oldestPosition = 0
    db.on('consumer.evicted', (event) => {
      evicted.push(event)
      oldestPosition = db.oldestPosition
    })
    const slow = await db.consumer('slow')
    await slow.close()
    const fast = await db.consumer('fast')
    let lagBytes = 0
    while (evicted.length === 0 && db.position < 2000) {
      await fill(db, 10)
      await fast.run(() => {})
      if (evicted.length > 0) break
      const [, stats] = db.stats().consumers
      expect(stats!.lagBytes).toBeGreaterThanOrEqual(lagBytes)
      lagBytes = stats!.lagBytes
      await turns(2)
    }
    expect(lagBytes).toBeGreaterThan(12_000)
    expect(evicted).toEqual([{ type: 'consumer.evicted', name: 'slow', position: 1, oldestPosition }])
    for (let round = 0; round < 20; round++) {
      await fill(db, 10)
      await fast.run(() => {})
    }
    await db.flush()
    // It is told once, and holds nothing any more.
    expect(evicted).toHaveLength(1)
    expect(await logBytesOf(db)).toBeLessThan(16_384)
    await db.close()
    const { db: again } = await openKept(options, env)
    again.on('consumer.evicted', (event) => evicted.push(event))
    const back = await again.consumer('slow')
    for (const use of [() => back.run(() => {}), () => back.read().next()]) {
      const oldest = again.oldestPosition
      expect(await failureOf(use)).toMatchObject({ code: 'VARVE_POSITION_LOST', position: oldest })
    }
    await back.seek(again.oldestPosition - 1)
    await fill(again, 3)
    expect(positionsOf(await drain(back)).length).toBeGreaterThan(0)
    expect(evicted).toHaveLength(1)
  })

  it('evicts the slowest consumer alone, and a parked change before the consumer that parked it', async () => {
    const { db } = await openKept({ ...TINY, log: { maxBytes: 0, pinnedMaxBytes: 16_384 } })
    const evicted: { name: string; position: number }[] = []
    db.on('consumer.evicted', ({ name, position }) => evicted.push({ name, position }))
    await db.put('bad', '1')
    const parking = await db.consumer('parking')
    await parking.run(
      ({ position }) => {
        if (position === 1) throw new Error('bad')
      },
      { onError: 'park' },
    )
    const slow = await db.consumer('slow', { from: 'now' })
    for (let i = 0; i < 40; i++) {
      await fill(db, 10)
      await parking.run(() => {})
    }
    expect(evicted).toEqual([
      { name: 'parking', position: 0 },
      { name: 'slow', position: slow.position + 1 },
    ])
    expect(await codeOf(() => slow.run(() => {}))).toBe('VARVE_POSITION_LOST')
    expect(await codeOf(() => parking.retry(1, () => {}))).toBe('VARVE_POSITION_LOST')
    expect(parking.parked()).toMatchObject([{ position: 1, error: 'Error: bad' }])
    await parking.run(() => {})
  })

  it('begins after a kept file that was cut short, and leaves it as evidence', async () => {
    const options = { ...TINY, log: { maxBytes: 2 ** 20 } }
    const { db, env } = await openKept(options)
    await fill(db, 100)
    await db.flush()
    const [first, second, third] = env.fs.list('/store').filter((name) => name.endsWith('.log'))
    await db.close()
    const bytes = env.fs.readFile(`/store/${second}`)
    env.fs.writeFile(`/store/${second}`, bytes.subarray(0, bytes.length - 50))
    const { db: again } = await openKept(options, env)
    const names = env.fs.list('/store')
    expect([first, second, third].every((name) => names.includes(name!))).toBe(true)
    const positions = positionsOf(await drain(await again.consumer('c')))
    expect(positions[0]).toBe(again.oldestPosition)
    expect(positions[0]).toBeGreaterThan(15)
    expect(positions.at(-1)).toBe(100)
  })

  it('evicts a consumer while it runs: the run ends with the oldest position', async () => {
    const { db } = await openKept({ ...TINY, log: { maxBytes: 0, pinnedMaxBytes: 8192 } })
    await fill(db, 10)
    const consumer = await db.consumer('c')
    const failure = await failureOf(() =>
      consumer.run(
        async ({ position }) => {
          if (position === 1) await fill(db, 300)
          if (position === 1) await db.flush()
        },
        { live: true },
      ),
    )
    expect(failure).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
    expect(consumer.position).toBeLessThan(db.oldestPosition)
  })

  it('keeps no process alive and leaves no timer behind', async () => {
    const clock = new HandClock()
    const { db } = await openKept(
      { ...TINY, durability: 'os', log: { maxBytes: 2 ** 30, maxAgeMs: DAY_MS } },
      handClockEnv(clock),
    )
    await whilePassing(clock, fill(db, 50))
    const consumer = await db.consumer('c')
    await consumer.run(() => {})
    await whilePassing(clock, db.flush())
    expect(clock.timerCount).toBeGreaterThan(0)
    await db.close()
    expect(clock.timerCount).toBe(0)
  })
})

describe('the rule of retention', () => {
  const file = (number: number, sizeBytes: number, closedMs: number) => ({
    ...{ number, basePosition: number * 10, lastPosition: number * 10 + 10 },
    ...{ sizeBytes, openedMs: closedMs - 5, closedMs },
  })
  const files = [file(0, 100, 10), file(1, 100, 20), file(2, 100, 30)]
  const rule = {
    ...{ flushedPosition: 1000, pinnedPosition: undefined, nowMs: 40 },
    ...{ maxBytes: 1000, maxAgeMs: 1000, pinnedMaxBytes: 1000 },
  }

  it.each([
    ['nothing that is young and within the limit', {}, 0],
    ['what is too old', { maxAgeMs: 15 }, 2],
    ['what is too much', { maxBytes: 150 }, 2],
    ['nothing that recovery needs', { maxBytes: 0, flushedPosition: 10 }, 1],
    ['nothing that is pinned', { maxBytes: 0, pinnedPosition: 15 }, 1],
    ['what is pinned, beyond the cap', { maxBytes: 0, pinnedPosition: 5, pinnedMaxBytes: 250 }, 1],
    ['everything', { maxBytes: 0, pinnedPosition: 500 }, 3],
  ])('removes %s', (_, change, count) => {
    expect(countToTrim(files, { ...rule, ...change })).toBe(count)
  })

  it.each([
    ['not at all without an age', { maxAgeMs: Number.POSITIVE_INFINITY }, undefined],
    ['when the oldest gets too old', { maxAgeMs: 100 }, 71],
    ['after a while for what is held beyond its age', { maxAgeMs: 5 }, 10_000],
    ['after a while for what is held beyond the bytes', { maxBytes: 50 }, 10_000],
  ])('looks again %s', (_, change, delayMs) => {
    expect(nextTrimMs(files, { ...rule, ...change })).toBe(delayMs)
  })
})

describe('the times of commits', () => {
  it('are exact for what is new and the coarser the older, in bounded memory', () => {
    const clock = new HandClock(1_000_000)
    const times = new CommitTimes(clock, 0)
    const at: number[] = []
    for (let position = 1; position <= 30_000; position++) {
      if (position % 3 === 0) clock.skip(20)
      at[position] = clock.wallMs()
      times.note(position)
    }
    for (let position = 1; position <= 30_000; position += 97) {
      const ageMs = clock.wallMs() - at[position]!
      expect(Math.abs(times.of(position)! - at[position]!)).toBeLessThanOrEqual(Math.max(20, ageMs / 4))
    }
    expect(times.of(30_000)).toBe(at[30_000])
  })
})
