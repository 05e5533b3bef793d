import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Change, OpenOptions } from '../../src/index.js'
import { type CrashLeft, type CrashRun, everyCrashPoint } from '../../src/testing.js'
import { codeOf, openMemory, STORE, TINY, watched } from './helpers.js'

const COUNT = 1000

function opened<V>(valueEncoding: OpenOptions<string, V>['valueEncoding'], env = memoryEnv()) {
  return open<string, V>(STORE, { ...TINY, valueEncoding, env } as never)
}

describe('updates', () => {
  it('1,000 increments of one key from 1,000 chains, none awaited, give exactly 1,000, each its own number', async () => {
    const { db } = await openMemory(TINY)
    const results = await Promise.all(
      Array.from({ length: COUNT }, async (_, i) => {
        if (i % 3 === 0) await null
        if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
        return db.increment('n')
      }),
    )
    expect(await db.get('n')).toBe(String(COUNT))
    expect(results.map(({ value }) => value).sort((a, b) => a - b)).toEqual(
      Array.from({ length: COUNT }, (_, i) => i + 1),
    )
    // In the order of positions the numbers ascend.
    const ordered = [...results].sort((a, b) => a.position - b.position)
    expect(ordered.every(({ value }, i) => value === i + 1)).toBe(true)
    await db.close()
  })

  it('updates of many keys in one turn share one write and one sync', async () => {
    const watch = watched(memoryEnv())
    const db = await open(STORE, { durability: 'disk', env: watch.env } as OpenOptions)
    watch.calls.length = 0
    await Promise.all(Array.from({ length: 300 }, (_, i) => db.increment(`n${i % 10}`)))
    expect(watch.calls.filter((call) => call.startsWith('write')).length).toBeLessThanOrEqual(2)
    expect(watch.calls.filter((call) => call.startsWith('sync')).length).toBeLessThanOrEqual(2)
    expect(await db.getMany(['n0', 'n9'])).toEqual(['30', '30'])
    await db.close()
  })

  it('commits in call order among other writes, and sees them all', async () => {
    const { db } = await openMemory(TINY)
    const other = db.withEncodings<Buffer, Buffer>({ keyEncoding: 'buffer', valueEncoding: 'buffer' })
    const append = (text: string) => (old: string | undefined) => (old ?? '') + text
    void db.put('k', 'a')
    void db.update('k', append('b'))
    void db.update('k', append('c'))
    void other.put(Buffer.from('k'), Buffer.from('d'))
    void db.update('k', append('e'))
    void other.update(Buffer.from('k'), (old) => Buffer.concat([old!, Buffer.from('f')]))
    void db.batch([{ type: 'put', key: 'j', value: '1' }])
    void db.update('k', append('g'))
    void db.update('j', append('2'))
    void db.clear({ prefix: 'j' })
    void db.update('j', append('3'))
    await db.update('gone', () => undefined)
    await db.sync()
    expect(await db.getMany(['k', 'j', 'gone'])).toEqual(['defg', '3', undefined])
    await db.close()
  })

  it('a group that a full log file cuts in two loses nothing', async () => {
    const { db } = await openMemory(TINY)
    const long = 'x'.repeat(300)
    await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        db.update('k', (old) => `${(old ?? '').slice(0, 900)}${i},${long}`),
      ),
    )
    let expected = ''
    for (let i = 0; i < 60; i++) expected = `${expected.slice(0, 900)}${i},${long}`
    expect(await db.get('k')).toBe(expected)
    await db.flush()
    expect((await db.update('k', (old) => old?.slice(0, 3))).value).toBe(expected.slice(0, 3))
    expect((await db.update('k', () => undefined)).value).toBeUndefined()
    expect(await db.has('k')).toBe(false)
    await db.close()
  })

  it('the log holds what came out: a feed shows puts and dels, and needs no function', async () => {
    const { db } = await openMemory()
    await db.increment('n', 5)
    await db.increment('n', -2.5)
    await db.update('n', () => undefined)
    const seen: Change<string, string>[] = []
    for await (const change of db.changes({ after: 0 })) seen.push(change)
    expect(seen.map(({ position, ops }) => [position, ops])).toEqual([
      [1, [{ type: 'put', key: 'n', value: '5' }]],
      [2, [{ type: 'put', key: 'n', value: '2.5' }]],
      [3, [{ type: 'del', key: 'n' }]],
    ])
    await db.close()
  })

  it('a counter is text, bytes or a number, as the encoding has it, and the same bytes in each', async () => {
    const db = await opened<string>('utf8')
    const asJson = db.withEncodings<string, number>({ valueEncoding: 'json' })
    const asBytes = db.withEncodings<string, Buffer>({ valueEncoding: 'buffer' })
    expect((await db.increment('n', 7)).value).toBe(7)
    expect((await asJson.increment('n')).value).toBe(8)
    expect((await asBytes.increment('n', -1000)).value).toBe(-992)
    expect([await db.get('n'), await asJson.get('n'), (await asBytes.get('n'))?.toString()]).toEqual([
      '-992',
      -992,
      '-992',
    ])
    await asJson.put('max', Number.MAX_SAFE_INTEGER)
    expect(await codeOf(() => db.increment('max'))).toBe('VARVE_LIMIT')
    expect(await asJson.get('max')).toBe(Number.MAX_SAFE_INTEGER)
    await db.close()
  })

  it('refuses what is wrong with the call, and writes nothing then', async () => {
    const { db } = await openMemory()
    await db.put('text', 'seven')
    const { position } = db
    const boom = new Error('boom')
    const thrown = db.update('text', () => {
      throw boom
    })
    await expect(thrown).rejects.toBe(boom)
    const wrong = [
      () => db.increment('text'),
      () => db.increment('n', Number.NaN),
      () => db.increment('n', '1' as never),
      () => db.update('n', 'no function' as never),
      () => db.update('n', (async () => 'x') as never),
      () => db.update('n', () => 5 as never),
      () => db.update(5 as never, () => 'x'),
    ]
    for (const call of wrong) expect(await codeOf(call)).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => db.increment('text', 1, { ifPosition: null }))).toBe('VARVE_CONFLICT')
    expect(db.position).toBe(position)
    const nested = db.update('text', () => {
      void db.put('text', 'nested')
      return 'outer'
    })
    expect(await codeOf(() => nested)).toBe('VARVE_INVALID_ARGUMENT')
    await db.sync()
    expect(await db.get('text')).toBe('nested')
    await db.close()
    expect(await codeOf(() => db.increment('n'))).toBe('VARVE_CLOSED')
  })

  it('wherever it crashes, the counter is what was acknowledged, or more only by what was on its way', async () => {
    const issued = 40
    const report = await everyCrashPoint({
      run: async ({ env, note }: CrashRun) => {
        const db = await open(STORE, { ...TINY, durability: 'disk', env } as OpenOptions)
        for (let round = 0; round < issued / 8; round++) {
          const calls = Array.from({ length: 8 }, () => db.increment('n').then(() => note('acknowledged')))
          await Promise.all(calls)
          if (round === 2) await db.flush()
        }
        await db.close()
      },
      check: async ({ env, facts }: CrashLeft) => {
        const db = await open(STORE, { ...TINY, env } as OpenOptions)
        const count = Number((await db.get('n')) ?? 0)
        expect(count).toBe(db.position)
        await db.close()
        expect(count).toBeGreaterThanOrEqual(facts.length)
        expect(count).toBeLessThanOrEqual(Math.min(issued, facts.length + 8))
      },
      policies: ['strict', 'prefix'],
    })
    expect(report.points).toBeGreaterThan(20)
  })
})
