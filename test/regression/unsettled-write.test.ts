import { expect, it } from 'vitest'
import { codeOf, openMemory } from '../store/helpers.js'

it('writes whose sync is running when another write fails are told, also if their sync fails too', async () => {
  const { db, env } = await openMemory({ durability: 'disk' })
  const writes = [db.put('a', '1'), db.put('b', '1')].map((write) => codeOf(() => write))
  while (db.position < 2) await Promise.resolve()
  env.fs.inject({ op: 'sync', path: /\.log$/, repeat: 'forever', effect: { errno: 'EIO' } })
  env.fs.inject({ op: 'write', path: /\.log$/, effect: { errno: 'EIO' } })
  expect(await codeOf(() => db.put('c', '1', { durability: 'os' }))).toBe('VARVE_IO')
  const late = new Promise((resolve) => setTimeout(resolve, 2000, 'never settled'))
  expect(await Promise.race([Promise.all(writes), late])).toEqual(['VARVE_IO', 'VARVE_IO'])
  await db.close().catch(() => {})
})
