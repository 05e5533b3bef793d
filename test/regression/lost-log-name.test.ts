import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { dump, openMemory, STORE, TINY } from '../store/helpers.js'

/** A store whose machine stops while its changes stand in two log files, of which the older has lost its name. */
async function withoutOlderLog() {
  const durability = 'os'
  const { db, env } = await openMemory({ ...TINY, durability })
  for (let i = 0; i < 40; i++) void db.put(`key ${i}`, 'x'.repeat(60), { durability })
  const logs = () => env.fs.list(STORE).filter((name) => name.endsWith('.log'))
  while (logs().length < 2) await Promise.resolve()
  const fs = env.fs.clone()
  await db.close()
  fs.remove(`${STORE}/${fs.list(STORE).find((name) => name.endsWith('.log'))}`)
  return memoryEnv({ fs })
}

/** Was: the store refused to open, as damaged, though nothing in the lost file had been promised to outlast a crash. */
it('a log file whose name was not on disk ends the log there, and the store opens', async () => {
  const env = await withoutOlderLog()
  const { db } = await openMemory(TINY, env)
  expect(db.position).toBe(0)
  expect(await dump(db)).toEqual({})
  await db.put('after', '1')
  await db.close()
})
