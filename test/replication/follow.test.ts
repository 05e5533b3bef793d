import { afterEach, describe, expect, it } from 'vitest'
import { compare } from '../../src/compare.js'
import { serveLog } from '../../src/replication.js'
import { codeOf, dump, failureOf, until } from '../store/helpers.js'
import { Closers, caughtUp, logOf, openLeader, openMemoryFollower } from './helpers.js'

const closers = new Closers()
afterEach(() => closers.close())

async function pair(options: Parameters<typeof openLeader>[0] = {}) {
  const leader = closers.add(await openLeader(options))
  const server = closers.add(await serveLog(leader, { heartbeatMs: 20 }))
  const follower = closers.add(await openMemoryFollower(server.url))
  return { leader, server, follower }
}

describe('a follower', () => {
  it('D13: takes the log of its leader, past and live, batch by batch at the same positions', async () => {
    const leader = closers.add(await openLeader({ log: { maxBytes: 1 << 30 } }))
    for (let i = 0; i < 300; i++) await leader.put(`k${i % 50}`, `v${i}`)
    const server = closers.add(await serveLog(leader))
    const follower = closers.add(await openMemoryFollower(server.url, { log: { maxBytes: 1 << 30 } }))
    await leader.batch([
      { type: 'put', key: 'a', value: '1' },
      { type: 'del', key: 'k1' },
    ])
    await leader.clear({ prefix: 'k2' })
    await caughtUp(follower, leader)
    expect(follower.position).toBe(leader.position)
    expect(await dump(follower)).toEqual(await dump(leader))
    expect(await logOf(follower)).toEqual(await logOf(leader))
  })

  it('D11: rejects writes, naming the leader; both answer reads', async () => {
    const { leader, server, follower } = await pair()
    const position = await leader.put('a', '1')
    const error = await failureOf(() => follower.put('a', '2'))
    expect(error?.code).toBe('VARVE_NOT_LEADER')
    expect(error?.leader).toBe(server.url)
    expect(await codeOf(() => follower.batch([{ type: 'del', key: 'a' }]))).toBe('VARVE_NOT_LEADER')
    expect(await codeOf(() => follower.clear())).toBe('VARVE_NOT_LEADER')
    expect(await codeOf(() => follower.del('a'))).toBe('VARVE_NOT_LEADER')
    expect(await follower.get('a', { atLeast: position, timeoutMs: 5000 })).toBe('1')
    expect(await leader.get('a')).toBe('1')
  })

  it('proves that it holds what its leader holds, by a digest that the leader sends', async () => {
    const { leader, follower } = await pair({ log: { maxBytes: 1 << 30 } })
    for (let i = 0; i < 120; i++) await leader.put(`k${i % 30}`, `${i}`)
    await caughtUp(follower, leader)
    const digest = await follower.leaderDigest()
    expect(digest.position).toBe(120)
    expect(await compare(follower, digest)).toBeUndefined()
    const [first, ...others] = digest.state
    const wrong = { ...digest, state: [{ ...first!, hash: 'f'.repeat(32) }, ...others] }
    expect(await compare(follower, wrong)).toMatchObject({ in: 'state', range: { upTo: first!.upTo } })
  })

  it('keeps views of its own, which follow it', async () => {
    const { leader, follower } = await pair()
    for (let i = 0; i < 20; i++) await leader.put(`k${i}`, `${i % 3}`)
    const { position } = leader
    await caughtUp(follower, leader)
    const view = await follower.view('count', {
      version: 1,
      from: 'start',
      apply: async ({ ops }, state) => {
        const count = Number((await state.get('ops')) ?? 0) + ops.length
        await state.put('ops', `${count}`)
      },
    })
    await leader.put('k20', '2')
    expect(await view.get('ops', { atLeast: position + 1, timeoutMs: 5000 })).toBe('21')
    expect(await follower.get('k19', { atLeast: position, timeoutMs: 5000 })).toBe('1')
  })

  it('D12: is stale while paused, says how far it is behind, and catches up', async () => {
    const { leader, follower } = await pair()
    await leader.put('a', '1')
    await caughtUp(follower, leader)
    follower.pause()
    await leader.put('a', '2')
    await leader.put('b', '3')
    await until(() => follower.lag === 2, 5000)
    expect(follower.lag).toBe(2)
    expect(await follower.getEntry('a')).toEqual({ value: '1', position: 1 })
    expect(await codeOf(() => follower.get('a', { atLeast: 3, timeoutMs: 30 }))).toBe('VARVE_TIMEOUT')
    follower.unpause()
    expect(await follower.get('a', { atLeast: 3, timeoutMs: 5000 })).toBe('2')
    expect(follower.lag).toBe(0)
  })
})
