import { describe, expect, it } from 'vitest'
import { runJob } from '../../src/compaction/run-job.js'
import type { AnyJob, FlushJob } from '../../src/compaction/segment-job.js'
import type { BackgroundWorker, WorkerHandlers } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { Snapshot } from '../../src/index.js'
import { codeOf, dump, type OpenedStore, openMemory, TINY } from './helpers.js'

type Db = OpenedStore['db']

/** Keeps all of its log; a large memtable, so that tests say when one is full. */
const KEPT = {
  ...TINY,
  memtableBytes: 64 * 1024,
  blobMinBytes: 1000,
  l0SegmentsMax: 100,
  workers: 1,
  durability: 'disk' as const,
  log: { maxBytes: 1 << 20 },
}
const BLOB = 'blob'.repeat(500)
const FAR_AWAY = 4_000_000_000_000

/** An environment whose thread does nothing before it is let; then each job as soon as it comes. */
function withHeldThread(): {
  env: MemoryEnv
  logCounts: number[]
  logBytes: number[]
  letGo: () => void
} {
  const inner = memoryEnv({ seed: 7 })
  const logCounts: number[] = []
  const logBytes: number[] = []
  const note = (logs: FlushJob['logs']) => {
    logCounts.push(logs.length)
    logBytes.push(logs.reduce((sum, log) => sum + log.logBytes, 0))
  }
  const held: (() => void)[] = []
  let isHeld = true
  const startWorker = ({ onResult, onError }: WorkerHandlers): BackgroundWorker => ({
    run(id, job) {
      const run = () => {
        if (job.kind === 'flush') note((job as FlushJob).logs)
        try {
          const steps = runJob(inner, job as AnyJob)
          let step = steps.next()
          while (!step.done) step = steps.next()
          const { value } = step
          queueMicrotask(() => onResult(id, value))
        } catch (error) {
          queueMicrotask(() => onError(id, error))
        }
      }
      if (isHeld) held.push(run)
      else run()
    },
    terminate: () => Promise.resolve(),
  })
  const letGo = () => {
    isHeld = false
    for (const run of held.splice(0)) run()
  }
  return { env: { ...inner, startWorker } as MemoryEnv, logCounts, logBytes, letGo }
}

interface Left {
  readonly wanted: Record<string, string>
  readonly position: number
}

interface Waiting extends Left {
  readonly db: Db
  readonly env: MemoryEnv
  readonly logCounts: readonly number[]
  readonly snapshot: Snapshot
  /** What the snapshot holds. */
  readonly between: Record<string, string>
  letGo(): void
  flushed(): Promise<unknown>
}

/** The active memtable waits from now on. */
function waiting(db: Db): Promise<void> {
  const flushed = db.flush()
  flushed.catch(() => {})
  return flushed
}

/** Three memtables wait: the first one is being flushed, the other two come together. */
async function threeWaiting(options = KEPT): Promise<Waiting> {
  const { env, logCounts, letGo } = withHeldThread()
  const { db } = await openMemory(options, env)
  const flushes: Promise<void>[] = []
  const moved = await db.consumer('moved', { from: 'start' })
  const dropped = await db.consumer('dropped', { from: 'start' })
  for (let i = 0; i < 6; i++) await db.put(`key${i}`, 'first')
  flushes.push(waiting(db))
  for (let i = 1; i < 6; i++) await db.put(`key${i}`, 'second')
  for (let i = 0; i < 4; i++) await db.put(`hidden${i}`, 'second')
  await db.put('blob', BLOB)
  await db.put('blob-gone', BLOB)
  await db.put('expires', 'later', { expiresAt: FAR_AWAY })
  await moved.seek(3)
  const between = await dump(db)
  const snapshot = db.snapshot()
  flushes.push(waiting(db))
  for (let i = 2; i < 6; i++) await db.put(`key${i}`, 'third')
  await db.clear({ gte: 'hidden', lt: 'hidden9' })
  await db.put('hidden3', 'third')
  await db.del('key5')
  await db.del('key0')
  await db.put('blob-gone', 'small now')
  await moved.seek(5)
  await dropped.drop()
  const wanted = await dump(db)
  const position = db.position
  flushes.push(waiting(db))
  return {
    db,
    env,
    logCounts,
    snapshot,
    wanted,
    between,
    position,
    letGo,
    flushed: () => Promise.all(flushes),
  }
}

/** Everything that a crash may not have touched, in a store opened anew, and once more after that. */
async function checkLeft(fs: MemoryFileSystem, { wanted, position }: Left): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const { db } = await openMemory({ ...KEPT, workers: 0 }, memoryEnv({ fs }))
    expect(await dump(db)).toEqual(wanted)
    expect(db.position).toBe(position)
    expect((await db.getEntry('expires'))?.expiresAt).toBe(FAR_AWAY)
    expect(db.stats().consumers).toMatchObject([{ name: 'moved', position: 5 }])
    const positions: number[] = []
    for await (const change of db.changes({ after: 0 })) positions.push(change.position)
    expect(positions).toEqual(Array.from({ length: position }, (_, i) => i + 1))
    await db.verify()
    await db.close()
  }
}

describe('memtables that wait together', () => {
  it('become one segment, which hides, keeps and forgets what each of them did', async () => {
    const waiting = await threeWaiting()
    const { db, env, logCounts, snapshot, between, wanted } = waiting
    const logNumbers: number[] = []
    db.on('flush.ended', ({ logNumber }) => logNumbers.push(logNumber))
    waiting.letGo()
    await waiting.flushed()
    expect(logCounts).toEqual([1, 2])
    expect(db.stats().levels[0]!.segments).toBe(2)
    expect(db.stats().jobs.flushes).toBe(2)
    expect(logNumbers).toHaveLength(2)
    expect(await dump(db)).toEqual(wanted)
    expect(Object.fromEntries(await db.entries({ snapshot }).all())).toEqual(between)
    for (const [key, value] of Object.entries(between)) expect(await db.get(key, { snapshot })).toBe(value)
    snapshot.close()
    await db.compact()
    expect(await dump(db)).toEqual(wanted)
    await db.close()
    await checkLeft(env.fs.crash('strict'), waiting)
  })

  it('are all there after a crash at any step of it, their log included', { timeout: 60_000 }, async () => {
    const waiting = await threeWaiting()
    const left: { name: string; fs: MemoryFileSystem }[] = []
    const { fs } = waiting.env
    fs.onStep = ({ index, op, path }) => {
      for (const state of fs.crashStates())
        left.push({ name: `${index} ${op} ${path} ${state.name}`, fs: state.fs })
    }
    waiting.letGo()
    await waiting.flushed()
    fs.onStep = undefined
    await waiting.db.close()
    expect(left.length).toBeGreaterThan(50)
    for (const { name, fs } of left) {
      await checkLeft(fs, waiting).catch((cause: unknown) => {
        throw new Error(`a crash before ${name}`, { cause })
      })
    }
  })

  it('lose nothing where their segment cannot be written', async () => {
    const waiting = await threeWaiting()
    const { db, env } = waiting
    const counter = env.fs.inject({ op: 'write', path: /\.seg$/, nth: 2, effect: { errno: 'EIO' } })
    waiting.letGo()
    expect(await codeOf(() => waiting.flushed())).toBe('VARVE_IO')
    expect(counter.fired).toBe(1)
    expect(await dump(db)).toEqual(waiting.wanted)
    expect(await codeOf(() => db.put('late', 'x'))).toBe('VARVE_POISONED')
    expect(await codeOf(() => db.close())).toBe('VARVE_IO')
    env.fs.clearFaults()
    await checkLeft(env.fs.crash('strict'), waiting)
  })

  it('are written by a store that closes meanwhile, or are in its log', async () => {
    const waiting = await threeWaiting()
    waiting.snapshot.close()
    const closed = waiting.db.close()
    waiting.letGo()
    await closed
    expect(waiting.env.fs.openFiles()).toEqual([])
    await checkLeft(waiting.env.fs.crash('strict'), waiting)
  })

  it('are no more of them than two full ones together, since they stay in memory', async () => {
    const { env, logCounts, logBytes, letGo } = withHeldThread()
    const { db } = await openMemory({ ...KEPT, memtableBytes: 4096 }, env)
    let rotations = 0
    db.on('log.rotated', () => rotations++)
    for (let i = 0; rotations < 6; i++) void db.put(`key${i}`, 'x'.repeat(500))
    letGo()
    await db.flush()
    expect(logCounts.reduce((sum, count) => sum + count)).toBe(7)
    expect(logCounts.length).toBeLessThan(7)
    for (const bytes of logBytes) expect(bytes).toBeLessThanOrEqual(2 * 4096)
    await db.close()
  })
})
