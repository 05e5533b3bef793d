import { afterEach, describe, expect, it } from 'vitest'
import { type Database, open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { serveLog } from '../../src/replication.js'
import { codeOf, dump, TINY, until } from '../store/helpers.js'
import { Closers, caughtUp, FOLLOWER, openLeader, openMemoryFollower, TcpProxy } from './helpers.js'

const closers = new Closers()
afterEach(() => closers.close())

async function fill(leader: Database, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) await leader.put(`k${i % 150}`, `${i}`.padEnd(60, '.'))
}

/** A leader whose log does not reach back to its first position. */
async function trimmedLeader(options: OpenOptions = {}): Promise<Database> {
  const leader = closers.add(await openLeader(options))
  await fill(leader, 0, 400)
  await leader.flush()
  await until(() => leader.oldestPosition > 100)
  expect(leader.oldestPosition).toBeGreaterThan(100)
  return leader
}

describe("a follower whose position the leader's log no longer reaches", () => {
  it.each([
    ['', {}],
    [', values that stand apart included', { blobMinBytes: 50 }],
  ])('fetches a copy of the leader%s, and goes on after it', async (_, options) => {
    const leader = await trimmedLeader(options)
    expect(leader.stats().blobs.files > 0).toBe('blobMinBytes' in options)
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
    const env = memoryEnv({ seed: 2 })
    const follower = closers.add(await openMemoryFollower(server.url, {}, env))
    const bootstrapped: number[] = []
    follower.on('follower.bootstrapped', ({ position }) => bootstrapped.push(position))
    await fill(leader, 400, 50)
    await caughtUp(follower, leader)
    expect(bootstrapped).toHaveLength(1)
    expect(await dump(follower)).toEqual(await dump(leader))
    // What an entry's position is stays what it was.
    expect(await follower.getEntry('k7')).toEqual(await leader.getEntry('k7'))
    expect(await codeOf(() => follower.put('a', '1'))).toBe('VARVE_NOT_LEADER')
    await follower.verify()
    await until(() => !env.fs.stat(`${FOLLOWER}/copy.partial`))
    expect(env.fs.stat(`${FOLLOWER}/copy.partial`)).toBeUndefined()
  })

  it('was away too long: reads that wait get their answer across the change of stores', async () => {
    const leader = closers.add(await openLeader())
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20, retainMs: 0 }))
    const env = memoryEnv({ seed: 2 })
    const follower = closers.add(await openMemoryFollower(server.url, {}, env))
    await fill(leader, 0, 20)
    await caughtUp(follower, leader)
    const position = follower.position
    follower.pause()
    await until(() => server.followers.length === 0, 5000)
    await fill(leader, 20, 400)
    await leader.flush()
    await until(() => leader.oldestPosition > position + 1, 5000)
    expect(await codeOf(() => leader.changes({ after: position }))).toBe('VARVE_POSITION_LOST')
    const waiting = follower.get('k5', { atLeast: leader.position, timeoutMs: 20_000 })
    follower.unpause()
    expect(await waiting).toBe(await leader.get('k5'))
    expect(await dump(follower)).toEqual(await dump(leader))
  })

  it('holds a follower that is away in the log, up to the cap on pins', async () => {
    const leader = closers.add(await openLeader({ log: { pinnedMaxBytes: 30_000 } }))
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
    const follower = closers.add(await openMemoryFollower(server.url))
    await fill(leader, 0, 20)
    await caughtUp(follower, leader)
    await until(() => server.followers[0]?.position === 20, 5000)
    follower.pause()
    await until(() => server.followers[0]?.connected === false, 5000)
    await fill(leader, 20, 150)
    await leader.flush()
    expect(leader.oldestPosition).toBeLessThanOrEqual(21)
    await fill(leader, 170, 1000)
    await leader.flush()
    await until(() => leader.oldestPosition > 21, 5000)
    expect(leader.oldestPosition).toBeGreaterThan(21)
  })

  it('fetches only what is missing after a cut', async () => {
    const leader = await trimmedLeader()
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
    const proxy = closers.add(await TcpProxy.start(server.url))
    proxy.cutAfter = () => 2500
    const follower = closers.add(await openMemoryFollower(proxy.url))
    await until(() => proxy.cuts >= 6, 10_000)
    expect(proxy.cuts).toBeGreaterThanOrEqual(6)
    proxy.cutAfter = () => Number.POSITIVE_INFINITY
    await caughtUp(follower, leader)
    expect(await dump(follower)).toEqual(await dump(leader))
  })

  it('refuses a copy whose bytes are not what was declared', async () => {
    const leader = await trimmedLeader()
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
    const proxy = closers.add(await TcpProxy.start(server.url))
    // The first bytes of a segment's block are garbled, its length stays.
    proxy.garble = (bytes) => {
      const at = bytes.indexOf('content-length: ')
      if (at >= 0 && bytes.length > 1500) bytes[bytes.length - 700]! ^= 1
      return bytes
    }
    const env = memoryEnv({ seed: 2 })
    const follower = closers.add(await openMemoryFollower(proxy.url, {}, env))
    await until(() => follower.failure !== undefined, 10_000)
    expect(follower.failure?.code).toBe('VARVE_CORRUPTION')
    expect(follower.position).toBe(0)
    proxy.garble = (bytes) => bytes
    await caughtUp(follower, leader, 20_000)
    expect(await dump(follower)).toEqual(await dump(leader))
  })
})

describe('a crash while a copy takes the place of a follower', () => {
  it('at any step leaves what it had, or the copy; then it goes on', { timeout: 60_000 }, async () => {
    const leader = closers.add(await openLeader({ blobMinBytes: 50 }))
    await fill(leader, 0, 20)
    const env = memoryEnv({ seed: 2 })
    const first = await serveLog(leader, { retainMs: 0 })
    const before = await openMemoryFollower(first.url, {}, env)
    await caughtUp(before, leader)
    const old = await dump(before)
    await before.close()
    await first.close()
    await fill(leader, 20, 200)
    await leader.flush()
    await until(() => leader.oldestPosition > 21)
    const copied = await dump(leader)
    const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
    const states: MemoryFileSystem[] = []
    env.fs.onStep = () => {
      for (const { fs } of env.fs.crashStates()) states.push(fs)
    }
    const follower = await openMemoryFollower(server.url, {}, env)
    await caughtUp(follower, leader)
    env.fs.onStep = undefined
    await follower.close()
    expect(states.length).toBeGreaterThan(100)
    let copies = 0
    for (const [i, fs] of states.entries()) {
      const crashed = memoryEnv({ seed: i, fs })
      const db = await open(FOLLOWER, { ...TINY, env: crashed } as OpenOptions)
      const found = await dump(db)
      const isCopy = db.position > 20
      if (isCopy) copies++
      expect(found).toEqual(isCopy ? copied : old)
      await db.close()
      if (i % 40 !== 0) continue
      const again = await openMemoryFollower(server.url, {}, crashed)
      await caughtUp(again, leader)
      expect(await dump(again)).toEqual(copied)
      await again.close()
    }
    expect(copies).toBeGreaterThan(0)
    expect(copies).toBeLessThan(states.length)
  })
})
