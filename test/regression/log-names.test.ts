import { expect, it } from 'vitest'
import { openMemory, pad, recovered, TINY } from '../store/helpers.js'

it('the names of two log files become durable in their order, whatever a power loss keeps of the rest', async () => {
  for (let count = 8; count < 40; count += 4) {
    const { db, env } = await openMemory({ ...TINY, durability: 'os' })
    for (let i = 0; i < count; i++) void db.put(pad(i), `${i} `.repeat(60))
    await db.put('last', '1')
    for (let draw = 0; draw < 24; draw++) {
      const found = Object.keys(await recovered(env.fs.crash('blocks', draw)))
      expect(found.sort()).toEqual([...Array(found.length).keys()].map((i) => (i < count ? pad(i) : 'last')))
    }
    await db.close()
  }
})
