import { describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { VarveError } from '../../src/errors.js'
import type { OpenOptions } from '../../src/index.js'
import { dump, openMemory, pad, STORE } from './helpers.js'

/** Short logs: the room that they make ahead holds nothing to damage. */
const OPTIONS: OpenOptions = {
  workers: 0,
  memory: 2 ** 20,
  memtableBytes: 4096,
  blockBytes: 200,
  segmentBytes: 1200,
}
/** Cases for each file and kind of damage. */
const CASES_MAX = 1500

type Kind = 'log' | 'segment' | 'manifest' | 'CURRENT'

/** A store closed cleanly: segments of two levels, a range tombstone, and a log that no flush has taken. */
async function closedStore(): Promise<{ fs: MemoryFileSystem; wanted: string }> {
  const { db, env } = await openMemory(OPTIONS)
  for (let i = 0; i < 30; i++) void db.put(pad(i), `value ${i}`.repeat(4))
  await db.compact()
  for (let i = 0; i < 10; i++) void db.put(pad(i * 2), `second ${i}`)
  await db.clear({ gte: pad(21), lt: pad(24) })
  await db.flush()
  await db.batch([
    { type: 'put', key: 'in the log', value: 'x'.repeat(40) },
    { type: 'del', key: pad(1) },
  ])
  for (let i = 0; i < 4; i++) await db.put(`log ${i}`, 'y'.repeat(30), { durability: 'disk' })
  const wanted = JSON.stringify(await dump(db))
  await db.close()
  return { fs: env.fs, wanted }
}

function filesOf(fs: MemoryFileSystem, kind: Kind): string[] {
  const pattern = { log: /\.log$/, segment: /\.seg$/, manifest: /^MANIFEST/, CURRENT: /^CURRENT$/ }[kind]
  return fs.list(STORE).filter((name) => pattern.test(name))
}

/** `same`, or the code and file of the error; anything else is a failure of the test. */
async function verdict(fs: MemoryFileSystem, wanted: string): Promise<string> {
  const env = memoryEnv({ fs })
  const found = await verdictIn(env, wanted)
  return env.fs.hasLocks() ? 'a lock is still held' : found
}

async function verdictIn(env: MemoryEnv, wanted: string): Promise<string> {
  try {
    const { db } = await openMemory(OPTIONS, env)
    try {
      const found = JSON.stringify(await dump(db))
      if (found !== wanted) return `different data: ${found}`
      return 'same'
    } finally {
      await db.close()
    }
  } catch (error) {
    if (!(error instanceof VarveError)) return `untyped: ${error}`
    if (error.file === undefined) return `${error.code} without a file`
    return `${error.code} ${error.file}`
  }
}

const FOUND = /^(same|VARVE_(CORRUPTION|FORMAT_VERSION|INVALID_ARGUMENT) \/store\/.+)$/

async function check(
  original: MemoryFileSystem,
  wanted: string,
  damage: (fs: MemoryFileSystem) => string,
): Promise<string> {
  const fs = original.clone()
  const path = damage(fs)
  const bytes = fs.stat(path) ? Buffer.from(fs.readFile(path)) : undefined
  const first = await verdict(fs.clone(), wanted)
  const isKnown = FOUND.test(first)
  if (!isKnown) throw new Error(`${path}: ${first}`)
  if (first === 'same') return first
  // Damage that was found stays found, and is never repaired by taking the evidence away.
  const second = await verdict(fs, wanted)
  if (second !== first) throw new Error(`${path}: first ${first}, then ${second}`)
  if (bytes && Buffer.compare(bytes, fs.readFile(path)) !== 0) throw new Error(`${path} was changed`)
  return first
}

function sample(count: number, max: number): number[] {
  const step = Math.max(1, count / max)
  return Array.from({ length: Math.min(count, max) }, (_, i) => Math.floor(i * step))
}

function patch(fs: MemoryFileSystem, path: string, change: (bytes: Buffer) => Uint8Array): string {
  fs.writeFile(path, change(Buffer.from(fs.readFile(path))))
  return path
}

function pathsOf(fs: MemoryFileSystem, kind: Kind): { path: string; length: number }[] {
  return filesOf(fs, kind).map((name) => ({
    path: `${STORE}/${name}`,
    length: fs.readFile(`${STORE}/${name}`).length,
  }))
}

const KINDS: Kind[] = ['log', 'segment', 'manifest', 'CURRENT']

describe.each(KINDS)('damage to the %s', (kind) => {
  it('by one bit of any byte gives the same data or a typed error with a file, twice the same', async () => {
    const { fs, wanted } = await closedStore()
    const seen = new Map<string, number>()
    const files = pathsOf(fs, kind)
    expect(files.length).toBeGreaterThan(0)
    for (const { path, length } of files) {
      for (const at of sample(length, CASES_MAX / files.length / 2)) {
        for (const mask of [0x01, 0x80]) {
          const found = await check(fs, wanted, (copy) =>
            patch(copy, path, (bytes) => {
              bytes[at]! ^= mask
              return bytes
            }),
          )
          const code = found.split(' ')[0]!
          seen.set(code, (seen.get(code) ?? 0) + 1)
        }
      }
    }
    // The detector fires: checksums cover everything but the last record, which a crash may have torn.
    expect(seen.get('VARVE_CORRUPTION')).toBeGreaterThan(20)
    expect(seen.get('same') ?? 0).toBeLessThanOrEqual(kind === 'log' || kind === 'manifest' ? 80 : 0)
  })

  it('by cutting it at any length never gives other data', async () => {
    const { fs, wanted } = await closedStore()
    const files = pathsOf(fs, kind)
    for (const { path, length } of files) {
      for (const at of sample(length, CASES_MAX / files.length / 4)) {
        await check(fs, wanted, (copy) => patch(copy, path, (bytes) => bytes.subarray(0, at)))
      }
    }
  })

  it('by adding bytes never gives other data', async () => {
    const { fs, wanted } = await closedStore()
    for (const { path } of pathsOf(fs, kind)) {
      for (const added of [Buffer.alloc(1), Buffer.alloc(100), Buffer.alloc(4096, 0xff), fs.readFile(path)]) {
        await check(fs, wanted, (copy) => patch(copy, path, (bytes) => Buffer.concat([bytes, added])))
      }
    }
  })

  it('by removing, emptying, zeroing or exchanging it never gives other data', async () => {
    const { fs, wanted } = await closedStore()
    const everything = KINDS.flatMap((other) => pathsOf(fs, other))
    for (const { path, length } of pathsOf(fs, kind)) {
      const removed = await check(fs, wanted, (copy) => {
        copy.remove(path)
        return path
      })
      expect(removed).toMatch(/^VARVE_CORRUPTION/)
      expect(await check(fs, wanted, (copy) => patch(copy, path, () => Buffer.alloc(0)))).not.toBe('same')
      expect(await check(fs, wanted, (copy) => patch(copy, path, () => Buffer.alloc(length)))).not.toBe(
        'same',
      )
      for (const other of everything) {
        if (other.path === path) continue
        expect(await check(fs, wanted, (copy) => patch(copy, path, () => fs.readFile(other.path)))).not.toBe(
          'same',
        )
      }
    }
  })
})

describe('damage to the LOCK file', () => {
  it('is no damage: it holds no data', async () => {
    const { fs, wanted } = await closedStore()
    const path = `${STORE}/LOCK`
    expect(await check(fs, wanted, (copy) => patch(copy, path, () => Buffer.from('nonsense')))).toBe('same')
    const removed = fs.clone()
    removed.remove(path)
    expect(await verdict(removed, wanted)).toBe('same')
  })
})
