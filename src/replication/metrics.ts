import { currentEpoch } from '../store/epochs.js'
import type { Store } from '../store/store.js'
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

/** The state of the log and of who follows it, in Prometheus' text format. */
export async function formatMetrics(store: Store, entries: readonly FollowerEntry[]): Promise<string> {
  const text = new MetricText()
  text.gauge('varve_log_head_position', 'Last committed position.', store.position)
  text.gauge('varve_log_durable_position', 'Last position known to be on disk.', store.durablePosition)
  text.gauge('varve_log_oldest_position', 'Oldest position still in the log.', store.oldestPosition)
  text.gauge('varve_log_bytes', 'Bytes of log files.', store.archive.bytes + store.activeLogBytes)
  text.gauge('varve_epoch', 'Generation of leadership.', currentEpoch(store.tree))
  text.gauge('varve_writable', '1 while writes are taken.', isWritable(store) ? 1 : 0)
  text.head('varve_follower_connected', 'gauge', '1 while it is connected.')
  for (const { id, isConnected } of entries) text.sample('varve_follower_connected', id, isConnected ? 1 : 0)
  text.head('varve_follower_position', 'gauge', 'Last position that it has.')
  for (const { id, position } of entries) text.sample('varve_follower_position', id, position)
  text.head('varve_follower_lag_records', 'gauge', 'Positions behind.')
  for (const { id, position } of entries)
    text.sample('varve_follower_lag_records', id, Math.max(0, store.position - position))
  text.head('varve_follower_lag_bytes', 'gauge', 'Bytes of log behind, about.')
  for (const { id, position } of entries)
    text.sample('varve_follower_lag_bytes', id, bytesAfter(store, position))
  text.head('varve_follower_lag_seconds', 'gauge', 'Age of the oldest change that it does not have.')
  for (const { id, position } of entries)
    text.sample('varve_follower_lag_seconds', id, await lagSeconds(store, position))
  text.head('varve_follower_sent_bytes_total', 'counter', 'Bytes sent to it.')
  for (const { id, sentBytes } of entries) text.sample('varve_follower_sent_bytes_total', id, sentBytes)
  return text.toString()
}

async function lagSeconds(store: Store, position: number): Promise<number> {
  const timeMs = await timeAfter(store, position)
  return timeMs === undefined ? 0 : Math.max(0, store.env.clock.wallMs() - timeMs) / 1000
}

function isWritable(store: Store): boolean {
  return !store.failure && !store.pipeline.isRefusing
}

class MetricText {
  #lines: string[] = []

  gauge(name: string, help: string, value: number): void {
    this.head(name, 'gauge', help)
    this.#lines.push(`${name} ${value}`)
  }

  head(name: string, type: string, help: string): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
  }

  sample(name: string, follower: string, value: number): void {
    this.#lines.push(`${name}{follower="${follower}"} ${value}`)
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`
  }
}
