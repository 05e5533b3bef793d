import { expect, it } from 'vitest'
import { codeOf, openMemory, pad, recovered, TINY } from '../store/helpers.js'

it.each([
  'background',
  'manual',
] as const)('a segment is kept that the manifest on disk may name after its sync failed: %s merges', async (kind) => {
  for (let nth = 1; nth < 40; nth++) {
    const { db, env } = await openMemory(TINY)
    const counter = env.fs.inject({
      op: 'sync',
      path: /MANIFEST/,
      nth,
      when: 'after',
      effect: { errno: 'EIO' },
    })
    let acknowledged = 0
    for (let i = 0; i < 60; i++) {
      if ((await codeOf(() => db.put(pad(i), `${i} `.repeat(30)))) === undefined) acknowledged = i + 1
      if (kind === 'manual' && i % 20 === 19) await codeOf(() => db.compact())
    }
    await codeOf(() => db.close())
    env.fs.clearFaults()
    const found = Object.keys(await recovered(env.fs)).length
    expect(found, `sync ${nth}`).toBeGreaterThanOrEqual(acknowledged)
    if (counter.fired === 0) return
  }
})
