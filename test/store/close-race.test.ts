import { expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { VarveError } from '../../src/index.js'
import { openMemory, TINY } from './helpers.js'

it('writes that come while a store closes are committed whole or refused', async () => {
  for (let turns = 0; turns < 24; turns++) {
    const env = memoryEnv({ seed: turns })
    const { db } = await openMemory(TINY, env)
    const written: string[] = []
    const write = async (name: string) => {
      for (let i = 0; i < 200; i++) {
        for (let turn = 0; turn < turns % 7; turn++) await null
        await db.put(`${name}${i}`, 'x'.repeat(30))
        written.push(`${name}${i}`)
      }
    }
    const writers = ['a', 'b', 'c'].map((name) => write(name).catch((error: unknown) => error))
    for (let turn = 0; turn < turns; turn++) await null
    await db.close()
    for (const failure of await Promise.all(writers)) {
      expect(failure).toBeInstanceOf(VarveError)
      expect((failure as VarveError).code).toBe('VARVE_CLOSED')
    }
    const again = (await openMemory(TINY, memoryEnv({ fs: env.fs.clone() }))).db
    expect(await again.keys().all(), `${turns} turns`).toEqual([...written].sort())
    await again.close()
  }
})
