import { describe, expect, it } from 'vitest'
import { codeOf, openMemory, recovered, TINY } from '../store/helpers.js'

/** A store that a failed write has stopped, on a disk that is well again. */
async function stopped() {
  const opened = await openMemory({ ...TINY, durability: 'disk' })
  await opened.db.put('kept', '1')
  opened.env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'ENOSPC' } })
  expect(await codeOf(() => opened.db.put('refused', '1'))).toBe('VARVE_NO_SPACE')
  return opened
}

describe('resume', () => {
  /** Was: every call but the first found the lock taken by the first. */
  it('called several times at once is one, and each call waits for it', async () => {
    const { db, env } = await stopped()
    const other = db.withEncodings({ valueEncoding: 'buffer' })
    const calls = [db.resume(), other.resume()]
    await null
    calls.push(db.resume(), other.withEncodings({}).resume())
    await Promise.all(calls)
    await db.put('after', '1')
    await db.close()
    expect(env.fs.openHandles()).toEqual([])
    expect(await recovered(env.fs)).toMatchObject({ kept: '1', after: '1' })
  })

  it('tells each of several calls why the store is still stopped', async () => {
    const { db, env } = await stopped()
    env.fs.setCapacity(0)
    const codes = await Promise.all([1, 2, 3].map(() => codeOf(() => db.resume())))
    expect(codes).toEqual(['VARVE_NO_SPACE', 'VARVE_NO_SPACE', 'VARVE_NO_SPACE'])
    env.fs.setCapacity(Number.POSITIVE_INFINITY)
    await db.resume()
    expect(await db.get('kept')).toBe('1')
    await db.close()
  })

  /** Was: the store that was being opened stayed open for good, with its lock, though `close` had resolved. */
  it('and close at once leave a closed store, whichever is called first', async () => {
    const outcomes = new Set<string | undefined>()
    for (let turns = -1; turns < 12; turns++) {
      const { db, env } = await stopped()
      let closing: Promise<string | undefined> | undefined
      if (turns < 0) closing = codeOf(() => db.close())
      const resuming = codeOf(() => db.resume())
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      closing ??= codeOf(() => db.withEncodings({}).close())
      expect([undefined, 'VARVE_NO_SPACE']).toContain(await closing)
      outcomes.add(await resuming)
      expect([turns, env.fs.openHandles()]).toEqual([turns, []])
      expect(await codeOf(() => db.put('late', '1'))).toBe('VARVE_CLOSED')
      expect(await recovered(env.fs)).toMatchObject({ kept: '1' })
    }
    expect(outcomes).toEqual(new Set([undefined, 'VARVE_CLOSED']))
  })
})
