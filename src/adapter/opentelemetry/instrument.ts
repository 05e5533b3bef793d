import {
  type Attributes,
  type Histogram,
  type Meter,
  metrics,
  type Observable,
  type Span,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { Database } from '../../database.js'
import { VarveError } from '../../errors.js'
import type { Stats } from '../../store/contract.js'
import { STAT_METRICS } from '../../store/stat-metrics.js'
import { checkOptionNames } from '../../util/option-names.js'

/** Where figures and spans go to, and which. */
export interface InstrumentOptions {
  /** Default: the global one, called `varve`. */
  readonly meter?: Meter
  /** Default: the global one, called `varve`. */
  readonly tracer?: Tracer
  /** On every measurement and span, such as `{ store: 'orders' }`. */
  readonly attributes?: Attributes
  /**
   * Commits and syncs that took less milliseconds get no span: there may be a hundred thousand a second. They count in
   * the histograms all the same. Default 10; 0: a span for each.
   */
  readonly slowCommitMs?: number
}

/** What `instrument` has begun. */
export interface Instrumentation extends Disposable {
  /** Ends it. Does not touch the store. Idempotent. */
  stop(): void
}

type Work = 'flush' | 'compaction' | 'stall' | 'commit' | 'sync'

const WORK: Readonly<Record<Work, string>> = {
  flush: 'How long flushes of memtables into segments took.',
  compaction: 'How long merges of segments took.',
  stall: 'How long writes were slowed at a stretch.',
  commit: 'How long groups of writes took to be written to the log and applied.',
  sync: 'How long fdatasync of the log took.',
}

/** Seconds: from a commit in memory to a merge of gigabytes. */
const BOUNDARIES = [1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60]

/**
 * Hands what a store does to OpenTelemetry: the figures of `stats()` as observable instruments, histograms of how long
 * flushes, compactions, stalls, commits and syncs took (`varve.flush.duration` and so on, in seconds), and a span for
 * each of them (`varve.flush` …). Spans begin in no other span: what the store does in the background is nobody's
 * request, and a commit is many's. Goes on through `resume()`. After `close` of the store it gives nothing; `stop` it
 * then, so that the meter lets go of the store.
 * @throws VarveError `VARVE_INVALID_ARGUMENT`.
 */
export function instrument<K, V>(db: Database<K, V>, options: InstrumentOptions = {}): Instrumentation {
  if (!(db instanceof Database)) throw invalid('instrument takes an open store')
  const names = { meter: true, tracer: true, attributes: true, slowCommitMs: true } as const
  checkOptionNames('instrument', options, names)
  const { attributes = {}, slowCommitMs = 10 } = options
  if (!(slowCommitMs >= 0)) throw invalid('slowCommitMs is a number of milliseconds')
  const meter = options.meter ?? metrics.getMeter('varve')
  const tracer = options.tracer ?? trace.getTracer('varve')
  const stops = [
    observeStats(meter, attributes, () => statsOf(db)),
    ...watchWork(
      db,
      new WorkRecorder({ db: db as Database<unknown, unknown>, meter, tracer, attributes }),
      slowCommitMs,
    ),
  ]
  const stop = () => {
    for (const each of stops.splice(0)) each()
  }
  return { stop, [Symbol.dispose]: stop }
}

function observeStats(meter: Meter, attributes: Attributes, read: () => Stats | undefined): () => void {
  const instruments = STAT_METRICS.map(({ name, unit, kind, help }) => {
    const options = { description: help, unit }
    return kind === 'counter'
      ? meter.createObservableCounter(name, options)
      : meter.createObservableGauge(name, options)
  })
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    const stats = read()
    if (!stats) return
    for (const [i, metric] of STAT_METRICS.entries()) {
      for (const { value, labels } of metric.read(stats))
        result.observe(instruments[i]!, value, { ...attributes, ...labels })
    }
  }
  const observables: Observable[] = instruments
  meter.addBatchObservableCallback(observe, observables)
  return () => meter.removeBatchObservableCallback(observe, observables)
}

/** Undefined while it is closed, or another store takes its place. */
function statsOf<K, V>(db: Database<K, V>): Stats | undefined {
  try {
    return db.stats()
  } catch {
    return undefined
  }
}

function watchWork<K, V>(db: Database<K, V>, recorder: WorkRecorder, slowCommitMs: number): (() => void)[] {
  return [
    db.on('flush.began', ({ logNumber }) => recorder.begin('flush', { 'varve.log_number': logNumber })),
    db.on('flush.ended', ({ durationMs, sizeBytes, segments }) =>
      recorder.end('flush', durationMs, { 'varve.size': sizeBytes, 'varve.segments': segments.length }),
    ),
    db.on('compaction.began', ({ inputs, outputLevel }) =>
      recorder.begin('compaction', { 'varve.inputs': inputs.length, 'varve.output_level': outputLevel }),
    ),
    db.on('compaction.ended', ({ durationMs, sizeBytes, outputs, entriesDropped }) =>
      recorder.end('compaction', durationMs, {
        'varve.size': sizeBytes,
        'varve.outputs': outputs.length,
        'varve.entries_dropped': entriesDropped,
      }),
    ),
    db.on('stall.began', ({ waitingMemtables, l0Segments }) =>
      recorder.begin('stall', {
        'varve.waiting_memtables': waitingMemtables,
        'varve.l0_segments': l0Segments,
      }),
    ),
    db.on('stall.ended', ({ durationMs }) => recorder.end('stall', durationMs, {})),
    db.on('commit.ended', ({ durationMs, batches, sizeBytes, position }) => {
      const facts = { 'varve.batches': batches, 'varve.size': sizeBytes, 'varve.position': position }
      recorder.whole('commit', durationMs, facts, durationMs >= slowCommitMs)
    }),
    db.on('sync.ended', ({ durationMs, position }) =>
      recorder.whole('sync', durationMs, { 'varve.position': position }, durationMs >= slowCommitMs),
    ),
    db.on('store.failed', ({ error }) => recorder.abandon(error)),
    db.on('store.closed', () => recorder.abandon(undefined)),
    () => recorder.abandon(undefined),
  ]
}

/** Durations as measurements and as spans. Of each kind of work that begins and ends only one is under way at a time. */
class WorkRecorder {
  readonly #db: Database<unknown, unknown>
  readonly #tracer: Tracer
  readonly #attributes: Attributes
  readonly #histograms: Readonly<Record<Work, Histogram>>
  readonly #begun = new Map<Work, Span>()

  constructor(parts: {
    readonly db: Database<unknown, unknown>
    readonly meter: Meter
    readonly tracer: Tracer
    readonly attributes: Attributes
  }) {
    this.#db = parts.db
    this.#tracer = parts.tracer
    this.#attributes = parts.attributes
    const advice = { explicitBucketBoundaries: BOUNDARIES }
    const make = (work: Work) =>
      parts.meter.createHistogram(`varve.${work}.duration`, { description: WORK[work], unit: 's', advice })
    this.#histograms = {
      flush: make('flush'),
      compaction: make('compaction'),
      stall: make('stall'),
      commit: make('commit'),
      sync: make('sync'),
    }
  }

  begin(work: Work, facts: Attributes): void {
    this.#begun.get(work)?.end()
    this.#begun.set(work, this.#start(work, facts, this.#nowMs()))
  }

  end(work: Work, durationMs: number, facts: Attributes): void {
    this.#histograms[work].record(durationMs / 1000, this.#attributes)
    const span = this.#begun.get(work)
    this.#begun.delete(work)
    span?.setAttributes(facts).end(this.#nowMs())
  }

  /** Work that is told of once it is over. */
  whole(work: Work, durationMs: number, facts: Attributes, hasSpan: boolean): void {
    this.#histograms[work].record(durationMs / 1000, this.#attributes)
    if (!hasSpan) return
    const endMs = this.#nowMs()
    this.#start(work, facts, endMs - durationMs).end(endMs)
  }

  /** What is under way does not come to its end any more. */
  abandon(error: Error | undefined): void {
    for (const span of this.#begun.values()) {
      if (error) {
        span.recordException(error)
        span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
      }
      span.end(this.#nowMs())
    }
    this.#begun.clear()
  }

  #start(work: Work, facts: Attributes, startTime: number): Span {
    const attributes = { ...this.#attributes, ...facts }
    return this.#tracer.startSpan(`varve.${work}`, { attributes, startTime, root: true })
  }

  #nowMs(): number {
    return Database.typedStoreOf(this.#db).store.env.clock.wallMs()
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
