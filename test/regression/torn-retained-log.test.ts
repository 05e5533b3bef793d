import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { openMemory, STORE } from '../store/helpers.js'

const OPTIONS = { workers: 0, memory: 2 ** 20, log: { maxBytes: 2 ** 20 } } as const

/** Was: a log torn by a crash and kept for its readers made every later verification report damage. */
it('the torn tail of a log that is retained is no damage', async () => {
  const { db, env } = await openMemory(OPTIONS)
  await db.put('a', '1')
  const crashed = env.fs.clone()
  await db.close()
  const path = `${STORE}/${crashed.list(STORE).find((name) => name.endsWith('.log'))}`
  crashed.writeFile(path, Buffer.concat([crashed.readFile(path), Buffer.from('half a frame')]))
  const again = (await openMemory(OPTIONS, memoryEnv({ fs: crashed }))).db
  expect(again.oldestPosition).toBe(1)
  await again.verify()
  await again.close()
})
