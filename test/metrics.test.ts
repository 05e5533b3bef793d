import { describe, expect, it } from 'vitest'
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from '../src/metrics.js'
import { serveLog } from '../src/replication.js'
import { STAT_LABELS, STAT_METRICS } from '../src/store/stat-metrics.js'
import { codeOf, openMemory, pad, TINY } from './store/helpers.js'

interface Sample {
  readonly name: string
  readonly labels: Record<string, string>
  readonly value: number
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/

/** A strict reading of the text format: HELP, TYPE and then the samples of one name, once each. */
function parsePrometheus(text: string): { types: Map<string, string>; samples: Sample[] } {
  expect(text.endsWith('\n')).toBe(true)
  const types = new Map<string, string>()
  const samples: Sample[] = []
  const seen = new Set<string>()
  let helped = ''
  let current = ''
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP (\S+) (.+)$/.exec(line)
    if (help) {
      expect(types.has(help[1]!)).toBe(false)
      helped = help[1]!
      continue
    }
    const type = /^# TYPE (\S+) (gauge|counter)$/.exec(line)
    if (type) {
      expect(type[1]).toBe(helped)
      expect(type[1]).toMatch(NAME)
      expect(type[1]!.endsWith('_total')).toBe(type[2] === 'counter')
      types.set(type[1]!, type[2]!)
      current = type[1]!
      continue
    }
    const sample = parseSample(line)
    expect(sample.name).toBe(current)
    const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
    expect(seen.has(identity), line).toBe(false)
    seen.add(identity)
    samples.push(sample)
  }
  return { types, samples }
}

function parseSample(line: string): Sample {
  const [, name, pairs = '', value] =
    /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|[+-]Inf|NaN)$/.exec(line) ?? []
  if (name === undefined) throw new Error(`no sample: ${line}`)
  const labels: Record<string, string> = {}
  const pair = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y
  for (let at = 0; at < pairs.length; at = pair.lastIndex) {
    pair.lastIndex = at
    const match = pair.exec(pairs)
    if (!match) throw new Error(`no label at ${at}: ${line}`)
    labels[match[1]!] = match[2]!.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
  }
  return { name, labels, value: Number(value) }
}

const HOSTILE = 'a "quoted" \\ name\nwith a line }'

async function busyStore() {
  const opened = await openMemory(TINY)
  const { db } = opened
  await db.consumer(HOSTILE, { from: 'start' })
  for (let i = 0; i < 100; i++) await db.put(pad(i), 'v'.repeat(50))
  await db.compact()
  return opened
}

describe('prometheusText', () => {
  it('tells every figure of stats(), in base units, whatever consumers are called', async () => {
    const { db } = await busyStore()
    const snapshot = db.snapshot()
    const stats = db.stats()
    const { samples } = parsePrometheus(prometheusText(stats))
    const value = (name: string, labels: Record<string, string> = {}) =>
      samples.find(
        (sample) => sample.name === name && Object.entries(labels).every(([k, v]) => sample.labels[k] === v),
      )?.value
    expect(value('varve_log_head_position')).toBe(db.position)
    expect(value('varve_log_bytes')).toBe(stats.logBytes)
    expect(value('varve_jobs_total', { kind: 'compaction' })).toBe(stats.jobs.compactions)
    expect(value('varve_segment_bytes', { level: '1' })).toBe(stats.levels[1]!.bytes)
    expect(value('varve_memory_limit_bytes')).toBe(1 << 20)
    expect(value('varve_snapshot_oldest_position')).toBe(snapshot.position)
    expect(value('varve_consumer_lag_records', { consumer: HOSTILE })).toBe(stats.consumers[0]!.lag)
    expect(value('varve_consumer_lag_seconds', { consumer: HOSTILE })).toBeCloseTo(
      stats.consumers[0]!.lagMs / 1000,
    )
    expect(value('varve_healthy')).toBe(1)
    // Every metric of the table is there, and every label that a figure has of itself is kept for it.
    expect(new Set(samples.map(({ name }) => name))).toEqual(
      new Set(STAT_METRICS.map(({ prometheus }) => prometheus)),
    )
    expect(new Set(samples.flatMap(({ labels }) => Object.keys(labels)))).toEqual(new Set(STAT_LABELS))
    snapshot.close()
    await db.close()
  })

  it('adds labels, and keeps the samples of several stores together by name', async () => {
    const [{ db: a }, { db: b }] = [await busyStore(), await busyStore()]
    const text = prometheusText(
      [
        { stats: a.stats(), labels: { store: 'a' } },
        { stats: b.stats(), labels: { store: HOSTILE } },
      ],
      { labels: { job: 'test' } },
    )
    const { samples } = parsePrometheus(text)
    expect(samples.filter(({ name }) => name === 'varve_healthy').map(({ labels }) => labels)).toEqual([
      { job: 'test', store: 'a' },
      { job: 'test', store: HOSTILE },
    ])
    expect(samples.every(({ labels }) => labels.job === 'test')).toBe(true)
    expect(PROMETHEUS_CONTENT_TYPE).toContain('version=0.0.4')
    await Promise.all([a.close(), b.close()])
  })

  it.each([
    { labels: { '1st': 'x' } },
    { labels: { __name__: 'x' } },
    { labels: { level: 'x' } },
    { labels: { n: 1 } },
    { label: {} },
  ])('%j is refused', async (options) => {
    const { db } = await openMemory()
    expect(await codeOf(() => prometheusText(db.stats(), options as never))).toBe('VARVE_INVALID_ARGUMENT')
    await db.close()
  })

  it('is what a log server answers too, with its followers', async () => {
    const { db } = await busyStore()
    const server = await serveLog(db)
    const text = await server.metrics()
    const { types } = parsePrometheus(text)
    expect([...types.keys()]).toEqual(
      expect.arrayContaining([
        'varve_log_head_position',
        'varve_consumer_lag_seconds',
        'varve_follower_sent_bytes_total',
        'varve_epoch',
      ]),
    )
    const own = prometheusText(db.stats())
      .split('\n')
      .filter((line) => line.startsWith('# TYPE'))
    expect(text).toContain(own[0]!)
    await server.close()
    await db.close()
  })
})
