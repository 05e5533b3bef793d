import { afterEach, describe, expect, it } from 'vitest'
import type { Env } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { LogTail } from '../../src/store/log-tail.js'
import { codeOf, failureOf, type OpenedStore, openMemory, pad, STORE, TINY } from './helpers.js'

type Db = OpenedStore['db']
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30 } }

const opened: Db[] = []
const tails: LogTail[] = []
async function openStore(options: OpenOptions = KEPT, env = memoryEnv()): Promise<OpenedStore> {
  const store = await openMemory(options, env)
  opened.push(store.db)
  return store
}
function openTail(env: Env, after?: number): LogTail {
  const tail = new LogTail(env, STORE, after)
  tails.push(tail)
  return tail
}
afterEach(async () => {
  for (const tail of tails.splice(0)) tail.close()
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function drain(tail: LogTail): Promise<number[]> {
  const seen: number[] = []
  const visit = (position: number) => {
    seen.push(position)
    return undefined
  }
  while (await tail.step(visit));
  return seen
}

async function fill(db: Db, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await db.put(pad(i % 50), 'v'.repeat(60))
}

const logNames = (fs: MemoryFileSystem) => fs.list(STORE).filter((name) => name.endsWith('.log'))
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe('a reader of log files that another one writes', () => {
  it('sees everything once, from any position, across files, closings and openings', async () => {
    const { db, env } = await openStore()
    const tail = openTail(env)
    expect(await drain(tail)).toEqual([])
    await fill(db, 100)
    expect(await drain(tail)).toEqual(range(1, 100))
    expect(await drain(openTail(env, 42))).toEqual(range(43, 100))
    await db.close()
    expect(await drain(tail)).toEqual([])
    const { db: again } = await openStore(KEPT, env)
    await fill(again, 30)
    expect(await drain(tail)).toEqual(range(101, 130))
    tail.checkEnd()
  })

  it('stops before a frame that is not there whole yet, and goes on once it is', async () => {
    const { db, env } = await openStore()
    await fill(db, 5)
    const path = `${STORE}/${logNames(env.fs).at(-1)}`
    const whole = Buffer.from(env.fs.readFile(path))
    for (const cut of [1, 40, 70]) {
      const part = memoryEnv({ fs: env.fs.clone() })
      part.fs.writeFile(path, whole.subarray(0, whole.length - cut))
      const tail = openTail(part)
      expect(await drain(tail)).toEqual(range(1, 4))
      tail.checkEnd()
      part.fs.writeFile(path, whole)
      expect(await drain(tail)).toEqual([5])
    }
  })

  it('says that the store went back, where a power loss took what it had seen', async () => {
    const { db, env } = await openStore({ ...KEPT, durability: 'os' })
    await fill(db, 3)
    await db.sync()
    await fill(db, 4)
    let { fs } = env
    const tail = openTail({
      ...env,
      get fs() {
        return fs
      },
    })
    expect(await drain(tail)).toEqual(range(1, 7))
    const after = memoryEnv({ fs: fs.crash('strict') })
    const { db: recovered } = await openStore(KEPT, after)
    expect(recovered.position).toBe(3)
    await recovered.put('other', 'history')
    fs = after.fs
    expect(await failureOf(() => drain(tail))).toMatchObject({ code: 'VARVE_DIVERGED', position: 4 })
  })

  it('names the oldest position where files were trimmed before it got there', async () => {
    const { db, env } = await openStore(TINY)
    await db.put('first', '')
    const tail = openTail(env)
    expect(await drain(tail)).toEqual([1])
    await fill(db, 200)
    await db.flush()
    const failure = await failureOf(() => drain(tail))
    expect(failure).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
    expect(await codeOf(() => drain(openTail(env, 1)))).toBe('VARVE_POSITION_LOST')
  })

  it('never takes damage for the end: in a file that others follow, or before what was synced', async () => {
    const { db, env } = await openStore({ ...KEPT, durability: 'disk' })
    await fill(db, 100)
    const damage = (name: string, at: number) => {
      const fs = env.fs.clone()
      const bytes = Buffer.from(fs.readFile(`${STORE}/${name}`))
      bytes[at]! ^= 1
      fs.writeFile(`${STORE}/${name}`, bytes)
      return memoryEnv({ fs })
    }
    const names = logNames(env.fs)
    const inOlder = openTail(damage(names[1]!, 500))
    expect(await failureOf(() => drain(inOlder))).toMatchObject({
      code: 'VARVE_CORRUPTION',
      file: `${STORE}/${names[1]}`,
    })
    const inLast = openTail(damage(names.at(-1)!, 140))
    await drain(inLast)
    expect(await codeOf(() => inLast.checkEnd())).toBe('VARVE_CORRUPTION')
  })

  it('refuses files of another store', async () => {
    const { db, env } = await openStore()
    await fill(db, 40)
    const { db: other, env: otherEnv } = await openStore(KEPT, memoryEnv({ seed: 2 }))
    await fill(other, 80)
    const names = logNames(env.fs)
    const tail = openTail(env)
    env.fs.writeFile(`${STORE}/${names[1]}`, Buffer.from(otherEnv.fs.readFile(`${STORE}/${names[1]}`)))
    expect(await codeOf(() => drain(tail))).toBe('VARVE_CORRUPTION')
  })
})
