import { afterEach, describe, expect, it } from 'vitest'
import { serveLog } from '../../src/replication.js'
import { ManualClock } from '../store/manual-clock.js'
import { Closers, caughtUp, logOf, openLeader, openMemoryFollower } from './helpers.js'

const closers = new Closers()
afterEach(() => closers.close())

const KEEP = { log: { maxBytes: 1 << 30 } }
const SECOND = 1000

describe('entries that expire, on a follower', () => {
  it("go with the leader's dels alone; once promoted, it deletes what is due itself", async () => {
    const leaderClock = new ManualClock()
    const followerClock = new ManualClock(leaderClock.nowMs)
    const leader = await openLeader(KEEP, leaderClock.env())
    const server = await serveLog(leader, { heartbeatMs: 20 })
    const followerEnv = followerClock.env()
    const follower = closers.add(await openMemoryFollower(server.url, KEEP, followerEnv))
    await leader.put('first', '1', { ttlMs: 10 * SECOND })
    await leader.put('second', '1', { ttlMs: 20 * SECOND })
    await leader.put('kept', '1')
    await caughtUp(follower, leader)
    expect(await follower.getEntry('first')).toEqual(await leader.getEntry('first'))
    // However late it is for the follower, it is the leader's clock that counts.
    await followerClock.pass(15 * SECOND)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(await follower.get('first')).toBe('1')
    await leaderClock.pass(10 * SECOND)
    await expect.poll(() => leader.has('first'), { interval: 2 }).toBe(false)
    await caughtUp(follower, leader)
    expect(await follower.has('first')).toBe(false)
    expect(await logOf(follower)).toEqual(await logOf(leader))
    await server.close()
    await leader.close()
    await followerClock.pass(15 * SECOND)
    expect(await follower.get('second')).toBe('1')
    const before = follower.position
    await follower.promote()
    await followerClock.pass(0)
    await expect.poll(() => follower.has('second'), { interval: 2 }).toBe(false)
    expect(await follower.keys().all()).toEqual(['kept'])
    const after = await logOf(follower, before)
    expect(after.map((change) => (JSON.parse(change) as { ops: unknown }).ops)).toEqual([
      [],
      [{ type: 'del', key: 'second' }],
    ])
  })
})
