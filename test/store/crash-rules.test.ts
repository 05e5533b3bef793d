import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { runJob } from '../../src/compaction/run-job.js'
import type { AnyJob, AnyResult, MergeJob, SegmentsWritten } from '../../src/compaction/segment-job.js'
import type { BackgroundWorker, Env, WorkerHandlers } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES, readFrameHeader } from '../../src/log/log-format.js'
import { codeOf, dump, failureOf, nameOf, openMemory, pad, recovered, STORE, TINY, until } from './helpers.js'
import { ManualClock } from './manual-clock.js'

interface Tampering {
  readonly job?: (job: AnyJob) => AnyJob
  readonly result?: (result: AnyResult) => AnyResult
}

/** An environment with threads that run here, and what they did to files other than reading them. */
function withWorkers({ job: tamper, result }: Tampering = {}): {
  env: MemoryEnv & Env
  changed: Set<string>
} {
  const inner = memoryEnv()
  const changed = new Set<string>()
  const fs = new Proxy(inner.fs, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        const isRead = name === 'stat' || name === 'list' || (name === 'open' && args[1] === 'read')
        if (!isRead) changed.add(nameOf(String(args[0])))
        return value.apply(target, args)
      }
    },
  })
  const startWorker = (handlers: WorkerHandlers): BackgroundWorker => ({
    run(id, job) {
      try {
        const steps = runJob({ ...inner, fs }, tamper ? tamper(job as AnyJob) : (job as AnyJob))
        let step = steps.next()
        while (!step.done) step = steps.next()
        const answer = result ? result(step.value) : step.value
        queueMicrotask(() => handlers.onResult(id, answer))
      } catch (error) {
        queueMicrotask(() => handlers.onError(id, error))
      }
    },
    terminate: () => Promise.resolve(),
  })
  return { env: { ...inner, startWorker }, changed }
}

const THREADED = { ...TINY, workers: 1 }

/** Writes until the store stops; what was acknowledged. */
async function writeUntilStopped(
  env: MemoryEnv,
): Promise<{ code: string | undefined; acknowledged: number }> {
  const { db } = await openMemory(THREADED, env)
  let acknowledged = 0
  for (let i = 0; i < 120; i++) {
    if ((await codeOf(() => db.put(pad(i), `${i} `.repeat(30)))) !== undefined) break
    acknowledged++
  }
  const code = await codeOf(() => db.compact())
  const { health } = db.stats()
  await codeOf(() => db.close())
  return { code: (health as { code?: string } | undefined)?.code ?? code, acknowledged }
}

function withOutputs(result: AnyResult, change: Partial<SegmentsWritten['segments'][0]>): AnyResult {
  if (result.kind !== 'written') return result
  return { ...result, segments: result.segments.map((meta) => ({ ...meta, ...change })) }
}

describe('what a thread has made', () => {
  it('is segments and nothing else: the log, the manifest, CURRENT and LOCK are never its business', async () => {
    const { env, changed } = withWorkers()
    expect(await writeUntilStopped(env)).toEqual({ code: undefined, acknowledged: 120 })
    expect(changed.size).toBeGreaterThan(5)
    const others = [...changed].filter((name) => !/^(\d+\.seg|store)$/.test(name))
    expect(others).toEqual([])
  })

  it.each<[string, Tampering]>([
    [
      'a merge whose entries do not add up',
      {
        job: (job) => {
          if (job.kind !== 'merge') return job
          const runs = job.runs.map((run) =>
            run.map((meta) => ({ ...meta, entryCount: meta.entryCount + 1 })),
          )
          return { ...job, runs } satisfies MergeJob
        },
      },
    ],
    ['a segment of another size', { result: (result) => withOutputs(result, { sizeBytes: 77 }) }],
    ['a segment that is not there', { result: (result) => withOutputs(result, { number: 900 }) }],
  ])('is checked before it counts: %s stops the store, and nothing is lost', async (_, tampering) => {
    const { env } = withWorkers(tampering)
    const { code, acknowledged } = await writeUntilStopped(env)
    expect([code, acknowledged > 3]).toEqual(['VARVE_CORRUPTION', true])
    expect(Object.keys(await recovered(env.fs)).length).toBeGreaterThanOrEqual(acknowledged)
  })
})

describe('an error of a read', () => {
  it.each([
    '\\.log$',
    'MANIFEST',
    'CURRENT',
  ])('is not the end of the file: opening fails typed, %s', async (name) => {
    const { db, env } = await openMemory({ ...TINY, durability: 'os' })
    for (let i = 0; i < 30; i++) await db.put(pad(i), `${i} `.repeat(30))
    const left = env.fs.clone()
    const wanted = await dump(db)
    await db.close()
    for (let nth = 1; ; nth++) {
      const fs = left.clone()
      const counter = fs.inject({ op: 'read', path: new RegExp(name), nth, effect: { errno: 'EIO' } })
      const failure = await failureOf(() => recovered(fs))
      if (counter.fired === 0) {
        expect(nth).toBeGreaterThan(1)
        break
      }
      expect(failure?.code).toBe('VARVE_IO')
      expect(await recovered(fs)).toEqual(wanted)
    }
  })
})

describe('a damaged frame in the middle of the log of a killed store', () => {
  /** What opening says of each damaged byte of the first frame. */
  async function verdicts(durability: 'os' | 'disk'): Promise<Set<string>> {
    const { db, env } = await openMemory({ ...TINY, durability })
    for (let i = 0; i < 6; i++) await db.put(pad(i), `value ${i}`)
    const left = env.fs.clone()
    await db.close()
    const path = `${STORE}/${left.list(STORE).find((name) => name.endsWith('.log'))}`
    const whole = left.readFile(path)
    const found = new Set<string>()
    const frame = readFrameHeader(Buffer.from(whole), LOG_HEADER_BYTES)
    for (let at = 0; at < FRAME_HEADER_BYTES + frame.bodyBytes; at++) {
      const fs = left.clone()
      const bytes = Buffer.from(whole)
      bytes[LOG_HEADER_BYTES + at]! ^= 0x81
      fs.writeFile(path, bytes)
      const failure = await failureOf(async () =>
        found.add(`${Object.keys(await recovered(fs)).length} keys`),
      )
      if (failure) found.add(`${failure.code} ${failure.file}`)
    }
    return found
  }

  it('refuses it where later frames prove that it was synced, whichever byte it is, of the length too', async () => {
    expect(await verdicts('disk')).toEqual(new Set([`VARVE_CORRUPTION ${STORE}/000002.log`]))
  })

  it('ends it where nothing was synced, as a torn write would', async () => {
    expect(await verdicts('os')).toEqual(new Set(['0 keys']))
  })
})

describe('the order of keys', () => {
  it('is that of their bytes, which is not that of strings in JavaScript', async () => {
    const keys = ['', '\0', 'a', 'a\0', 'b', '\u00e9', '\uff5e', '\u{1f600}']
    expect([...keys].sort()).not.toEqual(keys)
    const { db } = await openMemory(TINY)
    for (const key of [...keys].reverse()) await db.put(key, 'x')
    expect(await db.keys().all()).toEqual(keys)
    await db.compact()
    expect(await db.keys().all()).toEqual(keys)
    expect(await db.keys({ gt: '\uff5e' }).all()).toEqual(['\u{1f600}'])
    await db.close()
  })
})

describe('a clock that is set back', () => {
  it('removes no log file that is not old, and brings none back', async () => {
    const clock = new ManualClock()
    const options = { ...TINY, log: { maxBytes: 2 ** 20, maxAgeMs: 3_600_000 } }
    let env = clock.env()
    const life = async (count: number) => {
      const { db } = await openMemory(options, env)
      for (let i = 0; i < count; i++) {
        await db.put(pad(i), 'x'.repeat(60))
        if (i % 10 === 9) await db.flush()
      }
      const { oldestPosition } = db
      await db.close()
      env = clock.env(env.fs)
      return oldestPosition
    }
    expect(await life(30)).toBe(1)
    clock.nowMs -= 24 * 3_600_000
    expect(await life(30)).toBe(1)
    expect(await life(30)).toBe(1)
  })
})

describe('a snapshot of an empty store, at position 0', () => {
  it('stays empty, and merges keep what was written after it', async () => {
    const { db } = await openMemory(TINY)
    const snapshot = db.snapshot()
    expect(snapshot.position).toBe(0)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) await db.put(pad(i), `${round}`.repeat(60))
      await db.compact()
    }
    expect(await db.keys({ snapshot }).all()).toEqual([])
    expect(await db.get(pad(3), { snapshot })).toBeUndefined()
    expect(await db.get(pad(3))).toBe('2'.repeat(60))
    await snapshot.close()
    await db.compact()
    expect(await db.keys().all()).toHaveLength(20)
    await db.close()
  })
})

describe('a snapshot', () => {
  it('that nobody can reach any more lets go of what it pinned', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { db } = await openMemory(TINY)
    await db.put('a', '1')
    const abandon = () => {
      for (let i = 0; i < 10; i++) db.snapshot()
    }
    abandon()
    expect(db.stats().snapshots.count).toBe(10)
    await until(() => {
      collect()
      return db.stats().snapshots.count === 0
    }, 10_000)
    expect(db.stats().snapshots.count).toBe(0)
    await db.close()
  })
})

describe('reads', () => {
  it('however many, write nothing and start no merge', async () => {
    const { db, env } = await openMemory({ ...TINY, memory: 65_536, durability: 'os' })
    for (let i = 0; i < 200; i++) await db.put(pad(i), `${i} `.repeat(30))
    await db.compact()
    const changes: string[] = []
    env.fs.onStep = ({ op, path }) => {
      // What the merge has replaced may still be on its way out.
      if (op !== 'remove') changes.push(`${op} ${path}`)
    }
    db.on('compaction.began', ({ inputs }) => changes.push(`merge ${inputs.join()}`))
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 300; i++) await db.get(pad(i))
      await db.entries().all()
    }
    expect(changes).toEqual([])
    env.fs.onStep = undefined
    await db.close()
  })
})
