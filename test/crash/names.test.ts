import { expect, it } from 'vitest'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { openMemory, STORE, TINY } from '../store/helpers.js'

/** How often the rules are drawn that leave any of the names. */
const DRAWS = 6

interface State {
  readonly fs: MemoryFileSystem
  readonly promised: number
}

/** Opening again points CURRENT at a new manifest and removes the old one; a crash may keep any of these names. */
it('no crash while a store is opened again, written and closed loses the way to what was promised', async () => {
  const first = await openMemory(TINY)
  await first.db.put('0', 'first life', { durability: 'disk' })
  await first.db.close()
  const env = memoryEnv({ fs: first.env.fs })
  const states: State[] = []
  let promised = 1
  env.fs.onStep = () => {
    for (const { fs } of env.fs.crashStates(ALL_CRASH_POLICIES)) states.push({ fs, promised })
    for (let draw = 1; draw < DRAWS; draw++) states.push({ fs: env.fs.crash('names-subset', draw), promised })
  }
  for (let life = 0; life < 2; life++) {
    const { db } = await openMemory(TINY, env)
    for (let i = 0; i < 3; i++) promised = await db.put(String(promised), 'x', { durability: 'disk' })
    await db.close()
  }
  env.fs.onStep = undefined
  expect(states.length).toBeGreaterThan(200)
  for (const { fs, promised: least } of states) {
    const { db } = await openMemory(TINY, memoryEnv({ fs }))
    expect(db.position).toBeGreaterThanOrEqual(least)
    expect((await db.keys().all()).length).toBe(db.position)
    await db.close()
  }
  expect(env.fs.list(STORE).filter((name) => name.startsWith('MANIFEST')).length).toBe(1)
})
