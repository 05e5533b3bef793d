import { expect, it } from 'vitest'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { openMemory, STORE, TINY } from '../store/helpers.js'

/** How often the rules are drawn that leave any of the names. */
const DRAWS = 6

interface State {
  readonly fs: MemoryFileSystem
  readonly promised: number
}

/** Takes every state that a crash may leave while `work` runs, with what had been promised by then. */
async function statesOf(
  env: MemoryEnv,
  work: (promise: (position: number) => void) => Promise<void>,
  promisedBefore: number,
): Promise<State[]> {
  const states: State[] = []
  let promised = promisedBefore
  env.fs.onStep = () => {
    for (const { fs } of env.fs.crashStates(ALL_CRASH_POLICIES)) states.push({ fs, promised })
    for (let draw = 1; draw < DRAWS; draw++) states.push({ fs: env.fs.crash('names-subset', draw), promised })
  }
  await work((position) => {
    promised = position
  })
  env.fs.onStep = undefined
  return states
}

async function expectAllWhole(states: readonly State[]): Promise<void> {
  for (const { fs, promised } of states) {
    const { db } = await openMemory(TINY, memoryEnv({ fs }))
    expect(db.position).toBeGreaterThanOrEqual(promised)
    expect((await db.keys().all()).length).toBe(db.position)
    await db.close()
  }
}

/** Opening again points CURRENT at a new manifest and removes the old one; a crash may keep any of these names. */
it('no crash while a store is opened again, written and closed loses the way to what was promised', async () => {
  const first = await openMemory(TINY)
  await first.db.put('0', 'first life', { durability: 'disk' })
  await first.db.close()
  const env = memoryEnv({ fs: first.env.fs })
  const work = async (promise: (position: number) => void) => {
    let position = 1
    for (let life = 0; life < 3; life++) {
      const { db } = await openMemory(TINY, env)
      for (let i = 0; i < 3; i++) {
        position = await db.put(String(position), 'x', { durability: 'disk' })
        promise(position)
      }
      // With nothing to recover no other work of the next open syncs the directory.
      if (life > 0) await db.flush()
      await db.close()
    }
  }
  const states = await statesOf(env, work, 1)
  expect(states.length).toBeGreaterThan(200)
  await expectAllWhole(states)
  expect(env.fs.list(STORE).filter((name) => name.startsWith('MANIFEST')).length).toBe(1)
})

/** Recovery leaves a log out whose predecessor is gone; a crash while it does must not mix that one with the new log. */
it('no crash during a recovery that leaves a log out loses what is promised afterwards', async () => {
  const { db, env } = await openMemory({ ...TINY, durability: 'os' })
  for (let i = 0; i < 40; i++) void db.put(`key ${i}`, 'x'.repeat(60))
  const logs = () => env.fs.list(STORE).filter((name) => name.endsWith('.log'))
  while (logs().length < 2) await Promise.resolve()
  const fs = env.fs.clone()
  await db.close()
  fs.remove(`${STORE}/${fs.list(STORE).find((name) => name.endsWith('.log'))}`)
  fs.syncDirectory(STORE)
  const next = memoryEnv({ fs })
  // Removing takes its time, or fails: the log that was left out may lie there for long.
  next.fs.inject({ op: 'remove', path: /\.log$/, repeat: 'forever', effect: { errno: 'EACCES' } })
  const work = async (promise: (position: number) => void) => {
    const opened = (await openMemory(TINY, next)).db
    for (let i = 0; i < 3; i++) promise(await opened.put(`new ${i}`, 'x', { durability: 'disk' }))
    await opened.close()
  }
  await expectAllWhole(await statesOf(next, work, 0))
})
