import { consumerStats } from '../feed/consumers.js'
import { currentEpoch } from '../store/epochs.js'
import { writeStats } from '../store/stat-metrics.js'
import { storeStats } from '../store/stats.js'
import type { Store } from '../store/store.js'
import { PrometheusText } from '../util/prometheus-text.js'
import type { FollowerEntry } from './follower-list.js'
import { bytesAfter, timeAfter } from './log-facts.js'

/** What a leader knows of one follower. */
export interface FollowerInfo {
  /** The id of its store. */
  readonly id: string
  /** Whether it is connected now. */
  readonly connected: boolean
  /** It has everything up to here, as durable as it makes it. */
  readonly position: number
  /** Positions behind. */
  readonly lag: number
  /** About how many bytes of log behind. */
  readonly lagBytes: number
  /** Bytes of log that it was sent since it connected. */
  readonly sentBytes: number
}

export function describeFollower(store: Store, entry: FollowerEntry): FollowerInfo {
  const { id, isConnected: connected, position, sentBytes } = entry
  const lag = Math.max(0, store.position - position)
  return { id, connected, position, lag, lagBytes: bytesAfter(store, position), sentBytes }
}

/** The figures of the store, and of who follows it, in Prometheus' text format. */
export async function formatMetrics(store: Store, entries: readonly FollowerEntry[]): Promise<string> {
  const text = new PrometheusText()
  writeStats(text, [{ stats: { ...storeStats(store), consumers: consumerStats(store) } }])
  text.head('varve_epoch', 'gauge', 'Generation of leadership.')
  text.sample('varve_epoch', {}, currentEpoch(store.tree))
  text.head('varve_writable', 'gauge', '1 while writes are taken.')
  text.sample('varve_writable', {}, isWritable(store) ? 1 : 0)
  for (const { name, kind, help, read } of FOLLOWER_METRICS) {
    text.head(name, kind, help)
    for (const entry of entries) text.sample(name, { follower: entry.id }, await read(entry, store))
  }
  return text.toString()
}

interface FollowerMetric {
  readonly name: string
  readonly kind: 'gauge' | 'counter'
  readonly help: string
  read(entry: FollowerEntry, store: Store): number | Promise<number>
}

const FOLLOWER_METRICS: readonly FollowerMetric[] = [
  {
    name: 'varve_follower_connected',
    kind: 'gauge',
    help: '1 while it is connected.',
    read: ({ isConnected }) => (isConnected ? 1 : 0),
  },
  {
    name: 'varve_follower_position',
    kind: 'gauge',
    help: 'Last position that it has.',
    read: ({ position }) => position,
  },
  {
    name: 'varve_follower_lag_records',
    kind: 'gauge',
    help: 'Positions behind.',
    read: ({ position }, store) => Math.max(0, store.position - position),
  },
  {
    name: 'varve_follower_lag_bytes',
    kind: 'gauge',
    help: 'Bytes of log behind, about.',
    read: ({ position }, store) => bytesAfter(store, position),
  },
  {
    name: 'varve_follower_lag_seconds',
    kind: 'gauge',
    help: 'Age of the oldest change that it does not have.',
    read: ({ position }, store) => lagSeconds(store, position),
  },
  {
    name: 'varve_follower_sent_bytes_total',
    kind: 'counter',
    help: 'Bytes sent to it.',
    read: ({ sentBytes }) => sentBytes,
  },
]

async function lagSeconds(store: Store, position: number): Promise<number> {
  const timeMs = await timeAfter(store, position)
  return timeMs === undefined ? 0 : Math.max(0, store.env.clock.wallMs() - timeMs) / 1000
}

function isWritable(store: Store): boolean {
  return !store.failure && !store.pipeline.isRefusing
}
