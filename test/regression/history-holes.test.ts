import { describe, expect, it } from 'vitest'
import { FileRemover } from '../../src/env/file-remover.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { codeOf, nameOf, type OpenedStore, openMemory, pad, STORE, TINY } from '../store/helpers.js'

const KEPT = { ...TINY, durability: 'os', log: { maxBytes: 2 ** 20 } } as const
const VALUE = 'x'.repeat(100)

async function positionsOf(db: OpenedStore['db']): Promise<number[]> {
  const positions: number[] = []
  for await (const { position } of db.changes()) positions.push(position)
  return positions
}

function upTo(last: number, first = 1): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

function logsOf(fs: MemoryFileSystem): string[] {
  return fs
    .list(STORE)
    .filter((name) => name.endsWith('.log'))
    .map((name) => `${STORE}/${name}`)
}

/** One log file for each life, of three batches; every life but the last one is killed. */
async function livesOf(count: number): Promise<MemoryFileSystem> {
  let env = memoryEnv()
  for (let life = 0; life < count; life++) {
    const { db } = await openMemory(KEPT, env)
    for (let i = 0; i < 3; i++) await db.put(pad(i), `${life} ${VALUE}`)
    const { fs } = memoryEnv({ fs: env.fs.clone() })
    await db.close()
    env = memoryEnv({ fs })
  }
  return env.fs
}

describe('log files that are kept, and of which some are gone', () => {
  /** Was: the file before the gap counted as the one that the next file follows, and reading it failed as damaged. */
  it('begin after the gap, where a crash undid the removal of an older one only', async () => {
    const fs = await livesOf(4)
    const [, second] = logsOf(fs)
    fs.remove(second!)
    const { db } = await openMemory(KEPT, memoryEnv({ fs }))
    expect(db.oldestPosition).toBe(7)
    expect(await positionsOf(db)).toEqual(upTo(12, 7))
    await db.verify()
    await db.close()
    expect(logsOf(fs).map(nameOf)).not.toContain('000002.log')
  })

  it('do not count where the file that they lead to is gone, and the next one names none', async () => {
    const { env, db } = await openMemory(KEPT, memoryEnv({ fs: await livesOf(3) }))
    const { fs } = memoryEnv({ fs: env.fs.clone() })
    await db.close()
    // A crash before the name of the new log file was on disk, and with one removal undone.
    const [, , third, fourth] = logsOf(fs)
    for (const path of [third!, fourth!]) fs.remove(path)
    const again = (await openMemory(KEPT, memoryEnv({ fs }))).db
    expect([again.position, again.oldestPosition]).toEqual([9, 10])
    await again.verify()
    await again.close()
  })

  /** Was: removed all at once, in any order. */
  it('are removed one after another, oldest first', async () => {
    const fs = new MemoryFileSystem()
    for (const name of ['/a', '/b', '/c']) fs.writeFile(name, Buffer.from('log'))
    fs.inject({ op: 'remove', path: /a|b/, nth: 1, repeat: 'forever', effect: { delayMs: 5 } })
    const remover = new FileRemover(fs)
    for (const name of ['/a', '/b', '/c']) remover.remove(name)
    const seen: string[][] = []
    fs.onStep = () => seen.push(fs.list('/'))
    await remover.done()
    expect(seen).toEqual([['a', 'b', 'c'], ['b', 'c'], ['c']])
    expect(fs.list('/')).toEqual([])
  })

  /** Was: a kept file whose header was gone, or with nothing left in it, was removed as left over by a crash. */
  it.each([0, 50, 96])('are damaged where one of them is cut to %d bytes, and it stays', async (bytes) => {
    const fs = await livesOf(3)
    const [first] = logsOf(fs)
    fs.writeFile(first!, fs.readFile(first!).subarray(0, bytes))
    const { db } = await openMemory(KEPT, memoryEnv({ fs }))
    expect(db.oldestPosition).toBe(4)
    expect(await codeOf(() => db.verify())).toBe('VARVE_CORRUPTION')
    await db.close()
    expect(fs.stat(first!)?.sizeBytes).toBe(bytes)
  })

  /** Was: thrown on as the system's own error. */
  it('that cannot be looked at are a typed error', async () => {
    const fs = await livesOf(3)
    const [first] = logsOf(fs)
    const fault = fs.inject({ op: 'stat', path: new RegExp(first!), effect: { errno: 'EDQUOT' } })
    const { db } = await openMemory(KEPT, memoryEnv({ fs }))
    expect(fault.fired).toBe(1)
    expect(await codeOf(() => db.verify())).toBe('VARVE_NO_SPACE')
    await db.close()
  })
})

describe('what is left of a log file that nobody was to read', () => {
  /** Was: verify reported damage until somebody removed the file by hand. */
  it('is no damage', async () => {
    const { db, env } = await openMemory({ ...TINY, durability: 'os' })
    for (let i = 0; i < 6; i++) await db.put(pad(i), VALUE)
    const before = logsOf(env.fs)[0]!
    const bytes = Buffer.from(env.fs.readFile(before))
    await db.flush()
    await db.close()
    // Its removal never got to the disk, nor did its end.
    env.fs.writeFile(before, bytes.subarray(0, 500))
    const again = await openMemory({ ...TINY, durability: 'os' }, memoryEnv({ fs: env.fs }))
    await again.db.verify()
    await again.db.close()
    expect(logsOf(env.fs)).not.toContain(before)
  })
})

describe('after a sync that failed, what is kept for readers of the log', () => {
  /** Was: the recovery synced the same file once more, which tells nothing, and a power loss took its end. */
  it.each(['resume', 'open'])('outlasts a power loss that follows %s', async (way) => {
    const { db, env } = await openMemory(KEPT)
    for (let i = 0; i < 3; i++) await db.put(pad(i), VALUE)
    const fault = env.fs.inject({ op: 'sync', path: /\.log$/, effect: { errno: 'EIO' } })
    expect(await codeOf(() => db.sync())).toBe('VARVE_POISONED')
    expect(fault.fired).toBe(1)
    if (way === 'resume') await db.resume()
    else expect(await codeOf(() => db.close())).toBe('VARVE_IO')
    const next = way === 'resume' ? db : (await openMemory(KEPT, memoryEnv({ fs: env.fs }))).db
    expect(await positionsOf(next)).toEqual([1, 2, 3])
    const fs = env.fs.crash('strict')
    await next.close()
    const after = (await openMemory(KEPT, memoryEnv({ fs }))).db
    expect(await positionsOf(after)).toEqual([1, 2, 3])
    await after.verify()
    await after.close()
  })

  /** Was: the flush of a full memtable synced the file again after the sync of a write had failed, and believed it. */
  it('outlasts one that follows a flush which was under way', async () => {
    const { db, env } = await openMemory({ ...KEPT, durability: 'disk' })
    await db.put(pad(0), VALUE)
    env.fs.inject({ op: 'sync', path: /\.log$/, effect: { errno: 'EROFS' } })
    const writes = upTo(40).map((i) => codeOf(() => db.put(pad(i), VALUE)))
    const flush = codeOf(() => db.flush())
    expect(new Set(await Promise.all(writes))).toContain('VARVE_IO')
    await flush
    await codeOf(() => db.close())
    const second = (await openMemory(KEPT, memoryEnv({ fs: env.fs }))).db
    const { position } = second
    const fs = env.fs.crash('strict')
    await second.close()
    const after = (await openMemory(KEPT, memoryEnv({ fs }))).db
    expect(await positionsOf(after)).toEqual(upTo(position))
    await after.verify()
    await after.close()
  })
})
