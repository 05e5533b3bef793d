import type { Stats } from '../store/contract.js'
import { formatBytes, formatCount, formatDuration, formatTable, plural } from './format.js'

/** The levels as a table, and how well they are packed. */
export function describeTree(stats: Stats): string[] {
  const levels = stats.levels.filter((level) => level.segments > 0)
  const total = {
    segments: levels.reduce((sum, level) => sum + level.segments, 0),
    bytes: levels.reduce((sum, level) => sum + level.bytes, 0),
    entries: levels.reduce((sum, level) => sum + level.entries, 0),
  }
  const toRow = (name: string, row: typeof total) => [
    name,
    formatCount(row.segments),
    formatBytes(row.bytes),
    formatCount(row.entries),
  ]
  return [
    ...formatTable([
      ['level', 'segments', 'size', 'entries'],
      ...levels.map((level) => toRow(`L${level.level}`, level)),
      toRow('all', total),
    ]),
    `write amplification ${stats.writeAmplification.toFixed(2)}, space amplification ${stats.spaceAmplification.toFixed(2)}`,
  ]
}

export function describeStats(stats: Stats): string[] {
  const { cache, jobs, memory, snapshots, stall } = stats
  const reads = cache.hits + cache.misses
  const hitRate = reads === 0 ? '' : `, ${((100 * cache.hits) / reads).toFixed(1)} % hits`
  const rows: readonly (readonly [string, string])[] = [
    ['position', formatCount(stats.position)],
    ['  durable', formatCount(stats.durablePosition)],
    ['  flushed', formatCount(stats.flushedPosition)],
    ['  oldest in log', formatCount(stats.oldestPosition)],
    ['entries', `${formatCount(stats.entries)} (old versions and tombstones included)`],
    [
      'on disk',
      `${formatBytes(stats.diskBytes)} (segments ${formatBytes(stats.segmentBytes)}, log ${formatBytes(stats.logBytes)})`,
    ],
    ['memory', `${formatBytes(memory.usedBytes)} of ${formatBytes(memory.budgetBytes)}`],
    ['cache', `${plural(cache.entries, 'block')}${hitRate}`],
    [
      'jobs',
      `${plural(jobs.flushes, 'flush')}, ${plural(jobs.compactions, 'compaction')}, ${plural(jobs.moves, 'move')}`,
    ],
    ['stalls', `${formatCount(stall.count)}, ${formatDuration(stall.totalMs)}${stall.active ? ', now' : ''}`],
    ['snapshots', formatCount(snapshots.count)],
    ['health', stats.health === undefined ? 'good' : stats.health.message],
  ]
  return [...rows.map(([name, value]) => `${name.padEnd(16)}${value}`), '', ...describeTree(stats)]
}

/** `Error`s turn into `{}` in JSON; say what they say. */
export function statsToJson(stats: Stats): Record<string, unknown> {
  return { ...stats, health: stats.health === undefined ? null : stats.health.message }
}
