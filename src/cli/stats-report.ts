import type { Stats } from '../store/contract.js'
import { formatBar, formatBytes, formatCount, formatTable } from './format.js'

const BAR_COLUMNS = 30

/** The levels as a table with a bar for each, and how well they are packed. */
export function describeTree(
  stats: Pick<Stats, 'levels' | 'writeAmplification' | 'spaceAmplification'>,
): string[] {
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
  const table = formatTable([
    ['level', 'segments', 'size', 'entries'],
    ...levels.map((level) => toRow(`L${level.level}`, level)),
    toRow('all', total),
  ])
  const largest = Math.max(...levels.map(({ bytes }) => bytes))
  return [
    table[0]!,
    ...levels.map(({ bytes }, i) => `${table[i + 1]}  ${formatBar(bytes, largest, BAR_COLUMNS)}`),
    table[table.length - 1]!,
    `write amplification ${stats.writeAmplification.toFixed(2)}, space amplification ${stats.spaceAmplification.toFixed(2)}`,
  ]
}

/** Only what is true of the files: memory, caches and stalls of the process that prints this tell nothing. */
export function describeStats(stats: Stats): string[] {
  const rows: readonly (readonly [string, string])[] = [
    ['position', formatCount(stats.position)],
    ['  durable', formatCount(stats.durablePosition)],
    ['  flushed', formatCount(stats.flushedPosition)],
    ['  oldest in log', formatCount(stats.oldestPosition)],
    ['entries', `${formatCount(stats.entries)} (old versions and tombstones included)`],
    [
      'on disk',
      `${formatBytes(stats.diskBytes)} (segments ${formatBytes(stats.segmentBytes)}, blobs ${formatBytes(stats.blobs.bytes)}, log ${formatBytes(stats.logBytes)})`,
    ],
    ['consumers', formatCount(stats.consumers.length)],
    ['health', stats.health === undefined ? 'good' : stats.health.message],
  ]
  return [...rows.map(([name, value]) => `${name.padEnd(16)}${value}`), '', ...describeTree(stats)]
}

/** `Error`s turn into `{}` in JSON; say what they say. */
export function statsToJson(stats: Stats): Record<string, unknown> {
  return { ...stats, health: stats.health === undefined ? null : stats.health.message }
}
