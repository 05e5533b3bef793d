import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { formatBar, formatTimeLeft } from '../../src/cli/format.js'
import { type HistogramReport, measureSizes } from '../../src/cli/histogram.js'
import { describeProgress } from '../../src/cli/progress.js'
import { type Database, open } from '../../src/index.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'varve-cli-stats-'))
const store = join(root, 'store')
let db: Database

beforeAll(async () => {
  db = await open(store, {
    memtableBytes: 1 << 20,
    segmentBytes: 1 << 20,
    blockBytes: 1024,
    compression: 'none',
  })
  await db.batch(
    Array.from({ length: 3000 }, (_, i) => ({ type: 'put', key: `key ${i}`, value: 'v'.repeat(i % 300) })),
  )
  for (let i = 0; i < 4; i++) await db.put(`large ${i}`, 'L'.repeat(100_000))
  await db.compact()
})
afterAll(async () => {
  await db.close()
  rmSync(root, { recursive: true, force: true })
})

function stats(...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [MAIN, 'stats', store, ...args], {
    encoding: 'utf8',
  })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  return stdout
}

describe('the histogram', () => {
  it('counts every size in powers of two', async () => {
    const { isExact, keys, values } = await measureSizes(store, undefined)
    expect(isExact).toBe(true)
    expect(keys).toMatchObject({ count: 3004, minBytes: 5, maxBytes: 8 })
    expect(values).toMatchObject({
      count: 3004,
      minBytes: 0,
      maxBytes: 100_000,
      totalBytes: 10 * 44_850 + 400_000,
    })
    expect(values.buckets.slice(0, 3)).toEqual([
      { fromBytes: 0, toBytes: 0, count: 10, totalBytes: 0 },
      { fromBytes: 1, toBytes: 1, count: 10, totalBytes: 10 },
      { fromBytes: 2, toBytes: 3, count: 20, totalBytes: 50 },
    ])
    expect(values.buckets.at(-1)).toEqual({
      fromBytes: 65_536,
      toBytes: 131_071,
      count: 4,
      totalBytes: 400_000,
    })
  })

  it('comes near it out of a sample, few large values included', async () => {
    const exact = await measureSizes(store, undefined)
    const sampled = await measureSizes(store, 100)
    expect(sampled.isExact).toBe(false)
    const ratio = (of: (report: HistogramReport) => number) => of(sampled) / of(exact)
    expect(ratio(({ values }) => values.count)).toBeCloseTo(1, 0.8)
    expect(ratio(({ values }) => values.totalBytes)).toBeCloseTo(1, 0.8)
    expect(sampled.values.buckets.at(-1)).toMatchObject({ count: 4 })
  })

  it('is shown with bars, or as JSON', () => {
    expect(stats('--histogram')).toMatch(/^values +count +share +bytes\nempty +10 +0\.3 % +0 B +▍\n/)
    expect(stats('--sample', '50')).toContain('from a sample of the segments')
    expect(JSON.parse(stats('--histogram', '--json'))).toMatchObject({ isExact: true, keys: { count: 3004 } })
  })
})

describe('stats --watch', () => {
  it('tells of writes in another process while that one has the store open', async () => {
    const child = spawn(process.execPath, [MAIN, 'stats', store, '--watch', '--interval', '0.1', '--json'])
    const exited = once(child, 'exit')
    const looks = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const look = async () => JSON.parse((await looks.next()).value as string) as Record<string, number>
    expect(await look()).toMatchObject({ position: db.position, positionsPerSecond: 0 })
    const end = await db.batch([
      { type: 'put', key: 'a', value: 'x'.repeat(1000) },
      { type: 'put', key: 'b', value: 'y' },
    ])
    let seen = await look()
    while (seen.position! < end) seen = await look()
    expect(seen.position).toBe(end)
    expect(seen.positionsPerSecond).toBeGreaterThan(0)
    expect(seen.opsPerSecond! / seen.positionsPerSecond!).toBeCloseTo(2)
    expect(seen.bytesPerSecond! / seen.positionsPerSecond!).toBeGreaterThan(1000)
    // Its log is trimmed under the watcher's eyes.
    for (let i = 0; i < 3; i++) {
      await db.put('c', 'z')
      await db.flush()
    }
    while (seen.flushedPosition! < end + 3) seen = await look()
    expect(seen.position).toBe(end + 3)
    child.kill('SIGINT')
    expect(await exited).toEqual([0, null])
  })

  it('shows the tree with bars, so often as is asked for', () => {
    const text = stats('--count', '1')
    expect(text).toMatch(/^\/.*store {2}\d\d:\d\d:\d\d\nposition /)
    expect(text).toMatch(/\nL\d +\d+ .*█/)
    expect(text.match(/^position/gm)).toHaveLength(1)
  })
})

describe('progress', () => {
  it('tells rate and time left, or how much where the end is not known', () => {
    const state = { done: 30 * 2 ** 20, total: 90 * 2 ** 20, unit: 'bytes', elapsedMs: 10_000 }
    expect(describeProgress(state)).toBe('3.0 MiB/s, 20 s left')
    expect(describeProgress({ ...state, total: undefined })).toBe('30.0 MiB, 3.0 MiB/s')
    expect(describeProgress({ done: 5000, total: 1_000_000, unit: 'records', elapsedMs: 1000 })).toBe(
      '5,000 records/s, 3 min 19 s left',
    )
    expect(describeProgress({ done: 0, total: 10, unit: 'positions', elapsedMs: 1000 })).toBe('0 positions/s')
    expect([61_000, 7_260_000, -5].map(formatTimeLeft)).toEqual(['1 min 1 s', '2 h 1 min', '0 s'])
  })

  it('draws bars to an eighth, and never nothing for something', () => {
    expect([0, 0.001, 0.5, 1].map((value) => formatBar(value, 1, 5))).toEqual(['', '▏', '██▌', '█████'])
    expect(formatBar(0, 0, 5)).toBe('')
  })
})
