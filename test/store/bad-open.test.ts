import { spawn } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { codeOf, contents, dump, failureOf, openMemory, STORE, TINY } from './helpers.js'

const KILL_MS = 15_000

function bytesOf(text: string): Uint8Array {
  return Buffer.from(text)
}

async function smallStore(options: OpenOptions = {}): Promise<MemoryFileSystem> {
  const { db, env } = await openMemory(options)
  await db.put('a', '1')
  await db.flush()
  await db.put('b', '2')
  await db.close()
  return env.fs
}

describe('options', () => {
  it.each([
    { keyEncoding: 'latin1' },
    { keyEncoding: null },
    { keyEncoding: {} },
    { keyEncoding: { encode: () => new Uint8Array() } },
    { valueEncoding: 'tuple' },
    { valueEncoding: 5 },
    { createIfMissing: 1 },
    { errorIfExists: 'no' },
    { readOnly: 0 },
    { readOnly: true, errorIfExists: true },
    { durability: 'always' },
    { durability: { intervalMs: 2 ** 31 } },
    { memory: 1 },
    { memory: '1' },
    { memory: Number.POSITIVE_INFINITY },
    { compression: 'zstd' },
    { compaction: 'none' },
    { workers: -1 },
    { workers: 5 },
    { workers: 1.5 },
    { log: { maxBytes: -1 } },
    { log: { maxAgeMs: 'x' } },
    { log: { pinnedMaxBytes: Number.NaN } },
    { memtableBytes: 10 },
    { segmentBytes: 0 },
    { blockBytes: 0 },
    { levelRatio: 1 },
    { l0SegmentsMax: 0 },
    { createIfMising: true },
    { cacheSize: 5 },
  ])('%j are refused, and no directory is made', async (options) => {
    const env = memoryEnv()
    expect(await codeOf(() => open(STORE, { ...options, env } as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(env.fs.list('/')).toEqual([])
  })

  it.each([
    undefined,
    null,
    '',
    5,
    {},
    'a\0b',
    Buffer.from('/store'),
  ])('%j is refused as a path', async (path) => {
    const env = memoryEnv()
    expect(await codeOf(() => open(path as string, { env } as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(env.fs.list('/')).toEqual([])
  })

  it('errorIfExists refuses a store that is there, and takes an empty directory', async () => {
    const fs = await smallStore()
    const before = contents(fs)
    const env = memoryEnv({ fs })
    expect(await codeOf(() => openMemory({ errorIfExists: true }, env))).toBe('VARVE_INVALID_ARGUMENT')
    expect(contents(fs)).toEqual(before)
    const empty = memoryEnv()
    empty.fs.makeDirectory(STORE)
    await (await openMemory({ errorIfExists: true }, empty)).db.close()
  })

  it('createIfMissing: false refuses a missing and an empty directory, and makes nothing', async () => {
    const env = memoryEnv()
    expect(await codeOf(() => openMemory({ createIfMissing: false }, env))).toBe('VARVE_INVALID_ARGUMENT')
    expect(env.fs.list('/')).toEqual([])
    env.fs.makeDirectory(STORE)
    expect(await codeOf(() => openMemory({ createIfMissing: false }, env))).toBe('VARVE_INVALID_ARGUMENT')
    expect(env.fs.list(STORE)).toEqual([])
    const there = memoryEnv({ fs: await smallStore() })
    const { db } = await openMemory({ createIfMissing: false }, there)
    expect(await dump(db)).toEqual({ a: '1', b: '2' })
    await db.close()
  })
})

describe('a directory of something else', () => {
  it('is refused with VARVE_INVALID_ARGUMENT where the path is a file, which stays', async () => {
    const env = memoryEnv()
    env.fs.writeFile('/store', bytesOf('hello'))
    expect(await codeOf(() => openMemory({}, env))).toBe('VARVE_INVALID_ARGUMENT')
    expect(Buffer.from(env.fs.readFile('/store')).toString()).toBe('hello')
  })

  it.each(['readme.txt', '000001.sst', 'Varve', 'data.mdb'])('is refused where it holds %s', async (name) => {
    const env = memoryEnv()
    env.fs.makeDirectory(STORE)
    env.fs.writeFile(`${STORE}/${name}`, bytesOf('precious'))
    const before = contents(env.fs)
    const failure = await failureOf(() => openMemory({}, env))
    expect(failure).toMatchObject({ code: 'VARVE_FORMAT_VERSION', file: `${STORE}/${name}` })
    expect(contents(env.fs)).toEqual(before)
  })

  it('is refused where it is a LevelDB store, which stays as it is', async () => {
    const env = memoryEnv()
    env.fs.makeDirectory(STORE)
    const names = ['000005.ldb', '000003.log', 'CURRENT', 'LOCK', 'LOG', 'MANIFEST-000002']
    for (const name of names) env.fs.writeFile(`${STORE}/${name}`, bytesOf(name === 'LOCK' ? '' : name))
    env.fs.writeFile(`${STORE}/CURRENT`, bytesOf('MANIFEST-000002\n'))
    const before = contents(env.fs)
    expect(['VARVE_FORMAT_VERSION', 'VARVE_CORRUPTION']).toContain(await codeOf(() => openMemory({}, env)))
    expect(contents(env.fs)).toEqual(before)
    expect(env.fs.hasLocks()).toBe(false)
    expect(env.fs.openFiles()).toEqual([])
  })

  it.each([
    '000003.log',
    '000004.seg',
  ])('is a damaged store where %s is there without CURRENT', async (name) => {
    const env = memoryEnv()
    env.fs.makeDirectory(STORE)
    env.fs.writeFile(`${STORE}/${name}`, bytesOf('x'))
    const before = contents(env.fs)
    expect(await failureOf(() => openMemory({}, env))).toMatchObject({
      code: 'VARVE_CORRUPTION',
      file: `${STORE}/CURRENT`,
    })
    expect(contents(env.fs)).toEqual(before)
  })

  it.each(['.gitkeep', 'lost+found'])('is taken where it holds only %s, which stays', async (name) => {
    const env = memoryEnv()
    env.fs.makeDirectory(STORE)
    env.fs.writeFile(`${STORE}/${name}`, bytesOf('x'))
    const { db } = await openMemory({}, env)
    await db.close()
    expect(env.fs.list(STORE)).toContain(name)
  })

  it('keeps foreign files beside a store through open, flush, compact and close', async () => {
    const fs = await smallStore()
    const foreign = ['notes.txt', '0000001.log', 'MANIFEST-1', '000001.seg.bak', 'x.log.tmp']
    for (const name of foreign) fs.writeFile(`${STORE}/${name}`, bytesOf(name))
    const { db } = await openMemory(TINY, memoryEnv({ fs }))
    await db.put('c', '3')
    await db.compact()
    await db.close()
    for (const name of foreign) expect(contents(fs)[name]).toBe(Buffer.from(name).toString('hex'))
  })
})

/** Another format version in a file whose checksum is right again. */
function patchVersion(fs: MemoryFileSystem, name: string, at: number, crcStart: number, crcAt: number): void {
  const bytes = Buffer.from(fs.readFile(`${STORE}/${name}`))
  bytes.writeUInt32LE(99, at)
  bytes.writeUInt32LE(crc32(bytes.subarray(crcStart, crcAt)), crcAt)
  fs.writeFile(`${STORE}/${name}`, bytes)
}

describe('a newer format', () => {
  const isKind = { log: /\.log$/, segment: /\.seg$/, manifest: /^MANIFEST/ }
  it.each([
    'log',
    'segment',
    'manifest',
  ] as const)('of a %s is VARVE_FORMAT_VERSION and changes nothing', async (kind) => {
    const fs = await smallStore()
    const name = fs
      .list(STORE)
      .filter((file) => isKind[kind].test(file))
      .at(-1)!
    const { length } = fs.readFile(`${STORE}/${name}`)
    if (kind === 'log') patchVersion(fs, name, 8, 0, 92)
    if (kind === 'segment') patchVersion(fs, name, length - 72 + 8, length - 72, length - 4)
    if (kind === 'manifest') patchVersion(fs, name, 8, 0, 28)
    const before = contents(fs)
    for (const readOnly of [false, true]) {
      const failure = await failureOf(() => openMemory({ readOnly }, memoryEnv({ fs })))
      expect(failure).toMatchObject({ code: 'VARVE_FORMAT_VERSION', file: `${STORE}/${name}` })
    }
    expect(contents(fs)).toEqual(before)
    expect(fs.openFiles()).toEqual([])
    expect(fs.hasLocks()).toBe(false)
  })
})

describe('a read-only store', () => {
  it('refuses every write, sees the log, and changes no byte on disk', async () => {
    const fs = await smallStore(TINY)
    fs.remove(`${STORE}/LOCK`)
    const before = contents(fs)
    const steps = fs.stepCount
    const { db } = await openMemory({ ...TINY, readOnly: true }, memoryEnv({ fs }))
    expect(await dump(db)).toEqual({ a: '1', b: '2' })
    expect([db.position, db.durablePosition]).toEqual([2, 2])
    const writes: (() => unknown)[] = [
      () => db.put('a', 'x'),
      () => db.put('a', 'x', { ifPosition: null }),
      () => db.del('a'),
      () => db.batch([]),
      () => db.batch([{ type: 'put', key: 'a', value: 'x' }]),
      () => db.clear(),
      () => db.sync(),
      () => db.flush(),
      () => db.compact(),
      () => db.checkpoint('/copy'),
    ]
    for (const write of writes) expect(await codeOf(write)).toBe('VARVE_READ_ONLY')
    expect((await db.verify()).segments).toBe(1)
    expect(db.stats().position).toBe(2)
    await db.close()
    expect(contents(fs)).toEqual(before)
    expect(fs.stepCount).toBe(steps)
    expect(fs.list('/')).toEqual(['store'])
  })

  it('takes no lock: it opens beside a writer and sees what was handed to the system', async () => {
    const { db, env } = await openMemory({ durability: 'os' })
    await db.put('a', '1')
    const reader = await openMemory({ readOnly: true }, env)
    await db.put('a', '2')
    expect(await reader.db.get('a')).toBe('1')
    await reader.db.close()
    await db.close()
  })

  it('is refused where there is no store', async () => {
    expect(await codeOf(() => openMemory({ readOnly: true }))).toBe('VARVE_INVALID_ARGUMENT')
  })
})

describe('a locked directory', () => {
  it('is VARVE_LOCKED with the pid within one process, until it is closed', async () => {
    const { db, env } = await openMemory()
    expect(await failureOf(() => openMemory({}, env))).toMatchObject({
      code: 'VARVE_LOCKED',
      pid: process.pid,
    })
    await db.put('still', 'works')
    await db.close()
    const again = await openMemory({}, env)
    expect(await again.db.get('still')).toBe('works')
    await again.db.close()
  })

  it('is VARVE_LOCKED with the pid across processes, and free once the holder is killed', async () => {
    const directory = realpathSync(mkdtempSync(join(tmpdir(), 'varve-lock-')))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const entry = new URL('../../dist/index.js', import.meta.url).href
    const program = `const { open } = await import(${JSON.stringify(entry)})
      const db = await open(process.argv[1], { workers: 0 })
      await db.put('a', '1')
      console.log('open')
      setTimeout(() => process.exit(3), ${KILL_MS})`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, directory], {
      timeout: KILL_MS,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), exited])
    const failure = await failureOf(() => open(directory, { workers: 0 }))
    child.kill('SIGKILL')
    await exited
    expect(failure).toMatchObject({ code: 'VARVE_LOCKED', pid: child.pid })
    const db = await open(directory, { workers: 0 })
    expect(await db.get('a')).toBe('1')
    await db.close()
  })
})

describe('a closed store', () => {
  it('answers VARVE_CLOSED to every method but on, resume and close', async () => {
    const { db } = await openMemory()
    await db.put('a', '1')
    const iterator = db.entries()
    const snapshot = db.snapshot()
    await db.close()
    const calls: (() => unknown)[] = [
      () => db.put('a', '1'),
      () => db.put('a', '1', { ifPosition: 1 }),
      () => db.del('a'),
      () => db.batch([]),
      () => db.batch([], { check: [{ key: 'a', position: 1 }] }),
      () => db.clear(),
      () => db.sync(),
      () => db.get('a'),
      () => db.get('a', { snapshot }),
      () => db.getSync('a'),
      () => db.getMany(['a']),
      () => db.getMany([]),
      () => db.getEntry('a'),
      () => db.has('a'),
      () => db.entries(),
      () => db.keys(),
      () => db.values(),
      () => db.entriesSync(),
      () => db.keysSync(),
      () => db.valuesSync(),
      () => db.snapshot(),
      () => db.flush(),
      () => db.compact(),
      () => db.checkpoint('/copy'),
      () => db.verify(),
      () => db.stats(),
      () => db.approximateSize({}),
      () => iterator.next(),
    ]
    for (const call of calls)
      expect([call.toString(), await codeOf(call)]).toEqual([call.toString(), 'VARVE_CLOSED'])
    snapshot.close()
    await db.close()
    expect(db.position).toBe(1)
  })
})
