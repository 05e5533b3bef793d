import { describe, expect, it } from 'vitest'
import { VarveError } from '../../src/errors.js'
import { failureOf, openMemory, pad, recovered, TINY } from '../store/helpers.js'

async function filled() {
  const opened = await openMemory(TINY)
  for (let i = 0; i < 80; i++) await opened.db.put(pad(i), `${i} `.repeat(30))
  return opened
}

describe('close', () => {
  it.each([
    'compact',
    'verify',
    'flush',
  ] as const)('while %s runs ends it with a typed error', async (name) => {
    for (let turns = 0; turns < 12; turns++) {
      const { db, env } = await filled()
      const running = failureOf(() => db[name]())
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      await db.close()
      const error = await running
      if (error !== undefined) expect([error.code, error.cause]).toEqual(['VARVE_CLOSED', error.cause])
      expect(error?.cause).not.toBeInstanceOf(TypeError)
      expect(env.fs.openHandles()).toEqual([])
      expect(Object.keys(await recovered(env.fs))).toHaveLength(80)
    }
  })

  it('lets go of the lock also where what a merge left cannot be removed', async () => {
    const { db, env } = await filled()
    const running = failureOf(() => db.compact())
    await new Promise((resolve) => setImmediate(resolve))
    env.fs.inject({ op: 'stat', path: /\.seg$/, repeat: 'forever', effect: { errno: 'EIO' } })
    await db.close().catch(() => {})
    await running
    expect(env.fs.openHandles()).toEqual([])
  })
})

describe('a checkpoint', () => {
  it('outlasts a power loss also where its parents were new', async () => {
    const { db, env } = await filled()
    await db.checkpoint('/backups/monday/copy')
    const lost = env.fs.crash('strict')
    await db.close()
    expect(lost.list('/backups/monday')).toEqual(['copy'])
  })

  it('fails typed at whatever step', async () => {
    for (let nth = 1; ; nth++) {
      const { db, env } = await filled()
      const counter = env.fs.inject({ op: 'any', path: /copy/, nth, effect: { errno: 'EIO' } })
      const error = await failureOf(() => db.checkpoint('/copy'))
      if (counter.fired > 0 && error) expect(error).toBeInstanceOf(VarveError)
      await db.close()
      expect(env.fs.openHandles()).toEqual([])
      if (counter.fired === 0) break
      expect(nth).toBeLessThan(200)
    }
  })
})

it('verify fails typed where a segment cannot be opened', async () => {
  const { db, env } = await filled()
  await db.compact()
  env.fs.inject({ op: 'open', path: /\.seg$/, repeat: 'forever', effect: { errno: 'EMFILE' } })
  expect((await failureOf(() => db.verify()))?.code).toBe('VARVE_IO')
  await db.close()
})
