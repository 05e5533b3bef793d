import { describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { CrashState } from '../../src/env/memory-file-system.js'
import { type Consumer, type Database, type OpenOptions, open } from '../../src/index.js'
import { TINY } from '../store/helpers.js'
import { SEED } from './helpers.js'

const TIMEOUT_MS = 120_000
const KEPT: OpenOptions = { ...TINY, memtableBytes: 1024, log: { maxBytes: 2 ** 20 } }
const MESSAGES = 12

type Db = Database<string, string>

function openIn(env: MemoryEnv, path: string, options: OpenOptions): Promise<Db> {
  return open(path, { ...options, env } as OpenOptions)
}

/** What a crash could leave before each step of a script, and what had left the machine by then. */
async function crashStatesOf(
  seed: number,
  script: (env: MemoryEnv, outside: string[]) => Promise<void>,
): Promise<{ readonly what: string; readonly state: CrashState; readonly outside: readonly string[] }[]> {
  const env = memoryEnv({ seed })
  const outside: string[] = []
  const found: { what: string; state: CrashState; outside: readonly string[] }[] = []
  env.fs.onStep = ({ index, op, path }) => {
    for (const state of env.fs.crashStates()) {
      found.push({ what: `before step ${index} ${op} ${path}, ${state.name}`, state, outside: [...outside] })
    }
  }
  await script(env, outside)
  env.fs.onStep = undefined
  return found
}

/** Counts each message, and how often it was counted. */
async function count(consumer: Consumer<string, string>): Promise<void> {
  await consumer.run(({ ops }, tx) => {
    for (const op of ops) {
      if (op.type !== 'put' || !op.key.startsWith('message:')) continue
      tx.put('count', String(Number(tx.getSync('count') ?? 0) + 1))
      const seen = op.key.replace('message', 'seen')
      tx.put(seen, String(Number(tx.getSync(seen) ?? 0) + 1))
    }
  })
}

const numberOf = async (db: Db, prefix: string) => (await db.keys({ prefix }).all()).length

async function sendMessages(db: Db, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await db.put(`message:${i}`, 'm'.repeat(30 + (i % 40)))
}

describe(`a crash at every write and sync of a run (seed ${SEED})`, () => {
  it.each([
    ['handed to the system', 'os'],
    ['on disk', 'disk'],
  ] as const)(
    'D30 leaves a counter that equals the messages it has counted, effects %s',
    { timeout: TIMEOUT_MS },
    async (_, durability) => {
      const options = { ...KEPT, durability }
      const states = await crashStatesOf(SEED, async (env) => {
        const db = await openIn(env, '/store', options)
        const consumer = await db.consumer('counter')
        for (let i = 0; i < MESSAGES; i += 4) {
          await sendMessages(db, i, i + 4)
          await count(consumer)
          if (i === 4) await db.flush()
        }
        await db.close()
      })
      for (const { what, state } of states) {
        const db = await openIn(memoryEnv({ fs: state.fs }), '/store', options)
        const counted = Number((await db.get('count')) ?? 0)
        expect(await numberOf(db, 'seen:'), what).toBe(counted)
        const consumer = await db.consumer('counter')
        await count(consumer)
        const messages = await numberOf(db, 'message:')
        expect(await db.get('count'), what).toBe(messages === 0 ? undefined : String(messages))
        const seen = await db.values({ prefix: 'seen:' }).all()
        expect(new Set(seen), what).toEqual(new Set(messages === 0 ? [] : ['1']))
        await db.close()
      }
      console.log(`consumer, ${durability}: ${states.length} crash states of a run, 0 bad`)
      expect(states.length).toBeGreaterThan(200)
    },
  )

  it('D30 breaks a counter that is written after the message', { timeout: TIMEOUT_MS }, async () => {
    const states = await crashStatesOf(SEED, async (env) => {
      const db = await openIn(env, '/store', { ...KEPT, durability: 'os' })
      for (let i = 0; i < 8; i++) {
        await db.put(`message:${i}`, 'm')
        await db.put('count', String(i + 1))
      }
      await db.close()
    })
    let broken = 0
    for (const { state } of states) {
      const db = await openIn(memoryEnv({ fs: state.fs }), '/store', KEPT)
      if ((await numberOf(db, 'message:')) !== Number((await db.get('count')) ?? 0)) broken++
      await db.close()
    }
    expect(broken).toBeGreaterThan(0)
  })

  it(
    'D31 D33 a counter in a second store, upserted with its position, needs no common transaction',
    {
      timeout: TIMEOUT_MS,
    },
    async () => {
      const options = { ...KEPT, durability: 'os' } as const
      /** One key, one upsert: what was counted up to which position. */
      const countInto = async (log: Db, sink: Db) => {
        const consumer = await log.consumer('counter')
        for await (const { position, ops } of consumer.read()) {
          const held = JSON.parse((await sink.get('counter')) ?? '{"count":0,"position":0}')
          if (position > held.position) {
            const count = held.count + ops.filter(({ type }) => type === 'put').length
            await sink.put('counter', JSON.stringify({ count, position }), { durability: 'disk' })
          }
          await consumer.ack(position)
        }
        await consumer.close()
      }
      const states = await crashStatesOf(SEED + 1, async (env) => {
        const log = await openIn(env, '/log', options)
        for (let i = 0; i < MESSAGES; i += 8) {
          await sendMessages(log, i, i + 8)
          await log.sync()
          const sink = await openIn(env, '/sink', options)
          await countInto(log, sink)
          await sink.close()
        }
        await log.close()
      })
      for (const { what, state } of states) {
        const env = memoryEnv({ fs: state.fs })
        const [log, sink] = [await openIn(env, '/log', options), await openIn(env, '/sink', options)]
        await countInto(log, sink)
        const { count = 0 } = JSON.parse((await sink.get('counter')) ?? '{}')
        expect(count, what).toBe(await numberOf(log, 'message:'))
        await log.close()
        await sink.close()
      }
      expect(states.length).toBeGreaterThan(200)
    },
  )

  it(
    'D52 shows a job outside at least once, and once to a receiver that knows its key',
    {
      timeout: TIMEOUT_MS,
    },
    async () => {
      const options = { ...KEPT, durability: 'os' } as const
      const notify = async (db: Db, outside: string[]) => {
        const consumer = await db.consumer('jobs')
        for await (const { position, ops } of consumer.read()) {
          for (const op of ops) if (op.type === 'put') outside.push(`${position} ${op.key}`)
          await consumer.ack(position)
        }
        await consumer.close()
      }
      const states = await crashStatesOf(SEED + 2, async (env, outside) => {
        const db = await openIn(env, '/store', options)
        await sendMessages(db, 0, 10)
        await db.sync()
        await notify(db, outside)
        await db.close()
      })
      let repeated = 0
      for (const { what, state, outside } of states) {
        const db = await openIn(memoryEnv({ fs: state.fs }), '/store', options)
        const received = [...outside]
        await notify(db, received)
        const messages = await numberOf(db, 'message:')
        expect(new Set(received).size, what).toBe(messages)
        if (received.length > messages) repeated++
        await db.close()
      }
      expect(repeated).toBeGreaterThan(0)
    },
  )

  it('keeps what was parked, and what a move of the place said', { timeout: TIMEOUT_MS }, async () => {
    const options = { ...KEPT, durability: 'disk' } as const
    const states = await crashStatesOf(SEED + 3, async (env, outside) => {
      const db = await openIn(env, '/store', options)
      await sendMessages(db, 0, 6)
      const consumer = await db.consumer('c')
      outside.push('made')
      await consumer.run(
        ({ position }) => {
          if (position === 3) throw new Error('bad')
        },
        { onError: 'park' },
      )
      outside.push('parked')
      await consumer.seek(2)
      outside.push('moved')
      await consumer.unpark(3)
      outside.push('unparked')
      await consumer.drop()
      outside.push('dropped')
      await db.close()
    })
    for (const { what, state, outside } of states) {
      const db = await openIn(memoryEnv({ fs: state.fs }), '/store', options)
      const [stats] = db.stats().consumers
      const last = outside.at(-1)
      if (last === 'made') expect(stats, what).toBeDefined()
      if (last === 'parked' || last === 'moved') expect(stats, what).toBeDefined()
      if (last === 'parked') expect([1, 1], what).toContain(stats!.parked)
      if (last === 'moved') expect(stats!.position, what).toBe(2)
      if (last === 'unparked' && stats) expect(stats.parked, what).toBe(0)
      if (last === 'dropped') expect(stats, what).toBeUndefined()
      await db.close()
    }
  })
})
