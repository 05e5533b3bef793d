import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BackgroundWorker, Env, WorkerHandlers } from '../../src/env/env.js'
import type { Job } from '../../src/env/job.js'
import type { Database, OpenOptions } from '../../src/index.js'

type Kind = 'flush' | 'merge'

const DIST = new URL('../../dist/', import.meta.url).href
const { open } = (await import(`${DIST}index.js`)) as typeof import('../../src/index.js')
const { nodeEnv } = (await import(`${DIST}env/node-env.js`)) as typeof import('../../src/env/node-env.js')

let directory: string
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'varve-workers-')))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

interface Deaths {
  readonly env: Env
  readonly started: () => number
  readonly killed: Record<Kind, number>
}

/** Real threads; those that `mustDie` chooses end `delayMs` after they were given a job. */
function dyingWorkers(mustDie: (kind: Kind, nth: number) => boolean, delayMs: () => number): Deaths {
  let started = 0
  const seen = { flush: 0, merge: 0 }
  const killed = { flush: 0, merge: 0 }
  const startWorker = (handlers: WorkerHandlers): BackgroundWorker | undefined => {
    let isDead = false
    const inner = nodeEnv.startWorker({
      onResult: (id, result) => !isDead && handlers.onResult(id, result),
      onError: (id, error) => !isDead && handlers.onError(id, error),
      onExit: (cause) => !isDead && handlers.onExit(cause),
    })
    if (!inner) return undefined
    started++
    const die = async (kind: Kind) => {
      killed[kind]++
      await inner.terminate()
      if (isDead) return
      isDead = true
      handlers.onExit(new Error('killed by the test'))
    }
    return {
      run(id: number, job: Job) {
        inner.run(id, job)
        const kind = (job as { kind: string }).kind
        if (kind !== 'flush' && kind !== 'merge') return
        if (!mustDie(kind, ++seen[kind])) return
        const waitMs = delayMs()
        if (waitMs < 0) void die(kind)
        else setTimeout(() => void die(kind), waitMs)
      },
      terminate: () => inner.terminate(),
    }
  }
  return { env: { ...nodeEnv, startWorker }, started: () => started, killed }
}

const OPTIONS: OpenOptions = {
  memory: 2 ** 22,
  memtableBytes: 32 * 1024,
  segmentBytes: 32 * 1024,
  blockBytes: 1024,
  l0SegmentsMax: 2,
  levelRatio: 4,
}

async function writeRounds(db: Database, rounds: number): Promise<Map<string, string>> {
  const wanted = new Map<string, string>()
  for (let round = 0; round < rounds; round++) {
    const writes = []
    for (let i = 0; i < 150; i++) {
      const key = `key ${(i * 7 + round * 13) % 400}`
      const value = `${round}.${i} `.repeat(20)
      wanted.set(key, value)
      writes.push(db.put(key, value))
    }
    await Promise.all(writes)
  }
  return wanted
}

async function expectWhole(db: Database, wanted: ReadonlyMap<string, string>): Promise<void> {
  expect(new Map(await db.entries().all())).toEqual(wanted)
  expect((await db.getMany([...wanted.keys()])).every((value) => value !== undefined)).toBe(true)
}

async function expectSurvives(deaths: Deaths, workers: number): Promise<void> {
  const db = await open(directory, { ...OPTIONS, workers, env: deaths.env } as OpenOptions)
  const wanted = await writeRounds(db, 12)
  await expectWhole(db, wanted)
  await db.compact()
  await expectWhole(db, wanted)
  expect(db.stats().health).toBeUndefined()
  await db.close()
  const again = await open(directory, { ...OPTIONS, workers: 0 })
  await expectWhole(again, wanted)
  await again.verify()
  expect(again.position).toBe(12 * 150)
  await again.close()
}

describe('a thread that dies', () => {
  it('needs the built entry, which is there', () => {
    expect(existsSync(new URL('compaction/worker-entry.js', DIST))).toBe(true)
  })

  it.each([
    'flush',
    'merge',
  ] as const)('at once under every other %s loses nothing, and work goes on', async (kind) => {
    const deaths = dyingWorkers(
      (found, nth) => found === kind && nth % 2 === 1,
      () => -1,
    )
    await expectSurvives(deaths, 1)
    expect(deaths.killed[kind]).toBeGreaterThan(1)
    expect(deaths.started()).toBeGreaterThan(1)
  })

  it('in the middle of flushes and merges, after 0 to 6 ms, loses nothing with two threads', async () => {
    let delay = 0
    const deaths = dyingWorkers(
      (_, nth) => nth % 2 === 1,
      () => delay++ % 7,
    )
    await expectSurvives(deaths, 2)
    expect(deaths.killed.flush).toBeGreaterThan(1)
    expect(deaths.killed.merge).toBeGreaterThan(0)
  })

  it('every time it is given work leaves the work to the main thread', async () => {
    const deaths = dyingWorkers(
      () => true,
      () => -1,
    )
    await expectSurvives(deaths, 1)
    expect(deaths.killed.flush).toBeGreaterThan(3)
  })

  it('while the store closes does not keep it from closing', async () => {
    const deaths = dyingWorkers(
      () => true,
      () => 1,
    )
    const db = await open(directory, { ...OPTIONS, workers: 1, env: deaths.env } as OpenOptions)
    const wanted = await writeRounds(db, 4)
    const flushing = db.flush().catch((error: { code: string }) => error.code)
    await db.close()
    expect([undefined, 'VARVE_CLOSED']).toContain(await flushing)
    const again = await open(directory, { ...OPTIONS, workers: 0 })
    await expectWhole(again, wanted)
    await again.close()
  })
})
