import { afterEach, describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { Change, Database } from '../../src/index.js'
import { serveLog } from '../../src/replication.js'
import { codeOf, dump, until } from '../store/helpers.js'
import { Closers, caughtUp, logOf, openLeader, openMemoryFollower, TcpProxy } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEEP = { log: { maxBytes: 1 << 30 } }
const closers = new Closers()
afterEach(() => closers.close())

/** What a store holds once these changes were made. */
function fold(changes: readonly Change<string, string>[], upTo: number): Record<string, string> {
  const state = new Map<string, string>()
  for (const { position, ops } of changes) {
    if (position > upTo) break
    for (const op of ops) {
      if (op.type === 'put') state.set(op.key, op.value)
      else if (op.type === 'del') state.delete(op.key)
      else for (const key of state.keys()) if (key.startsWith(op.range.prefix ?? '')) state.delete(key)
    }
  }
  return Object.fromEntries([...state].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function changesOf(db: Database): Promise<Change<string, string>[]> {
  const changes: Change<string, string>[] = []
  for await (const change of db.changes({ after: 0 })) changes.push(change)
  return changes
}

describe(`what a follower holds (seed ${SEED})`, () => {
  it('D14, D17: at any position is what the log up to there makes, under 100 clients on the same keys', async () => {
    const leader = closers.add(await openLeader({ ...KEEP, memtableBytes: 32 * 1024 }))
    const server = closers.add(await serveLog(leader))
    const proxy = closers.add(await TcpProxy.start(server.url))
    const random = new SeededRandom(SEED)
    proxy.cutAfter = () => 4000 + random.below(60_000)
    const follower = closers.add(await openMemoryFollower(proxy.url, { ...KEEP, memtableBytes: 16 * 1024 }))
    const samples: { position: number; state: Record<string, string> }[] = []
    const sample = async () => {
      const snapshot = follower.snapshot()
      const state = Object.fromEntries(await follower.entries({ snapshot }).all())
      samples.push({ position: snapshot.position, state })
      snapshot.close()
    }
    const write = async (id: number, round: number) => {
      const key = `k${random.below(40)}`
      if (random.below(20) === 0) return leader.clear({ prefix: `k${random.below(4)}` })
      if (random.below(5) === 0) return leader.del(key)
      const ops = [key, `p${key}`].map(
        (name) => ({ type: 'put', key: name, value: `${id}.${round}` }) as const,
      )
      return leader.batch(ops)
    }
    for (let round = 0; round < 30; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, id) => write(id, round)))
      if (round % 2 === 0) await caughtUp(follower, leader, 20_000)
      await sample()
    }
    await caughtUp(follower, leader, 20_000)
    const changes = await changesOf(leader)
    expect(await changesOf(follower)).toEqual(changes)
    expect(new Set(samples.map(({ position }) => position)).size).toBeGreaterThan(14)
    for (const { position, state } of samples) expect(state).toEqual(fold(changes, position))
    expect(await dump(follower)).toEqual(fold(changes, leader.position))
  })

  it('D16: a disk that is full in the middle of a batch leaves all of it or none, and resume() goes on', async () => {
    const leader = closers.add(await openLeader(KEEP))
    const server = closers.add(await serveLog(leader))
    const random = new SeededRandom(SEED + 1)
    for (let round = 0; round < 8; round++) {
      const env = memoryEnv({ seed: SEED + round })
      const follower = await openMemoryFollower(server.url, KEEP, env)
      await caughtUp(follower, leader)
      const before = await dump(follower)
      env.fs.inject({
        op: 'write',
        path: /\.log$/,
        effect: { shortBytes: random.below(400) },
        repeat: 'once',
      })
      env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'ENOSPC' }, repeat: 'forever' })
      await leader.batch([
        { type: 'put', key: 'first', value: `${round}`.padEnd(200, 'a') },
        { type: 'put', key: 'second', value: `${round}`.padEnd(200, 'b') },
      ])
      await until(() => follower.failure !== undefined, 5000)
      expect(follower.failure?.code).toBe('VARVE_NO_SPACE')
      expect(await dump(follower)).toEqual(before)
      // What a killed process leaves shows no half of it either.
      const killed = memoryEnv({ seed: 1, fs: env.fs.clone() })
      await until(() => !follower.connected)
      env.fs.clearFaults()
      if (round % 2 === 0) {
        await follower.resume()
        await caughtUp(follower, leader)
        expect(await dump(follower)).toEqual(await dump(leader))
        await follower.close()
      } else {
        await follower.close().catch(() => {})
        killed.fs.clearFaults()
        const reopened = await openMemoryFollower(
          server.url,
          KEEP,
          memoryEnv({ seed: 1, fs: env.fs.clone() }),
        )
        await caughtUp(reopened, leader)
        expect(await logOf(reopened)).toEqual(await logOf(leader))
        await reopened.close()
      }
    }
  })

  it('a power loss takes at most what was not durable; it goes on from there', async () => {
    const leader = closers.add(await openLeader(KEEP))
    const server = closers.add(await serveLog(leader))
    let env = memoryEnv({ seed: SEED })
    for (let round = 0; round < 10; round++) {
      const durability = round % 2 ? 'disk' : 'os'
      const follower = await openMemoryFollower(server.url, { ...KEEP, durability }, env)
      for (let i = 0; i < 20; i++) await leader.put(`k${i}`, `${round}`)
      await caughtUp(follower, leader)
      await until(() => durability === 'os' || follower.durablePosition === leader.position)
      const { durablePosition } = follower
      const crashed = env.fs.crash((['strict', 'prefix', 'garbage-tail'] as const)[round % 3]!, round)
      await follower.close()
      env = memoryEnv({ seed: SEED + round, fs: crashed })
      const again = await openMemoryFollower(server.url, KEEP, env)
      expect(again.position).toBeGreaterThanOrEqual(durability === 'disk' ? durablePosition : 0)
      await caughtUp(again, leader)
      expect(await logOf(again)).toEqual(await logOf(leader))
      await again.close()
    }
  })

  it('a wait for a position ends with its time, or with the store', async () => {
    const leader = closers.add(await openLeader())
    const server = closers.add(await serveLog(leader))
    const follower = await openMemoryFollower(server.url)
    expect(await codeOf(() => follower.get('a', { atLeast: 5, timeoutMs: 20 }))).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => follower.getSync('a', { atLeast: 5 }))).toBe('VARVE_TIMEOUT')
    const waiting = codeOf(() => follower.get('a', { atLeast: 5 }))
    await follower.close()
    expect(await waiting).toBe('VARVE_CLOSED')
    expect(await codeOf(() => follower.promote())).toBe('VARVE_CLOSED')
  })
})
