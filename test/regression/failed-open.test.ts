import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { codeOf, openMemory, pad, recovered, TINY } from '../store/helpers.js'

/** A killed store with something to recover, and with as many segments as start a merge. */
async function killed() {
  const { db, env } = await openMemory(TINY)
  for (let i = 0; i < 60; i++) await db.put(pad(i % 20), `${i} `.repeat(30))
  const left = env.fs.clone()
  await db.close()
  return left
}

it('an open that fails at any step leaves no file open and no lock held', async () => {
  const left = await killed()
  for (let nth = 1, failures = 0; ; nth++) {
    const fs = left.clone()
    const counter = fs.inject({ op: 'any', nth, effect: { errno: 'EIO' } })
    const code = await codeOf(async () => (await openMemory(TINY, memoryEnv({ fs }))).db.close())
    if (counter.fired === 0) {
      expect(failures).toBeGreaterThan(10)
      return
    }
    if (code !== undefined) failures++
    expect(fs.openHandles(), `operation ${nth}`).toEqual([])
  }
})

it('a merge that fails while the store is being opened is not forgotten: flush does not lie', async () => {
  const left = await killed()
  let failed = 0
  for (let nth = 1; nth < 8; nth++) {
    const fs = left.clone()
    fs.inject({ op: 'create', path: /\.seg$/, nth, repeat: 'forever', effect: { errno: 'ENOSPC' } })
    const opened = await openMemory(TINY, memoryEnv({ fs })).catch(() => undefined)
    if (!opened) continue
    const { db } = opened
    const code = await codeOf(async () => {
      await db.put('late', '1')
      await db.flush()
    })
    if (code === undefined) expect(db.stats().flushedPosition).toBe(db.position)
    else failed++
    await db.close().catch(() => {})
  }
  expect(failed).toBeGreaterThan(0)
})

it('a store whose first open failed is not lost with the name of its directory', async () => {
  const env = memoryEnv()
  env.fs.makeDirectory('/data')
  env.fs.syncDirectory('/')
  env.fs.inject({ op: 'syncDirectory', path: /^\/data/, effect: { errno: 'EIO' } })
  const { open } = await import('../../src/index.js')
  const options = { env, durability: 'disk' as const }
  await expect(open('/data/new/db', options)).rejects.toMatchObject({ code: 'VARVE_IO' })
  const db = await open('/data/new/db', options)
  await db.put('a', '1')
  const after = await open('/data/new/db', { env: memoryEnv({ fs: env.fs.crash('strict') }) })
  expect(await after.get('a')).toBe('1')
  await after.close()
  await db.close()
})

it('what cannot be removed does not keep the store closed', async () => {
  const fs = await killed()
  fs.writeFile('/store/000900.seg.tmp', new Uint8Array(3))
  fs.writeFile('/store/000901.seg', new Uint8Array(3))
  const counter = fs.inject({ op: 'remove', path: /0009/, repeat: 'forever', effect: { errno: 'EACCES' } })
  expect(Object.keys(await recovered(fs))).toHaveLength(20)
  expect(counter.fired).toBeGreaterThan(0)
})

it.each(['stat', 'list'] as const)('an open fails typed whatever %s fails', async (op) => {
  for (let nth = 1; ; nth++) {
    const env = memoryEnv()
    const counter = env.fs.inject({ op, nth, effect: { errno: 'EIO' } })
    // `codeOf` throws what is no VarveError.
    await codeOf(async () => (await openMemory(TINY, env)).db.close())
    if (counter.fired === 0) break
  }
})
