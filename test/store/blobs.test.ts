import { expect, test } from 'vitest'
import { blobFileName } from '../../src/env/file-names.js'
import type { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { restore } from '../../src/index.js'
import { repair } from '../../src/repair/repair.js'
import { codeOf, dump, failureOf, openMemory, recovered, STORE, TINY, until } from './helpers.js'

const OPTIONS: OpenOptions = { ...TINY, memtableBytes: 16 * 1024, blobMinBytes: 100, compression: 'none' }
const LARGE = 1000

function blobNames(fs: MemoryFileSystem, directory = STORE): string[] {
  return fs.list(directory).filter((name) => name.endsWith('.blob'))
}

function large(n: number): string {
  return `${n}-`.padEnd(LARGE, String.fromCharCode(97 + (n % 26)))
}

test('a large value stands apart after a flush, a small one does not, and every read gives both', async () => {
  const { db, env } = await openMemory(OPTIONS)
  const wanted: Record<string, string> = {}
  for (let n = 0; n < 8; n++) wanted[`k${n}`] = n % 2 === 0 ? large(n) : `small ${n}`
  for (const [key, value] of Object.entries(wanted)) await db.put(key, value)
  await db.flush()
  const { blobs, segmentBytes, diskBytes, logBytes } = db.stats()
  expect(blobs.files).toBe(1)
  expect(blobs.liveBytes).toBeGreaterThan(4 * LARGE)
  expect(segmentBytes).toBeLessThan(LARGE)
  expect(diskBytes).toBe(segmentBytes + blobs.bytes + logBytes)
  expect(await dump(db)).toEqual(wanted)
  expect(db.getSync('k2')).toBe(wanted.k2)
  expect(await db.has('k2')).toBe(true)
  expect(await db.getEntry('k2')).toEqual({ value: wanted.k2, position: 3 })
  expect([...db.valuesSync({ gte: 'k1', lt: 'k3' })]).toEqual([wanted.k1, wanted.k2])
  await db.close()
  expect(await recovered(env.fs, OPTIONS)).toEqual(wanted)
})

test('a merge copies no value that stands apart', async () => {
  const { db } = await openMemory(OPTIONS)
  for (let round = 0; round < 6; round++) {
    for (let n = 0; n < 8; n++) await db.put(`k${n}-${round}`, large(n))
    await db.flush()
  }
  const written = db.stats().blobs.bytes
  await db.compact()
  expect(db.stats().jobs.compactions).toBeGreaterThan(0)
  expect(db.stats().blobs.bytes).toBe(written)
  expect(db.stats().writeAmplification).toBeLessThan(1.3)
  await db.close()
})

test('the files go once nothing refers to them, and what is left of one that is mostly garbage is moved on', async () => {
  const { db, env } = await openMemory(OPTIONS)
  for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n))
  await db.flush()
  const [first] = blobNames(env.fs)
  for (let n = 0; n < 7; n++) await db.put(`k${n}`, large(n + 1))
  await db.compact()
  expect(await db.get('k7')).toBe(large(7))
  expect(await db.get('k0')).toBe(large(1))
  expect(db.stats().blobs.liveBytes).toBeLessThan(9 * LARGE)
  expect(db.stats().blobs.bytes).toBeLessThan(9 * LARGE)
  await db.close()
  expect(blobNames(env.fs)).not.toContain(first)
  const { db: again } = await openMemory(OPTIONS, env)
  await again.clear()
  await again.compact()
  expect(again.stats().blobs).toEqual({ files: 0, bytes: 0, liveBytes: 0 })
  await again.close()
  expect(blobNames(env.fs)).toEqual([])
})

test('without being asked, garbage does not outgrow what is alive', async () => {
  const { db } = await openMemory(OPTIONS)
  for (let round = 0; round < 40; round++) {
    for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n + round))
    await db.put(`stays ${round % 5}`, large(round))
    await db.flush()
  }
  while (db.stats().levels[0]!.segments >= 2) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(db.stats().blobs.bytes).toBeLessThan(13 * LARGE * 4)
  await db.close()
})

test('the merge that makes a file garbage is followed by one that moves on what is left', async () => {
  const { db } = await openMemory(OPTIONS)
  for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n))
  await db.compact()
  for (let n = 0; n < 7; n++) await db.put(`k${n}`, 'small now')
  await db.flush()
  await db.put('one', 'more segment of level 0')
  await db.flush()
  await until(() => db.stats().blobs.bytes < 2 * LARGE)
  expect(db.stats().blobs).toMatchObject({ files: 1, bytes: db.stats().blobs.liveBytes + 22 })
  expect(await db.get('k7')).toBe(large(7))
  await db.close()
})

test('a snapshot and an iterator keep what they see while the files go', async () => {
  const { db } = await openMemory(OPTIONS)
  for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n))
  await db.flush()
  const snapshot = db.snapshot()
  const iterator = db.entries()
  expect((await iterator.next()).value).toEqual(['k0', large(0)])
  await db.clear()
  await db.compact()
  expect(await db.get('k3', { snapshot })).toBe(large(3))
  expect((await iterator.next()).value).toEqual(['k1', large(1)])
  expect(await db.get('k3')).toBeUndefined()
  await iterator.return?.()
  snapshot.close()
  await db.compact()
  expect(db.stats().blobs.files).toBe(0)
  await db.close()
})

test('two reads of one value do not share memory', async () => {
  const { db } = await openMemory(OPTIONS)
  await db.put('k', large(1))
  // Larger ones are read on another thread.
  await db.put('larger', 'x'.repeat(300_000))
  await db.flush()
  const bytes = db.withEncodings<string, Buffer>({ valueEncoding: 'buffer' })
  const [first, second] = await bytes.getMany(['k', 'k'])
  first!.fill(0)
  expect(String(second)).toBe(large(1))
  const [third, fourth] = await bytes.getMany(['larger', 'larger'])
  third!.fill(0)
  expect(fourth!.every((byte) => byte === 120)).toBe(true)
  ;(await bytes.get('k'))!.fill(0)
  for await (const value of bytes.values()) value.fill(0)
  expect(await db.get('k')).toBe(large(1))
  await db.close()
})

test('what expires keeps its time apart from its value', async () => {
  const { db } = await openMemory(OPTIONS)
  const expiresAt = 4e12
  await db.put('k', large(1), { expiresAt })
  await db.compact()
  expect(db.stats().blobs.files).toBe(1)
  expect(await db.getEntry('k')).toEqual({ value: large(1), position: 1, expiresAt })
  expect(await db.entries().all()).toEqual([['k', large(1)]])
  await db.close()
})

test('the threshold may change: old values stay readable, and a merge sets them apart', async () => {
  const { db, env } = await openMemory({ ...OPTIONS, blobMinBytes: Number.POSITIVE_INFINITY })
  await db.put('a', large(1))
  await db.compact()
  expect(db.stats().blobs.files).toBe(0)
  await db.close()
  const { db: lower } = await openMemory(OPTIONS, env)
  await lower.put('b', large(2))
  await lower.compact()
  expect(lower.stats().blobs.liveBytes).toBeGreaterThan(2 * LARGE)
  await lower.close()
  expect(await recovered(env.fs, { ...OPTIONS, blobMinBytes: 1e9 })).toEqual({ a: large(1), b: large(2) })
})

test('a checkpoint, a restored store and a repaired one have the values too', async () => {
  const { db, env } = await openMemory({ ...OPTIONS, log: { maxBytes: 1 << 20 } })
  for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n))
  await db.checkpoint('/checkpoint')
  await db.put('later', large(9))
  const wanted = await dump(db)
  await db.close()
  await restore('/restored', { checkpoint: '/checkpoint', log: STORE, env })
  const restored = await openAt('/restored', env)
  expect(await dump(restored)).toEqual(wanted)
  await restored.close()
  env.fs.remove(`${STORE}/CURRENT`)
  const report = await repair(STORE, { env })
  expect(report.lost.every(({ kind }) => kind === 'manifest' || kind === 'history')).toBe(true)
  expect(await recovered(env.fs, OPTIONS)).toEqual(wanted)
})

test('a file that is damaged or missing is named, by reads, by verify and at opening, and repair gives up its values alone', async () => {
  const { db, env } = await openMemory(OPTIONS)
  for (let n = 0; n < 8; n++) await db.put(`k${n}`, large(n))
  await db.put('small', 'stays')
  await db.flush()
  await db.close()
  const [name] = blobNames(env.fs)
  const path = `${STORE}/${name}`
  const bytes = Buffer.from(env.fs.readFile(path))
  bytes[2500]! ^= 1
  env.fs.writeFile(path, bytes)
  const { db: again } = await openMemory(OPTIONS, env)
  const failure = await failureOf(() => again.get('k2'))
  expect([failure?.code, failure?.file]).toEqual(['VARVE_CORRUPTION', path])
  expect(await again.get('k1')).toBe(large(1))
  expect((await failureOf(() => again.verify()))?.file).toBe(path)
  await again.close()
  const report = await repair(STORE, { env })
  expect(report.lost.map(({ kind, file }) => [kind, file])).toEqual([['blob', path]])
  expect(report.damaged.map(({ file }) => file)).toEqual([path])
  const saved = await recovered(env.fs, OPTIONS)
  expect(Object.keys(saved)).toEqual(['k0', 'k1', 'k3', 'k4', 'k5', 'k6', 'k7', 'small'])
  env.fs.remove(path)
  const missing = await failureOf(() => openMemory(OPTIONS, env))
  expect([missing?.code, missing?.file]).toEqual(['VARVE_CORRUPTION', path])
  expect((await repair(STORE, { env })).lost.map(({ kind }) => kind)).toEqual(['blob'])
  expect(await recovered(env.fs, OPTIONS)).toEqual({ small: 'stays' })
})

test('a file that no segment refers to is removed at the next opening, others are not ours', async () => {
  const { db, env } = await openMemory(OPTIONS)
  await db.put('k', large(1))
  await db.close()
  env.fs.writeFile(`${STORE}/${blobFileName(4096)}`, Buffer.from('left by a crash'))
  env.fs.writeFile(`${STORE}/notes.blob`, Buffer.from('not ours'))
  const { db: again } = await openMemory(OPTIONS, env)
  expect(env.fs.list(STORE)).not.toContain(blobFileName(4096))
  expect(env.fs.list(STORE)).toContain('notes.blob')
  await again.close()
})

test('blobMinBytes is checked', async () => {
  for (const blobMinBytes of [31, 0, -1, 1.5, Number.NaN, '64'])
    expect(await codeOf(() => openMemory({ blobMinBytes } as OpenOptions))).toBe('VARVE_INVALID_ARGUMENT')
})

async function openAt(path: string, env: ReturnType<typeof memoryEnv>) {
  const { open } = await import('../../src/database.js')
  return open(path, { ...OPTIONS, env, createIfMissing: false } as OpenOptions)
}
