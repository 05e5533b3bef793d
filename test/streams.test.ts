import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { Database } from '../src/database.js'
import type { Change } from '../src/index.js'
import { writeStream } from '../src/streams.js'
import { codeOf, openMemory, pad, until } from './store/helpers.js'

async function filled(count: number) {
  const opened = await openMemory({ log: { maxBytes: 1 << 30 } })
  for (let i = 0; i < count; i++) await opened.db.put(pad(i), `value ${i}`)
  return opened
}

/** What an open reader keeps: old versions, and the log. */
function pins(db: Database): { reads: number; log: boolean } {
  const { archive } = Database.typedStoreOf(db).store
  return { reads: db.stats().snapshots.count, log: archive.hasPins }
}
const NONE = { reads: 0, log: false }

async function* numbered(count: number, valueBytes = 10): AsyncGenerator<[string, string]> {
  for (let i = 0; i < count; i++) yield [pad(i), String(i).padEnd(valueBytes, '.')]
}

describe('reading as a Node stream', () => {
  it('gives everything at the pace of the reader, and closes at the end', async () => {
    const { db } = await filled(500)
    let given = 0
    const counted = (async function* () {
      for await (const entry of db.entries()) {
        given++
        yield entry
      }
    })()
    const stream = Readable.from(counted, { highWaterMark: 4 })
    const first = await new Promise<[string, string]>((resolve) => {
      stream.once('readable', () => resolve(stream.read() as [string, string]))
    })
    expect(first).toEqual(['00000', 'value 0'])
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(given).toBeLessThan(10)
    expect((await stream.toArray()).length).toBe(499)
    expect(pins(db)).toEqual(NONE)
    await db.close()
  })

  it('closes the iterator when it is destroyed in the middle, or by a signal', async () => {
    const { db } = await filled(100)
    const stream = Readable.from(db.entries())
    await stream[Symbol.asyncIterator]().next()
    expect(pins(db).reads).toBe(1)
    stream.destroy()
    await until(() => pins(db).reads === 0)
    expect(pins(db)).toEqual(NONE)

    const { signal, abort } = makeAbort()
    const taken: Change<string, string>[] = []
    const sink = new Writable({
      objectMode: true,
      write(change: Change<string, string>, _encoding, callback) {
        taken.push(change)
        if (taken.length === 50) abort()
        callback()
      },
    })
    await expect(pipeline(Readable.from(db.changes({ live: true })), sink, { signal })).rejects.toThrow(
      /abort/,
    )
    expect(taken.length).toBeGreaterThanOrEqual(50)
    await until(() => !pins(db).log)
    expect(pins(db)).toEqual(NONE)
    await db.close()
  })

  it('ends while it waits for changes that do not come', async () => {
    const { db } = await filled(1)
    const stream = Readable.from(db.changes({ live: true }))
    const seen: unknown[] = []
    stream.on('data', (change) => seen.push(change))
    await until(() => seen.length === 1)
    stream.destroy()
    await until(() => !pins(db).log)
    expect(pins(db)).toEqual(NONE)
    await db.close()
  })
})

describe('reading as a Web stream', () => {
  it('gives everything at the pace of the reader, and closes at the end and when it is cancelled', async () => {
    const { db } = await filled(300)
    const keys: string[] = []
    for await (const key of ReadableStream.from(db.keys())) keys.push(key)
    expect(keys.length).toBe(300)
    expect(pins(db)).toEqual(NONE)

    const reader = ReadableStream.from(db.changes({ live: true })).getReader()
    expect((await reader.read()).value).toMatchObject({ position: 1 })
    expect(pins(db).log).toBe(true)
    await reader.cancel()
    expect(pins(db)).toEqual(NONE)
    await db.close()
  })

  it('cancels while it waits for changes that do not come', async () => {
    const { db } = await openMemory()
    const reader = ReadableStream.from(db.changes({ live: true })).getReader()
    const waiting = reader.read()
    await reader.cancel()
    expect(await waiting).toEqual({ value: undefined, done: true })
    expect(pins(db)).toEqual(NONE)
    await db.close()
  })
})

describe('writeStream', () => {
  it('writes a copy of another store, in batches by size, and tells the last position', async () => {
    const { db: from } = await filled(1000)
    const { db } = await openMemory()
    const stream = writeStream(db, { batchBytes: 4096 })
    await pipeline(Readable.from(from.entries()), stream)
    expect(await db.entries().all()).toEqual(await from.entries().all())
    expect(stream.position).toBe(db.position)
    expect(stream.opsWritten).toBe(1000)
    expect(db.position).toBeLessThan(200)
    await Promise.all([from.close(), db.close()])
  })

  it('takes operations in order, deletes among them', async () => {
    const { db } = await openMemory()
    const stream = writeStream(db)
    stream.write({ type: 'put', key: 'a', value: '1' })
    stream.write(['b', '2'])
    stream.write({ type: 'del', key: 'a' })
    stream.end()
    await new Promise((resolve) => stream.once('close', resolve))
    expect(await db.entries().all()).toEqual([['b', '2']])
    await db.close()
  })

  it('writes what came before a producer pauses, though the batch is not full', async () => {
    const { db } = await openMemory()
    const stream = writeStream(db)
    for (let i = 0; i < 5; i++) {
      stream.write([pad(i), 'v'])
      await until(() => stream.opsWritten === i + 1)
      expect(db.getSync(pad(i))).toBe('v')
    }
    stream.end()
    await db.close()
  })

  it('holds a producer back while the store is slow: two batches are in memory, not more', async () => {
    const { db } = await openMemory()
    const gate = makeGate()
    const batch = db.batch.bind(db)
    let begun = 0
    db.batch = async (...args) => {
      begun++
      await gate.promise
      return batch(...args)
    }
    let given = 0
    const source = (async function* () {
      for await (const entry of numbered(1000, 1000)) {
        given++
        yield entry
      }
    })()
    const done = pipeline(Readable.from(source), writeStream(db, { batchBytes: 10_000 }))
    await until(() => begun === 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(begun).toBe(1)
    // Twice what a batch takes, and what the two streams between hold by themselves.
    expect(given).toBeLessThan(60)
    gate.resolve()
    await done
    expect((await db.keys().all()).length).toBe(1000)
    await db.close()
  })

  it('is destroyed by what the store refuses, and by what is no operation; what was committed is told', async () => {
    const { db } = await openMemory()
    const stream = writeStream(db, { batchBytes: 1 })
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve))
    stream.write(['a', '1'])
    await until(() => stream.position === 1)
    stream.write({ type: 'increment', key: 'a' })
    expect(await codeOf(async () => Promise.reject(await failed))).toBe('VARVE_INVALID_ARGUMENT')
    expect(stream.position).toBe(1)

    expect(await codeOf(() => pipeline(numbered(10, 20), writeStream(db as Database<string, string>)))).toBe(
      undefined,
    )
    const closed = writeStream(db)
    const ended = new Promise<Error>((resolve) => closed.once('error', resolve))
    closed.write(['z', '1'])
    await db.close()
    expect(await codeOf(async () => Promise.reject(await ended))).toBe('VARVE_CLOSED')
    const late = writeStream(db)
    expect(await codeOf(() => pipeline(numbered(3), late))).toBe('VARVE_CLOSED')
    expect(late.opsWritten).toBe(0)
  })

  it('writes nothing more once a signal has destroyed it', async () => {
    const { db } = await openMemory()
    const { signal, abort } = makeAbort()
    const endless = (async function* () {
      for (let i = 0; ; i++) {
        if (i === 5000) abort()
        yield [pad(i), 'v'] as const
      }
    })()
    const stream = writeStream(db, { batchBytes: 1000, signal })
    await expect(pipeline(endless, stream)).rejects.toThrow(/abort/)
    await until(() => stream.closed)
    const { position } = db
    expect(position).toBe(stream.position)
    expect((await db.keys().all()).length).toBe(stream.opsWritten)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(db.position).toBe(position)
    await db.close()
  })

  it('is a Web stream by toWeb', async () => {
    const { db } = await openMemory()
    await ReadableStream.from(numbered(500)).pipeTo(Writable.toWeb(writeStream(db, { batchBytes: 500 })))
    expect((await db.keys().all()).length).toBe(500)
    await db.close()
  })

  it.each([
    { batchBytes: 0 },
    { batchBytes: 1.5 },
    { durability: 'hope' },
    { batchSize: 3 },
  ])('%j is refused', async (options) => {
    const { db } = await openMemory()
    expect(await codeOf(() => writeStream(db, options as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => writeStream({} as never))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })
})

function makeAbort(): { signal: AbortSignal; abort(): void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

function makeGate(): { promise: Promise<void>; resolve(): void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve: () => resolve() }
}
