import { afterEach, describe, expect, it } from 'vitest'
import { type Database, open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { type LogServer, serveLog } from '../../src/replication.js'
import { codeOf, dump, failureOf, TINY } from '../store/helpers.js'
import {
  Closers,
  caughtUp,
  FOLLOWER,
  LEADER,
  logOf,
  openLeader,
  openMemoryFollower,
  TcpProxy,
} from './helpers.js'

const closers = new Closers()
afterEach(() => closers.close())

const KEEP = { log: { maxBytes: 1 << 30 } }
const serve = async (db: Database): Promise<LogServer> => closers.add(await serveLog(db, { heartbeatMs: 20 }))

describe('failing over', () => {
  it('D18: what was waited for on followers is there after the leader died; others go on with the new one', async () => {
    const leader = await openLeader(KEEP)
    const server = await serveLog(leader)
    const first = closers.add(await openMemoryFollower(server.url, KEEP))
    const secondEnv = memoryEnv({ seed: 3 })
    const second = await openMemoryFollower(server.url, KEEP, secondEnv)
    const acknowledged: string[] = []
    for (let i = 0; i < 50; i++) {
      const position = await leader.put(`k${i}`, `v${i}`)
      await server.waitFor(position, { followers: 2, timeoutMs: 5000 })
      acknowledged.push(`k${i}`)
    }
    await server.close()
    await leader.close()
    await first.promote()
    expect(first.leader).toBeUndefined()
    expect(first.lag).toBe(0)
    for (const key of acknowledged) expect(await first.get(key)).toBe(`v${key.slice(1)}`)
    const position = await first.put('after', '1')
    await second.close()
    const next = await serve(first)
    const repointed = closers.add(await openMemoryFollower(next.url, KEEP, secondEnv))
    expect(await repointed.get('after', { atLeast: position, timeoutMs: 5000 })).toBe('1')
    expect(await logOf(repointed)).toEqual(await logOf(first))
    expect(await dump(repointed)).toEqual(await dump(first))
  })

  it('a leader tells who follows, and a wait for followers ends with a timeout, a signal or the server', async () => {
    const leader = closers.add(await openLeader())
    const server = await serveLog(leader)
    const position = await leader.put('a', '1')
    expect(await codeOf(() => server.waitFor(position, { timeoutMs: 20 }))).toBe('VARVE_TIMEOUT')
    const controller = new AbortController()
    const { signal } = controller
    const ended = codeOf(() => server.waitFor(position, { signal, timeoutMs: 60_000 }))
    controller.abort()
    expect(await ended).toBe('VARVE_ABORTED')
    expect(await codeOf(() => server.waitFor(position, { signal }))).toBe('VARVE_ABORTED')
    const pending = codeOf(() => server.waitFor(position))
    await server.close()
    expect(await pending).toBe('VARVE_CLOSED')
    expect(await codeOf(() => server.waitFor(-1))).toBe('VARVE_INVALID_ARGUMENT')
  })

  it('D19: an isolated leader is fenced by the new epoch, and learns where its log parts', async () => {
    const oldEnv = memoryEnv()
    const old = await openLeader(KEEP, oldEnv)
    const oldServer = await serve(old)
    const proxy = closers.add(await TcpProxy.start(oldServer.url))
    const follower = closers.add(await openMemoryFollower(proxy.url, KEEP))
    for (let i = 0; i < 10; i++) await old.put(`k${i}`, '1')
    await caughtUp(follower, old)
    // Cut off from each other: both write.
    proxy.isDown = true
    proxy.cutAll()
    await follower.promote()
    await follower.put('new', '1')
    for (let i = 0; i < 5; i++) await old.put(`lost${i}`, '1')
    const server = await serve(follower)
    // A follower of the new epoch that still knows the old address refuses it, and so tells it.
    const other = memoryEnv({ seed: 9 })
    const third = await openMemoryFollower(server.url, KEEP, other)
    await caughtUp(third, follower)
    await third.close()
    expect(await codeOf(() => openMemoryFollower(oldServer.url, KEEP, other))).toBe('VARVE_FENCED')
    expect(await codeOf(() => old.put('late', '1'))).toBe('VARVE_FENCED')
    await old.close()
    // It stays fenced when it is opened again.
    const again = await open(LEADER, { ...TINY, ...KEEP, env: oldEnv } as OpenOptions)
    expect(await codeOf(() => again.put('late', '1'))).toBe('VARVE_FENCED')
    expect(await again.get('lost1')).toBe('1')
    await again.close()
    const rejoined = await failureOf(() => openMemoryFollower(server.url, KEEP, oldEnv, LEADER))
    expect(rejoined?.code).toBe('VARVE_DIVERGED')
    expect(rejoined?.position).toBe(11)
  })

  it('promoting tells the old leader where it can be reached: it refuses writes at once', async () => {
    const old = closers.add(await openLeader())
    const server = await serve(old)
    const follower = closers.add(await openMemoryFollower(server.url))
    await old.put('a', '1')
    await caughtUp(follower, old)
    await follower.promote()
    expect(await codeOf(() => old.put('a', '2'))).toBe('VARVE_FENCED')
    expect(await follower.put('a', '3')).toBe(3)
    // Behind the new epoch and fenced, it comes back as a follower without losing anything.
    const next = await serve(follower)
    expect(old.position).toBe(1)
    expect(next.followers).toEqual([])
  })

  it('logs of one epoch that differ are found by checksum, with the first position that differs', async () => {
    const leaderEnv = memoryEnv()
    const leader = await openLeader(KEEP, leaderEnv)
    for (let i = 0; i < 20; i++) await leader.put(`k${i}`, '1')
    const copy = memoryEnv({ seed: 5, fs: leaderEnv.fs.clone() })
    for (let i = 0; i < 30; i++) await leader.put(`k${i}`, '2')
    const server = await serve(leader)
    closers.add(leader)
    // A copy of its files that went on by itself: the same store, the same epoch, another history from 21 on.
    const other = await open(LEADER, { ...TINY, ...KEEP, env: copy } as OpenOptions)
    for (let i = 0; i < 25; i++) await other.put(`k${i}`, 'other')
    await other.close()
    const diverged = await failureOf(() => openMemoryFollower(server.url, KEEP, copy, LEADER))
    expect(diverged?.code).toBe('VARVE_DIVERGED')
    expect(diverged?.position).toBe(21)
    expect(copy.fs.list('/')).toEqual(['leader'])

    const rebuilding = { ...KEEP, onDiverged: 'rebuild' } as const
    const rebuilt = closers.add(await openMemoryFollower(server.url, rebuilding, copy, LEADER))
    await caughtUp(rebuilt, leader)
    expect(await dump(rebuilt)).toEqual(await dump(leader))
    expect(copy.fs.list('/')).toEqual(['leader', 'leader.diverged-21'])
    const aside = await open('/leader.diverged-21', { ...TINY, env: copy, readOnly: true } as OpenOptions)
    expect(await aside.get('k3')).toBe('other')
    await aside.close()
  })

  it('another store under the same address is refused, whatever is done about divergence', async () => {
    const leader = closers.add(await openLeader())
    await leader.put('a', '1')
    const server = await serve(leader)
    const env = memoryEnv({ seed: 7 })
    const stranger = await open(FOLLOWER, { ...TINY, env } as OpenOptions)
    await stranger.put('b', '1')
    await stranger.close()
    const error = await failureOf(() => openMemoryFollower(server.url, { onDiverged: 'rebuild' }, env))
    expect(error?.code).toBe('VARVE_DIVERGED')
    expect(error?.position).toBe(1)
    // It is as writable as before.
    const same = await open(FOLLOWER, { ...TINY, env } as OpenOptions)
    await same.put('c', '1')
    await same.close()
  })

  it('a follower that lost its leader at opening answers reads and finds it later', async () => {
    const leader = closers.add(await openLeader())
    await leader.put('a', '1')
    const server = await serveLog(leader)
    const env = memoryEnv({ seed: 2 })
    const follower = await openMemoryFollower(server.url, {}, env)
    await caughtUp(follower, leader)
    await follower.close()
    const port = Number(new URL(server.url).port)
    await server.close()
    const reopened = closers.add(await openMemoryFollower(server.url, {}, env))
    expect(reopened.connected).toBe(false)
    expect(reopened.failure?.code).toBe('VARVE_IO')
    expect(await reopened.get('a')).toBe('1')
    expect(await codeOf(() => reopened.put('a', '2'))).toBe('VARVE_NOT_LEADER')
    closers.add(await serveLog(leader, { port }))
    await leader.put('a', '3')
    expect(await reopened.get('a', { atLeast: 2, timeoutMs: 10_000 })).toBe('3')
    expect(reopened.connected).toBe(true)
  })

  it('a follower opened as a store of its own refuses writes until it is promoted', async () => {
    const leader = closers.add(await openLeader())
    await leader.put('a', '1')
    const server = await serve(leader)
    const env = memoryEnv({ seed: 2 })
    const follower = await openMemoryFollower(server.url, {}, env)
    await caughtUp(follower, leader)
    await follower.close()
    const plain = await open(FOLLOWER, { ...TINY, env } as OpenOptions)
    expect(await codeOf(() => plain.put('b', '1'))).toBe('VARVE_NOT_LEADER')
    await plain.close()
    const promoted = await openMemoryFollower(server.url, {}, env)
    await promoted.promote()
    await promoted.promote()
    expect(await promoted.put('b', '1')).toBe(3)
    await promoted.close()
    const leads = await open(FOLLOWER, { ...TINY, env } as OpenOptions)
    expect(await leads.put('c', '1')).toBe(4)
    await leads.close()
  })
})

describe('a crash while a follower is promoted', () => {
  it('at any step leaves a follower or a leader, with all that it had', async () => {
    const leader = closers.add(await openLeader())
    for (let i = 0; i < 5; i++) await leader.put(`k${i}`, '1')
    const server = await serve(leader)
    const env = memoryEnv({ seed: 2 })
    const states: { fs: MemoryFileSystem; isDone: boolean }[] = []
    let isPromoting = false
    let isDone = false
    const options = { durability: 'disk' } as const
    const follower = await openMemoryFollower(server.url, options, env)
    await caughtUp(follower, leader)
    await follower.sync()
    env.fs.onStep = () => {
      if (!isPromoting) return
      for (const { fs } of env.fs.crashStates()) states.push({ fs, isDone })
    }
    isPromoting = true
    await follower.promote()
    isDone = true
    await follower.put('mine', '1')
    isPromoting = false
    await follower.close()
    expect(states.length).toBeGreaterThan(10)
    let leaders = 0
    for (const [i, state] of states.entries()) {
      const db = await open(FOLLOWER, { ...TINY, env: memoryEnv({ seed: i, fs: state.fs }) } as OpenOptions)
      expect((await dump(db)).k4).toBe('1')
      const code = await codeOf(() => db.put('x', '1'))
      expect(code === undefined || code === 'VARVE_NOT_LEADER').toBe(true)
      // What takes writes has its new epoch, whatever was lost.
      if (code === undefined) expect(db.position).toBeGreaterThanOrEqual(7)
      if (code === undefined) leaders++
      if (state.isDone) expect(code).toBeUndefined()
      await db.close()
    }
    expect(leaders).toBeGreaterThan(0)
    expect(leaders).toBeLessThan(states.length)
  })
})
