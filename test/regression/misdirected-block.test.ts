import { describe, expect, it } from 'vitest'
import type { OpenOptions } from '../../src/store/contract.js'
import { failureOf, openMemory, pad, TINY } from '../store/helpers.js'

const SHIFT_MAX = 100
const KEYS = 4 * SHIFT_MAX

describe('a block that is read from the place of another', () => {
  it.each([
    'lz4',
    'none',
  ] as const)('is an error, though its bytes are right: no key goes missing with it (%s)', async (compression) => {
    const options: OpenOptions = {
      ...TINY,
      compression,
      blockBytes: 1,
      memtableBytes: 2 ** 20,
      segmentBytes: 2 ** 20,
    }
    const { db, env } = await openMemory(options)
    for (let i = 0; i < KEYS; i++) await db.put(pad(i), 'old')
    await db.flush()
    await db.del(pad(KEYS - 1))
    for (let i = 0; i < KEYS - 1; i++) await db.put(pad(i), 'new')
    await db.flush()
    await db.close()
    const { db: reopened } = await openMemory(options, env)
    let damaged = 0
    // One of these is the size of a block, and another that of two.
    for (let shift = -SHIFT_MAX; shift <= SHIFT_MAX; shift++) {
      const key = pad(SHIFT_MAX * 2 + shift)
      env.fs.inject({ op: 'read', path: /\.seg$/, effect: { misdirectBytes: shift } })
      const failure = await failureOf(async () => expect(reopened.getSync(key)).toBe('new'))
      if (failure === undefined) continue
      expect(failure.code).toBe('VARVE_CORRUPTION')
      expect(failure.message).toMatch(/\.seg at byte \d+/)
      damaged++
    }
    expect(damaged).toBe(2 * SHIFT_MAX)
    await reopened.close()
  })
})
