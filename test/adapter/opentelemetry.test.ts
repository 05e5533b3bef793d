import { SpanStatusCode } from '@opentelemetry/api'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { describe, expect, it } from 'vitest'
import { instrument } from '../../src/adapter/opentelemetry/instrument.js'
import { Database } from '../../src/database.js'
import type { StoreEvent } from '../../src/index.js'
import { STAT_METRICS } from '../../src/store/stat-metrics.js'
import { codeOf, openMemory, pad, TINY } from '../store/helpers.js'

function telemetry() {
  const spans = new InMemorySpanExporter()
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meters = new MeterProvider({ readers: [reader] })
  return {
    options: { meter: meters.getMeter('test'), tracer: tracers.getTracer('test') },
    spans: () => spans.getFinishedSpans(),
    /** Data points by name, as they are now. */
    async collect() {
      exporter.reset()
      await reader.forceFlush()
      const metrics = exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      return new Map(metrics.map((metric) => [metric.descriptor.name, metric]))
    },
    async end() {
      await meters.shutdown()
      await tracers.shutdown()
    },
  }
}

/** Milliseconds. */
function lengthOf(span: { duration: [number, number] }): number {
  return span.duration[0] * 1000 + span.duration[1] / 1e6
}

describe('instrument', () => {
  it('gives every figure of stats() as an instrument, with attributes', async () => {
    const { db } = await openMemory(TINY)
    const otel = telemetry()
    const instrumentation = instrument(db, { ...otel.options, attributes: { store: 's' } })
    await db.consumer('c', { from: 'start' })
    for (let i = 0; i < 100; i++) await db.put(pad(i), 'v'.repeat(50))
    await db.compact()
    const snapshot = db.snapshot()
    const metrics = await otel.collect()
    for (const { name, unit, kind } of STAT_METRICS) {
      const metric = metrics.get(name)
      expect(metric?.descriptor, name).toMatchObject({
        unit,
        type: kind === 'counter' ? 'OBSERVABLE_COUNTER' : 'OBSERVABLE_GAUGE',
      })
      expect(metric!.dataPoints.every(({ attributes }) => attributes.store === 's')).toBe(true)
    }
    expect(metrics.get('varve.log.head_position')!.dataPoints).toMatchObject([{ value: db.position }])
    expect(metrics.get('varve.segment.size')!.dataPoints.map(({ attributes }) => attributes.level)).toEqual([
      '0',
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
    ])
    expect(metrics.get('varve.consumer.lag')!.dataPoints).toMatchObject([
      { attributes: { consumer: 'c', store: 's' } },
    ])
    expect(metrics.get('varve.flush.duration')).toMatchObject({
      descriptor: { unit: 's' },
      dataPoints: [{ value: { count: db.stats().jobs.flushes } }],
    })
    snapshot.close()
    instrumentation.stop()
    await db.close()
    await otel.end()
  })

  it('makes a span of each flush, compaction, stall, commit and sync, as long as the event says', async () => {
    const { db } = await openMemory(TINY)
    const otel = telemetry()
    const events: StoreEvent[] = []
    for (const name of [
      'flush.ended',
      'compaction.ended',
      'commit.ended',
      'sync.ended',
      'stall.ended',
    ] as const)
      db.on(name, (event) => events.push(event))
    const instrumentation = instrument(db, { ...otel.options, slowCommitMs: 0 })
    await Promise.all(Array.from({ length: 50 }, (_, i) => db.put(pad(i), 'v'.repeat(50))))
    await db.put('durable', 'v', { durability: 'disk' })
    await db.compact()
    // Writers are slowed only by more than a test should write: the clock that tells of it is asked directly.
    const { stall } = Database.typedStoreOf(db).store
    stall.note(5)
    stall.note(undefined)
    for (const kind of ['flush', 'compaction', 'commit', 'sync', 'stall'] as const) {
      const spans = otel.spans().filter(({ name }) => name === `varve.${kind}`)
      const ended = events.filter(({ type }) => type === `${kind}.ended`) as { durationMs: number }[]
      expect(spans.length, kind).toBeGreaterThan(0)
      expect(spans.length, kind).toBe(ended.length)
      for (const [i, span] of spans.entries())
        expect(Math.abs(lengthOf(span) - ended[i]!.durationMs)).toBeLessThan(5)
      expect(spans.every(({ parentSpanContext }) => parentSpanContext === undefined)).toBe(true)
    }
    const commits = otel.spans().filter(({ name }) => name === 'varve.commit')
    expect(commits.reduce((sum, { attributes }) => sum + Number(attributes['varve.batches']), 0)).toBe(51)
    expect(commits.at(-1)!.attributes['varve.position']).toBe(51)
    const syncs = otel.spans().filter(({ name }) => name === 'varve.sync')
    expect(syncs.some(({ attributes }) => attributes['varve.position'] === 51)).toBe(true)
    instrumentation.stop()
    await db.close()
    await otel.end()
  })

  it('counts quick commits without a span for each', async () => {
    const { db } = await openMemory()
    const otel = telemetry()
    const instrumentation = instrument(db, { ...otel.options, slowCommitMs: 60_000 })
    for (let i = 0; i < 10; i++) await db.put(pad(i), 'v')
    expect(otel.spans()).toEqual([])
    const metrics = await otel.collect()
    expect(metrics.get('varve.commit.duration')!.dataPoints).toMatchObject([{ value: { count: 10 } }])
    instrumentation.stop()
    await db.put('a', 'v')
    expect((await otel.collect()).get('varve.commit.duration')!.dataPoints).toMatchObject([
      { value: { count: 10 } },
    ])
    await db.close()
    await otel.end()
  })

  it('ends a span whose work a failure ended, with the error', async () => {
    const { db } = await openMemory({ ...TINY, memtableBytes: 1 << 20 })
    const otel = telemetry()
    instrument(db, otel.options)
    await db.put('a', 'v')
    const { scheduler } = Database.typedStoreOf(db).store
    scheduler.runner.run = () => Promise.reject(new Error('the disk is gone'))
    expect(await codeOf(() => db.flush().catch(() => {}))).toBe(undefined)
    const [span] = otel.spans().filter(({ name }) => name === 'varve.flush')
    expect(span).toMatchObject({ status: { code: SpanStatusCode.ERROR }, events: [{ name: 'exception' }] })
    await db.close().catch(() => {})
    await otel.end()
  })

  it('observes nothing of a closed store, and takes nothing else than a store', async () => {
    const { db } = await openMemory()
    const otel = telemetry()
    instrument(db, otel.options)
    await db.close()
    expect((await otel.collect()).get('varve.log.head_position')?.dataPoints ?? []).toEqual([])
    for (const options of [{ slowCommitMs: -1 }, { slowComitMs: 1 }])
      expect(await codeOf(() => instrument(db, options as never))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => instrument({} as never))).toBe('VARVE_INVALID_ARGUMENT')
    // Without a provider the global ones do nothing.
    const { db: other } = await openMemory()
    instrument(other).stop()
    await other.close()
    await otel.end()
  })
})
