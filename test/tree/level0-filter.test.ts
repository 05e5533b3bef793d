import { describe, expect, it } from 'vitest'
import { runJob } from '../../src/compaction/run-job.js'
import type { AnyJob, FlushJob } from '../../src/compaction/segment-job.js'
import type { BackgroundWorker, WorkerHandlers } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { clearStale, type FilterColumn, fillColumn } from '../../src/segment/filter-column.js'
import { Level0Filter } from '../../src/tree/level0-filter.js'
import { hashKey } from '../../src/util/hash.js'
import { openMemory, TINY } from '../store/helpers.js'

const MEMORY = 1 << 20
const SEGMENTS_MAX = 16
const KEYS = 500
/** Of level 0, from which on it is filtered. */
const DEEP = 3

function hashesOf(name: string, count = KEYS): number[] {
  return Array.from({ length: count }, (_, i) => {
    const key = Buffer.from(`${name}-${i}`)
    return hashKey(key, 0, key.length)
  })
}

/** What a flush does with a column. */
function fill(column: FilterColumn | undefined, hashes: readonly number[]): number {
  if (!column) return 0
  for (const _ of clearStale(column));
  const half = hashes.length >>> 1
  fillColumn(column, Uint32Array.from(hashes), 0, half)
  fillColumn(column, Uint32Array.from(hashes), half, hashes.length)
  return column.bit
}

function put(filter: Level0Filter, segment: number, hashes: readonly number[]): number {
  const bit = fill(filter.begin(DEEP), hashes)
  filter.hold(segment)
  return bit
}

/** How many of the hashes may be in the segment of the bit. */
function countOf(filter: Level0Filter, bit: number, hashes: readonly number[]): number {
  return hashes.filter((hash) => (filter.candidates(hash) & bit) !== 0).length
}

describe('the filter of level 0', () => {
  it('says yes to every key of a segment, and no to nearly all others', () => {
    const filter = new Level0Filter(MEMORY)
    const segments = Array.from({ length: SEGMENTS_MAX }, (_, i) => hashesOf(`segment ${i}`))
    const bits: number[] = []
    for (const [i, hashes] of segments.entries()) bits.push(put(filter, i, hashes))
    const absent = hashesOf('nowhere', 5000)
    for (const [i, bit] of bits.entries()) {
      expect(countOf(filter, bit, segments[i]!)).toBe(KEYS)
      expect(countOf(filter, bit, absent)).toBeLessThan(absent.length / 20)
      expect(filter.retain(i)).toBe(bit)
    }
    expect(filter.sizeBytes).toBe(MEMORY / 64)
  })

  it('says yes about what it does not hold: other segments, and those beyond the sixteenth', () => {
    const filter = new Level0Filter(MEMORY)
    const unknown = filter.retain(99)
    expect(countOf(filter, unknown, hashesOf('anything'))).toBe(KEYS)
    for (let i = 0; i < SEGMENTS_MAX; i++) expect(put(filter, i, [])).toBeGreaterThan(0)
    expect(put(filter, SEGMENTS_MAX, [])).toBe(0)
    expect(filter.retain(SEGMENTS_MAX)).toBe(unknown)
    filter.release(SEGMENTS_MAX)
    filter.release(99)
    expect(countOf(filter, unknown, hashesOf('anything'))).toBe(KEYS)
  })

  it('holds a segment until the last one who retained it lets go', () => {
    const filter = new Level0Filter(MEMORY)
    const old = hashesOf('old')
    const bit = put(filter, 0, old)
    expect(filter.retain(0)).toBe(bit)
    filter.release(0)
    for (let i = 1; i < SEGMENTS_MAX; i++) put(filter, i, hashesOf(`segment ${i}`))
    expect(put(filter, SEGMENTS_MAX, [])).toBe(0)
    expect(countOf(filter, bit, old)).toBe(KEYS)
    filter.release(0)
    expect(put(filter, SEGMENTS_MAX, [])).toBe(bit)
  })

  it('forgets a segment before another one takes its bit', () => {
    const filter = new Level0Filter(MEMORY)
    const kept = hashesOf('kept')
    const keptBit = put(filter, 0, kept)
    for (let i = 1; i < SEGMENTS_MAX; i++) put(filter, i, hashesOf(`first ${i}`))
    for (let i = 1; i < SEGMENTS_MAX; i++) filter.release(i)
    const bits: number[] = []
    for (let i = 1; i < SEGMENTS_MAX; i++) bits.push(put(filter, SEGMENTS_MAX + i, hashesOf(`second ${i}`)))
    for (const [i, bit] of bits.entries()) {
      expect(bit).not.toBe(keptBit)
      expect(countOf(filter, bit, hashesOf(`second ${i + 1}`))).toBe(KEYS)
      for (let j = 1; j < SEGMENTS_MAX; j++)
        expect(countOf(filter, bit, hashesOf(`first ${j}`))).toBeLessThan(KEYS / 20)
    }
    expect(countOf(filter, keptBit, kept)).toBe(KEYS)
  })

  it('takes memory only while it holds a segment', () => {
    const filter = new Level0Filter(MEMORY)
    expect(filter.sizeBytes).toBe(0)
    put(filter, 0, hashesOf('one'))
    put(filter, 1, hashesOf('two'))
    filter.release(0)
    expect(filter.sizeBytes).toBeGreaterThan(0)
    filter.release(1)
    expect(filter.sizeBytes).toBe(0)
    const bit = put(filter, 2, hashesOf('three'))
    expect(countOf(filter, bit, hashesOf('one'))).toBeLessThan(KEYS / 20)
  })

  it('stays small whatever memory a store is told to use', () => {
    for (const memory of [64 * 1024, 2 ** 46]) {
      const filter = new Level0Filter(memory)
      const hashes = hashesOf('key', 10)
      const bit = put(filter, 0, hashes)
      expect(countOf(filter, bit, hashes)).toBe(10)
      expect(filter.sizeBytes).toBe(Math.min(2 ** 24, memory / 64))
    }
  })

  it('may be emptied by those who let go while a column is filled', () => {
    const filter = new Level0Filter(MEMORY)
    for (let i = 0; i < SEGMENTS_MAX; i++) put(filter, i, hashesOf(`segment ${i}`))
    filter.release(0)
    const column = filter.begin(DEEP)
    for (let i = 1; i < SEGMENTS_MAX; i++) filter.release(i)
    const bit = fill(column, hashesOf('new'))
    filter.hold(SEGMENTS_MAX)
    expect(countOf(filter, bit, hashesOf('new'))).toBe(KEYS)
    expect(countOf(filter, bit, hashesOf('segment 0'))).toBeLessThan(KEYS / 20)
    // Those that left meanwhile were not cleared.
    for (let i = 1; i < SEGMENTS_MAX; i++) {
      const next = put(filter, SEGMENTS_MAX + i, hashesOf(`next ${i}`))
      expect(countOf(filter, next, hashesOf(`next ${i}`))).toBe(KEYS)
      for (let j = 1; j < SEGMENTS_MAX; j++)
        expect(countOf(filter, next, hashesOf(`segment ${j}`))).toBeLessThan(KEYS / 20)
    }
    expect(countOf(filter, bit, hashesOf('new'))).toBe(KEYS)
  })

  it('says nothing by a column before it is held', () => {
    const filter = new Level0Filter(MEMORY)
    const unknown = filter.retain(0)
    const first = fill(filter.begin(DEEP), hashesOf('first'))
    expect(filter.candidates(hashesOf('absent')[0]!)).toBe(unknown)
    expect(filter.retain(0)).toBe(unknown)
    filter.hold(0)
    expect(filter.retain(0)).toBe(first)
    expect(countOf(filter, first, hashesOf('first'))).toBe(KEYS)
    expect(countOf(filter, first, hashesOf('absent'))).toBeLessThan(KEYS / 20)
  })

  it('gives no column while level 0 is not deep, and holds nothing then', () => {
    const filter = new Level0Filter(MEMORY)
    expect(filter.begin(DEEP - 1)).toBeUndefined()
    filter.hold(0)
    expect(filter.sizeBytes).toBe(0)
    expect(filter.retain(0)).toBe(filter.retain(99))
  })

  it.each([
    ['the flush that was to fill it failed', (filter: Level0Filter) => filter.abandon()],
    ['the thread that was to fill it died and another one has the job', () => {}],
  ])('clears what is left of a column where %s', (_, giveUp) => {
    for (const kept of [0, 1, SEGMENTS_MAX - 1]) {
      const filter = new Level0Filter(MEMORY)
      const bits = Array.from({ length: kept }, (_, i) => put(filter, i, hashesOf(`kept ${i}`)))
      const left = fill(filter.begin(DEEP), hashesOf('left'))
      giveUp(filter)
      expect(filter.sizeBytes > 0).toBe(kept > 0 || giveUp.length === 0)
      // As many as there are: each of the others is taken before what is left is cleared.
      for (let i = kept; i < SEGMENTS_MAX; i++) {
        const bit = put(filter, SEGMENTS_MAX + i, hashesOf(`segment ${i}`))
        expect(bits).not.toContain(bit)
        bits.push(bit)
        expect(countOf(filter, bit, hashesOf(`segment ${i}`))).toBe(KEYS)
        expect(countOf(filter, bit, hashesOf('left'))).toBeLessThan(KEYS / 20)
      }
      expect(bits).toContain(left)
      for (let i = 0; i < kept; i++) expect(countOf(filter, bits[i]!, hashesOf(`kept ${i}`))).toBe(KEYS)
    }
  })

  it('clears memory that was never written before it counts on it, and no column that is held', () => {
    const filter = new Level0Filter(MEMORY)
    const column = filter.begin(DEEP)!
    new Uint8Array(column.memory).fill(255)
    fill(column, [])
    filter.hold(0)
    expect(countOf(filter, 2 ** SEGMENTS_MAX - 1, hashesOf('anything'))).toBe(0)
  })
})

/** An environment with threads that die at some step of a flush, with all that it did until then left as it is. */
function withThread(stepsOf: (job: number) => number): { env: MemoryEnv; flushes: FlushJob[] } {
  const inner = memoryEnv({ seed: 7 })
  const flushes: FlushJob[] = []
  const startWorker = ({ onResult, onExit }: WorkerHandlers): BackgroundWorker => ({
    run(id, job) {
      let left = Number.POSITIVE_INFINITY
      if (job.kind === 'flush') {
        const flush = job as FlushJob
        left = stepsOf(flushes.push(flush))
        if (flush.column?.stale === 2 ** SEGMENTS_MAX - 1) new Uint8Array(flush.column.memory).fill(255)
      }
      const steps = runJob(inner, job as AnyJob)
      let step = steps.next()
      while (!step.done && --left > 0) step = steps.next()
      const { done, value } = step
      queueMicrotask(() => (done ? onResult(id, value) : onExit(new Error('the thread died'))))
    },
    terminate: () => Promise.resolve(),
  })
  return { env: { ...inner, startWorker } as MemoryEnv, flushes }
}

describe('a store whose level 0 is deep', () => {
  const KEY_COUNT = 400
  const OPTIONS = { ...TINY, l0SegmentsMax: 100 }

  it('reads every key as it was written last, while segments come and go', async () => {
    const { db, env } = await openMemory(OPTIONS)
    const wanted = new Map<string, string>()
    const write = async (round: number) => {
      // Other keys in each round, so that segments hold some of all keys each.
      for (let i = round % 7; i < KEY_COUNT; i += 7) {
        const key = `key ${i}`
        if (round % 5 === 4 && i % 3 === 0) {
          wanted.delete(key)
          await db.del(key)
        } else {
          wanted.set(key, `round ${round}`)
          await db.put(key, `round ${round}`)
        }
      }
      if (round === 3) {
        for (const key of wanted.keys()) if (key >= 'key 2' && key < 'key 3') wanted.delete(key)
        await db.clear({ gte: 'key 2', lt: 'key 3' })
      }
      await db.flush()
    }
    const check = async (store: typeof db) => {
      const keys = Array.from({ length: KEY_COUNT * 2 }, (_, i) => `key ${i}`)
      const values = keys.map((key) => wanted.get(key))
      expect(keys.map((key) => store.getSync(key))).toEqual(values)
      expect(await store.getMany(keys)).toEqual(values)
    }
    for (let round = 0; round < 24; round++) {
      await write(round)
      if (round % 4 === 3) await check(db)
    }
    expect(db.stats().levels[0]!.segments).toBeGreaterThan(SEGMENTS_MAX + 4)
    await db.compact()
    await check(db)
    for (let round = 24; round < 32; round++) await write(round)
    await check(db)
    await db.close()
    const again = await openMemory(OPTIONS, env)
    await check(again.db)
    await again.db.close()
  })

  it('counts the filter as a part of its memory, from the third segment until they are merged', async () => {
    const { db } = await openMemory({ ...OPTIONS, memtableBytes: 64 * 1024 })
    const filterBytes = (1 << 20) / 64
    const sizes: number[] = []
    for (let round = 0; round < 4; round++) {
      await db.put('key', `round ${round}`)
      await db.flush()
      sizes.push(db.stats().memory.tableBytes)
    }
    expect(sizes[1]).toBeLessThan(filterBytes)
    expect(sizes[2]).toBeGreaterThan(filterBytes)
    expect(sizes[3]! - sizes[2]!).toBeLessThan(filterBytes)
    await db.compact()
    expect(db.stats().memory.tableBytes).toBeLessThan(filterBytes)
    expect(db.getSync('key')).toBe('round 3')
    await db.close()
  })

  it('has its filter filled by its flushes, but for segments with deleted ranges', async () => {
    const { env, flushes } = withThread(() => Number.POSITIVE_INFINITY)
    // Memory for three memtables, so that the older ones are only in segments.
    const memory = { memory: 64 * 1024, memtableBytes: 16 * 1024 }
    const { db } = await openMemory({ ...OPTIONS, ...memory, workers: 1 }, env)
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 30; i++) await db.put(`${round} ${i}`, `value ${i}`)
      if (round === 3) await db.clear({ gte: '0 2', lt: '0 3' })
      await db.flush()
    }
    const columns = flushes.map(({ column }) => column)
    expect(columns.map((column) => column !== undefined)).toEqual([false, false, true, true, true, true])
    expect(new Uint16Array(columns[2]!.memory)).toContain(0)
    const read = () => [0, 1, 2, 3, 4, 5].map((round) => db.getSync(`${round} 1`))
    expect(new Set(read())).toEqual(new Set(['value 1']))
    // Rows are forgotten, and memtables have the last rounds: what is left is found in segments, or not looked for.
    await db.clear({ gte: 'a', lt: 'b' })
    await db.flush()
    new Uint16Array(columns[2]!.memory).fill(0)
    expect(read().slice(0, 4)).toEqual(['value 1', 'value 1', undefined, 'value 1'])
    await db.close()
  })

  it('reads every key where threads die in the middle of filling it', async () => {
    let steps = 0
    const threads = withThread((job) => (job % 2 === 0 ? ++steps : Number.POSITIVE_INFINITY))
    const { db } = await openMemory({ ...OPTIONS, workers: 1 }, threads.env)
    const wanted = new Map<string, string>()
    for (let round = 0; round < 24; round++) {
      for (let i = 0; i < 40; i++) {
        const key = `key ${(i * 7 + round * 11) % KEY_COUNT}`
        wanted.set(key, `${round} ${i}`)
        await db.put(key, `${round} ${i}`)
      }
      await db.flush()
      for (const [key, value] of wanted) expect(db.getSync(key)).toBe(value)
    }
    expect(threads.flushes.length).toBeGreaterThan(24 + 8)
    await db.close()
  })
})
