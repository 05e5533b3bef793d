import type { PrometheusLabels, PrometheusText } from '../util/prometheus-text.js'
import type { ConsumerStats, Stats } from './contract.js'

/** The labels that figures have of themselves. */
export const STAT_LABELS: readonly string[] = ['level', 'kind', 'part', 'result', 'consumer']

export interface StatSample {
  readonly value: number
  readonly labels?: PrometheusLabels
}

/** One figure of `stats`, as the systems that collect figures want it. Names and units of both are promised. */
export interface StatMetric {
  /** For OpenTelemetry: dotted, its unit apart, in UCUM. */
  readonly name: string
  readonly unit: string
  /** For Prometheus: in base units, which end the name. */
  readonly prometheus: string
  readonly kind: 'gauge' | 'counter'
  readonly help: string
  read(stats: Stats): readonly StatSample[]
}

function one(read: (stats: Stats) => number): (stats: Stats) => StatSample[] {
  return (stats) => [{ value: read(stats) }]
}

function each(label: string, read: (stats: Stats) => Readonly<Record<string, number>>) {
  return (stats: Stats): StatSample[] =>
    Object.entries(read(stats)).map(([name, value]) => ({ value, labels: { [label]: name } }))
}

function perLevel(read: (level: Stats['levels'][number]) => number) {
  return ({ levels }: Stats): StatSample[] =>
    levels.map((level) => ({ value: read(level), labels: { level: String(level.level) } }))
}

function perConsumer(read: (consumer: ConsumerStats) => number) {
  return ({ consumers }: Stats): StatSample[] =>
    consumers.map((consumer) => ({ value: read(consumer), labels: { consumer: consumer.name } }))
}

const LOG: readonly StatMetric[] = [
  {
    name: 'varve.log.head_position',
    unit: '',
    prometheus: 'varve_log_head_position',
    kind: 'gauge',
    help: 'Last committed position.',
    read: one((stats) => stats.position),
  },
  {
    name: 'varve.log.durable_position',
    unit: '',
    prometheus: 'varve_log_durable_position',
    kind: 'gauge',
    help: 'Last position known to be on disk.',
    read: one((stats) => stats.durablePosition),
  },
  {
    name: 'varve.log.flushed_position',
    unit: '',
    prometheus: 'varve_log_flushed_position',
    kind: 'gauge',
    help: 'Last position that is in segments.',
    read: one((stats) => stats.flushedPosition),
  },
  {
    name: 'varve.log.oldest_position',
    unit: '',
    prometheus: 'varve_log_oldest_position',
    kind: 'gauge',
    help: 'Oldest position still in the log.',
    read: one((stats) => stats.oldestPosition),
  },
  {
    name: 'varve.log.size',
    unit: 'By',
    prometheus: 'varve_log_bytes',
    kind: 'gauge',
    help: 'Bytes of log files.',
    read: one((stats) => stats.logBytes),
  },
]

const TREE: readonly StatMetric[] = [
  {
    name: 'varve.segment.count',
    unit: '{segment}',
    prometheus: 'varve_segments',
    kind: 'gauge',
    help: 'Segments of each level.',
    read: perLevel((level) => level.segments),
  },
  {
    name: 'varve.segment.size',
    unit: 'By',
    prometheus: 'varve_segment_bytes',
    kind: 'gauge',
    help: 'Bytes of the segments of each level.',
    read: perLevel((level) => level.bytes),
  },
  {
    name: 'varve.blob.size',
    unit: 'By',
    prometheus: 'varve_blob_bytes',
    kind: 'gauge',
    help: 'Bytes of blob files: values that stand apart, and those that nothing refers to any more.',
    read: each('kind', ({ blobs: { bytes, liveBytes } }) => ({
      live: liveBytes,
      garbage: bytes - liveBytes,
    })),
  },
  {
    name: 'varve.segment.entries',
    unit: '{entry}',
    prometheus: 'varve_segment_entries',
    kind: 'gauge',
    help: 'Entries in the segments of each level, older versions and tombstones included.',
    read: perLevel((level) => level.entries),
  },
  {
    name: 'varve.write_amplification',
    unit: '1',
    prometheus: 'varve_write_amplification_ratio',
    kind: 'gauge',
    help: 'Bytes written by flushes and compactions over bytes flushed, since the store was created.',
    read: one((stats) => stats.writeAmplification),
  },
  {
    name: 'varve.space_amplification',
    unit: '1',
    prometheus: 'varve_space_amplification_ratio',
    kind: 'gauge',
    help: 'Bytes of all levels over bytes of the deepest one.',
    read: one((stats) => stats.spaceAmplification),
  },
  {
    name: 'varve.jobs',
    unit: '{job}',
    prometheus: 'varve_jobs_total',
    kind: 'counter',
    help: 'Flushes, compactions and moves since the store was opened.',
    read: each('kind', ({ jobs }) => ({
      flush: jobs.flushes,
      compaction: jobs.compactions,
      move: jobs.moves,
    })),
  },
]

const PROCESS: readonly StatMetric[] = [
  {
    name: 'varve.memory.limit',
    unit: 'By',
    prometheus: 'varve_memory_limit_bytes',
    kind: 'gauge',
    help: 'The budget that the store was opened with.',
    read: one((stats) => stats.memory.budgetBytes),
  },
  {
    name: 'varve.memory.usage',
    unit: 'By',
    prometheus: 'varve_memory_usage_bytes',
    kind: 'gauge',
    help: 'Memory of memtables, block cache, and indexes and filters.',
    read: each('part', ({ memory }) => ({
      memtable: memory.memtableBytes,
      cache: memory.cacheBytes,
      table: memory.tableBytes,
    })),
  },
  {
    name: 'varve.cache.entries',
    unit: '{block}',
    prometheus: 'varve_cache_entries',
    kind: 'gauge',
    help: 'Blocks in the cache.',
    read: one((stats) => stats.cache.entries),
  },
  {
    name: 'varve.cache.reads',
    unit: '{block}',
    prometheus: 'varve_cache_reads_total',
    kind: 'counter',
    help: 'Blocks that were found in the cache, or not.',
    read: each('result', ({ cache }) => ({ hit: cache.hits, miss: cache.misses })),
  },
  {
    name: 'varve.stalls',
    unit: '{stall}',
    prometheus: 'varve_stalls_total',
    kind: 'counter',
    help: 'How often writes began to be slowed.',
    read: one((stats) => stats.stall.count),
  },
  {
    name: 'varve.stall.time',
    unit: 's',
    prometheus: 'varve_stall_seconds_total',
    kind: 'counter',
    help: 'For how long writes were slowed.',
    read: one((stats) => stats.stall.totalMs / 1000),
  },
  {
    name: 'varve.stall.active',
    unit: '',
    prometheus: 'varve_stall_active',
    kind: 'gauge',
    help: '1 while writes are slowed.',
    read: one((stats) => (stats.stall.active ? 1 : 0)),
  },
  {
    name: 'varve.snapshots',
    unit: '{snapshot}',
    prometheus: 'varve_snapshots',
    kind: 'gauge',
    help: 'Snapshots and iterators that are open.',
    read: one((stats) => stats.snapshots.count),
  },
  {
    name: 'varve.snapshot.oldest_position',
    unit: '',
    prometheus: 'varve_snapshot_oldest_position',
    kind: 'gauge',
    help: 'What the oldest of them sees; nothing where none is open.',
    read: ({ snapshots: { oldestPosition: value } }) => (value === undefined ? [] : [{ value }]),
  },
  {
    name: 'varve.healthy',
    unit: '',
    prometheus: 'varve_healthy',
    kind: 'gauge',
    help: '1 until a failure has stopped writes.',
    read: one((stats) => (stats.health === undefined ? 1 : 0)),
  },
]

const CONSUMERS: readonly StatMetric[] = [
  {
    name: 'varve.consumer.position',
    unit: '',
    prometheus: 'varve_consumer_position',
    kind: 'gauge',
    help: 'The last change that it has dealt with.',
    read: perConsumer((consumer) => consumer.position),
  },
  {
    name: 'varve.consumer.lag',
    unit: '{position}',
    prometheus: 'varve_consumer_lag_records',
    kind: 'gauge',
    help: 'Positions behind.',
    read: perConsumer((consumer) => consumer.lag),
  },
  {
    name: 'varve.consumer.lag.size',
    unit: 'By',
    prometheus: 'varve_consumer_lag_bytes',
    kind: 'gauge',
    help: 'Bytes of log behind, about.',
    read: perConsumer((consumer) => consumer.lagBytes),
  },
  {
    name: 'varve.consumer.lag.time',
    unit: 's',
    prometheus: 'varve_consumer_lag_seconds',
    kind: 'gauge',
    help: 'Age of the oldest change that it has not dealt with.',
    read: perConsumer((consumer) => consumer.lagMs / 1000),
  },
  {
    name: 'varve.consumer.parked',
    unit: '{change}',
    prometheus: 'varve_consumer_parked',
    kind: 'gauge',
    help: 'Changes that it has put aside.',
    read: perConsumer((consumer) => consumer.parked),
  },
]

export const STAT_METRICS: readonly StatMetric[] = [...LOG, ...TREE, ...PROCESS, ...CONSUMERS]

/** The figures of one store, and what tells them from those of others. */
export interface LabelledStats {
  /** What its `stats()` gave. */
  readonly stats: Stats
  /** Names that Prometheus takes, and texts. */
  readonly labels?: PrometheusLabels | undefined
}

/** Writes every figure of every store: the format wants those of one name together. */
export function writeStats(text: PrometheusText, stores: readonly LabelledStats[]): void {
  for (const { prometheus, kind, help, read } of STAT_METRICS) {
    const samples = stores.flatMap(({ stats, labels }) =>
      read(stats).map((sample) => ({ value: sample.value, labels: { ...labels, ...sample.labels } })),
    )
    if (samples.length === 0) continue
    text.head(prometheus, kind, help)
    for (const { value, labels } of samples) text.sample(prometheus, labels, value)
  }
}
