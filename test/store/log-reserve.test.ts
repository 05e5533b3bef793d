import { describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { OpenOptions } from '../../src/index.js'
import { logPieces } from '../../src/store/log-reader.js'
import { codeOf, dump, nameOf, type OpenedStore, openMemory, pad, STORE } from './helpers.js'

type Db = OpenedStore['db']

const OPTIONS: OpenOptions = {
  memory: 1 << 20,
  memtableBytes: 16_384,
  workers: 0,
  durability: 'disk',
  log: { maxBytes: 2 ** 30, maxAgeMs: 2 ** 40 },
}
const VALUE = 'v'.repeat(40)

/** Writes one by one, each made durable, and what the store should hold then. */
async function putEach(db: Db, count: number): Promise<Record<string, string>> {
  const held: Record<string, string> = {}
  for (let i = 0; i < count; i++) {
    await db.put(pad(i), `${VALUE}${i}`)
    held[pad(i)] = `${VALUE}${i}`
  }
  return held
}

function logs(env: MemoryEnv): string[] {
  return env.fs.list(STORE).filter((name) => name.endsWith('.log'))
}

function bytesOf(env: MemoryEnv, name: string): Buffer {
  return Buffer.from(env.fs.readFile(`${STORE}/${name}`))
}

/** How many zeros a file ends with. */
function zeroTail(bytes: Buffer): number {
  let count = 0
  while (count < bytes.length && bytes[bytes.length - 1 - count] === 0) count++
  return count
}

/** The store as a killed process leaves it. */
async function killed(count: number): Promise<{ env: MemoryEnv; held: Record<string, string>; log: string }> {
  const { db, env } = await openMemory(OPTIONS)
  const held = await putEach(db, count)
  const after = memoryEnv({ fs: env.fs.crash('strict') })
  await db.close()
  return { env: after, held, log: logs(after).at(-1)! }
}

describe('room that is made in the log for small durable writes', () => {
  it('is zeros after the last frame, found only where writes are synced one by one', async () => {
    const { env, log } = await killed(20)
    expect(zeroTail(bytesOf(env, log))).toBeGreaterThan(1000)
    expect(bytesOf(env, log).length).toBeLessThanOrEqual(16_384)

    const lazy = await openMemory({ ...OPTIONS, durability: 'os' })
    await putEach(lazy.db, 20)
    await lazy.db.sync()
    expect(zeroTail(bytesOf(lazy.env, logs(lazy.env)[0]!))).toBeLessThan(100)
    await lazy.db.close()
  })

  it('keeps the size of the file while syncs go on', async () => {
    const { db, env } = await openMemory({ ...OPTIONS, memtableBytes: 1 << 19 })
    await putEach(db, 1)
    const before = bytesOf(env, logs(env)[0]!).length
    await putEach(db, 100)
    expect(bytesOf(env, logs(env)[0]!).length).toBe(before)
    await db.close()
  })

  it('is the end of the log for recovery, for the feed and for verification', async () => {
    const { env, held } = await killed(400)
    const { db } = await openMemory(OPTIONS, env)
    expect(await dump(db)).toEqual(held)
    const seen: number[] = []
    for await (const change of db.changes({ after: db.oldestPosition - 1 })) seen.push(change.position)
    expect(seen.at(-1)).toBe(400)
    expect((await db.verify()).logFiles).toBeGreaterThan(0)
    await db.close()
  })

  it('is passed by whoever reads a log file whole', async () => {
    const { db, env } = await openMemory(OPTIONS)
    await putEach(db, 12)
    await db.close()
    const [name] = logs(env)
    expect(zeroTail(bytesOf(env, name!))).toBeGreaterThan(1000)
    const number = Number.parseInt(nameOf(name!), 10)
    const positions = [...logPieces(env, STORE, number, undefined)].map((piece) => piece.position)
    expect(positions.at(-1)).toBe(12)
  })

  it('hides no damage: what is not zero after the end of a closed log is corruption', async () => {
    const { db, env } = await openMemory(OPTIONS)
    await putEach(db, 12)
    await db.close()
    const [name] = logs(env)
    const bytes = bytesOf(env, name!)
    bytes[bytes.length - 1] = 1
    env.fs.writeFile(`${STORE}/${name}`, bytes)
    expect(await codeOf(() => openMemory(OPTIONS, env))).toBe('VARVE_CORRUPTION')
  })

  it('fails no write that fits on a disk that is too full for it', async () => {
    const { db, env } = await openMemory(OPTIONS)
    const used = env.fs.list(STORE).reduce((sum, name) => sum + bytesOf(env, name).length, 0)
    env.fs.setCapacity(used + 3000)
    const held = await putEach(db, 10)
    const after = memoryEnv({ fs: env.fs.crash('strict') })
    await db.close().catch(() => {})
    const reopened = await openMemory(OPTIONS, after)
    expect(await dump(reopened.db)).toEqual(held)
    await reopened.db.close()
  })
})
