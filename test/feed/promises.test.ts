import { afterEach, describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { Change, OpenOptions } from '../../src/index.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES } from '../../src/log/log-format.js'
import { LogWriter } from '../../src/log/log-writer.js'
import {
  codeOf,
  failureOf,
  type OpenedStore,
  openMemory,
  pad,
  STORE,
  TINY,
  watched,
} from '../store/helpers.js'

type Db = OpenedStore['db']
const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30 } }

const opened: Db[] = []
function track(store: OpenedStore): OpenedStore {
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function positions(db: Db, after = 0): Promise<number[]> {
  const seen = []
  for await (const { position } of db.changes({ after })) seen.push(position)
  return seen
}

describe('what a feed shows', () => {
  it('waits for a write that was to be durable, in a store whose other writes are not', async () => {
    const watch = watched(memoryEnv())
    const db: Db = await open(STORE, { ...KEPT, durability: 'os', env: watch.env } as OpenOptions)
    opened.push(db)
    await db.put('a', '1')
    let letSync!: () => void
    const gate = new Promise<void>((resolve) => {
      letSync = resolve
    })
    watch.beforeSync = () => gate
    // Two of them, so that they are not synced in the thread.
    const durable = [db.put('b', '2', { durability: 'disk' }), db.put('c', '3', { durability: 'disk' })]
    await db.put('d', '4')
    expect(db.position).toBe(4)
    expect(await positions(db)).toEqual([1])
    const live = db.changes({ after: 1, live: true })
    const next = live.next()
    letSync()
    expect(await next).toMatchObject({ value: { position: 2 } })
    await Promise.all(durable)
    expect(await positions(db)).toEqual([1, 2, 3, 4])
    await live.return!()
  })

  it('never shows a write that was refused because its sync failed', async () => {
    const inner = memoryEnv()
    const watch = watched(inner)
    const db: Db = await open(STORE, { ...KEPT, durability: 'disk', env: watch.env } as OpenOptions)
    opened.push(db)
    await db.put('a', '1')
    watch.beforeSync = () => Promise.reject(Object.assign(new Error('bad disk'), { code: 'EIO' }))
    const results = await Promise.allSettled([db.put('b', '2'), db.put('c', '3')])
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await positions(db)).toEqual([1])
  })

  it('shows writes that promise less than the store as soon as they are acknowledged', async () => {
    const { db } = track(await openMemory({ ...KEPT, durability: 'disk' }))
    await db.put('a', '1', { durability: 'memory' })
    await db.put('b', '2', { durability: 'os' })
    expect(await positions(db)).toEqual([1, 2])
  })

  it('is the same in a store that is read only, from its log files too', async () => {
    const { db, env } = await openMemory(KEPT)
    for (let i = 0; i < 300; i++) await db.put(pad(i % 40), `value ${i}`)
    const expected: Change<string, string>[] = []
    for await (const change of db.changes()) expected.push(change)
    await db.close()
    const names = env.fs.list(STORE)
    const { db: reader } = track(await openMemory({ ...KEPT, readOnly: true }, env))
    const seen: Change<string, string>[] = []
    for await (const change of reader.changes({ after: 0 })) seen.push(change)
    expect(seen).toEqual(expected)
    expect(reader.oldestPosition).toBe(1)
    expect(env.fs.list(STORE)).toEqual(names)
  })

  it('goes on in a new feed after resume(), and the old one says that its store is closed', async () => {
    const { db, env } = track(await openMemory(KEPT))
    await db.put('a', '1')
    const old = db.changes({ live: true })
    await old.next()
    const waiting = codeOf(() => old.next())
    env.fs.inject({ op: 'write', path: /\.log$/, repeat: 'forever', effect: { errno: 'ENOSPC' } })
    expect(await codeOf(() => db.put('b', '2'))).toBe('VARVE_NO_SPACE')
    env.fs.clearFaults()
    await db.resume()
    expect(await waiting).toBe('VARVE_CLOSED')
    const position = await db.put('c', '3')
    expect((await positions(db)).at(-1)).toBe(position)
  })
})

describe('batches of any size', () => {
  it('are shown whole, and the event loop turns while a large one is read', async () => {
    const { db } = track(await openMemory({ ...KEPT, memory: 64 << 20, memtableBytes: 16 << 20 }))
    const ops = Array.from({ length: 40_000 }, (_, i) => ({
      type: 'put' as const,
      key: pad(i),
      value: 'v'.repeat(20),
    }))
    await db.batch(ops)
    for (const flushed of [false, true]) {
      if (flushed) await db.flush()
      let turns = 0
      const timer = setInterval(() => turns++, 1)
      const { value } = (await db.changes({ after: 0 }).next()) as { value: Change<string, string> }
      clearInterval(timer)
      expect(value.ops).toEqual(ops)
      expect(turns).toBeGreaterThan(2)
    }
  })

  it('come one by one out of a frame that holds many, without reading it all at once', async () => {
    const { db } = track(await openMemory({ ...KEPT, memory: 64 << 20, memtableBytes: 16 << 20 }))
    const puts = Array.from({ length: 20_000 }, (_, i) => db.put(pad(i), 'v'.repeat(80)))
    await Promise.all(puts)
    const expected = Array.from({ length: 20_000 }, (_, i) => i + 1)
    expect(await positions(db)).toEqual(expected)
    await db.flush()
    expect(await positions(db)).toEqual(expected)
    expect(await positions(db, 12_345)).toEqual(expected.slice(12_345))
  })
})

describe('a hole in the log', () => {
  it('is an error that names where, never a skip', async () => {
    const { db, env } = track(await openMemory(KEPT))
    for (let i = 0; i < 40; i++) await db.put(pad(i), 'v'.repeat(100))
    await db.flush()
    // A sound file whose second frame goes on too far up.
    const name = env.fs.list(STORE).filter((file) => file.endsWith('.log'))[0]!
    const number = Number.parseInt(name, 10)
    const original = Buffer.from(env.fs.readFile(`${STORE}/${name}`))
    const scratch = memoryEnv()
    scratch.fs.makeDirectory(STORE)
    const writer = new LogWriter(scratch, STORE, original.subarray(56, 72))
    const memory = Buffer.alloc(original.length)
    writer.start(number, memory, 0)
    let at = LOG_HEADER_BYTES
    for (let i = 0; i < 3; i++) {
      const bytes = FRAME_HEADER_BYTES + original.readUInt32LE(at + 4)
      original.copy(memory, writer.bodyStart, at + FRAME_HEADER_BYTES, at + bytes)
      if (i === 1) writer.current.lastPosition++
      writer.seal(writer.bodyStart + bytes - FRAME_HEADER_BYTES, 1)
      at += bytes
    }
    writer.write()
    const bytes = Buffer.alloc(original.length)
    Buffer.from(scratch.fs.readFile(`${STORE}/${name}`)).copy(bytes)
    env.fs.writeFile(`${STORE}/${name}`, bytes)
    const failure = await failureOf(() => positions(db))
    expect(failure).toMatchObject({ code: 'VARVE_CORRUPTION', file: `${STORE}/${name}` })
    expect(failure!.message).toContain('position 3 follows 1')
  })
})
