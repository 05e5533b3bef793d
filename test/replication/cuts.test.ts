import { afterEach, describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { serveLog } from '../../src/replication.js'
import { dump } from '../store/helpers.js'
import { Closers, caughtUp, logOf, openLeader, openMemoryFollower, TcpProxy } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const FOLLOWERS = 8
const CUTS = 510

const closers = new Closers()
afterEach(() => closers.close())

describe(`a connection that is cut at random bytes (seed ${SEED})`, () => {
  it(
    `D15: ${CUTS} times: every position is applied exactly once, in order`,
    { timeout: 120_000 },
    async () => {
      const random = new SeededRandom(SEED)
      const keepAll = { log: { maxBytes: 1 << 30 } }
      const leader = closers.add(await openLeader({ ...keepAll, memtableBytes: 16 * 1024 }))
      const server = closers.add(await serveLog(leader, { heartbeatMs: 50 }))
      const proxy = closers.add(await TcpProxy.start(server.url))
      // Within an answer's head, within the handshake, within a frame, and now and then after a whole stretch.
      proxy.cutAfter = () => random.below(random.below(4) === 0 ? 700 : 3000)
      const followers = await Promise.all(
        Array.from({ length: FOLLOWERS }, (_, i) =>
          openMemoryFollower(proxy.url, { ...keepAll, memtableBytes: 4096 }, memoryEnv({ seed: SEED + i })),
        ),
      )
      for (const follower of followers) closers.add(follower)
      const seen = followers.map(() => [] as number[])
      for (const [i, follower] of followers.entries()) {
        follower.on('follower.connected', ({ position }) => seen[i]!.push(position))
      }
      for (let i = 0; proxy.cuts < CUTS; i++) {
        const value = 'x'.repeat(random.below(400))
        if (i % 7 === 0)
          await leader.batch([
            { type: 'put', key: `a${i % 10}`, value },
            { type: 'del', key: `b${i}` },
          ])
        else if (i % 50 === 3) await leader.clear({ prefix: `k${i % 10}` })
        else await leader.put(`k${random.below(200)}`, value)
        if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      proxy.cutAfter = () => Number.POSITIVE_INFINITY
      const log = await logOf(leader)
      const data = await dump(leader)
      for (const [i, follower] of followers.entries()) {
        await caughtUp(follower, leader, 60_000)
        expect(await logOf(follower)).toEqual(log)
        expect(await dump(follower)).toEqual(data)
        // It went on where it stood, never before.
        expect(seen[i]).toEqual([...seen[i]!].sort((a, b) => a - b))
      }
      expect(proxy.cuts).toBeGreaterThanOrEqual(CUTS)
    },
  )
})
