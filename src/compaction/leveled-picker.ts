import { type KeyRange, rangesOverlap, spanOf } from '../key/key-range.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { LEVEL_COUNT, type Version } from '../version/version.js'
import type { CompactionInput, CompactionTask, PickerOptions } from './compaction-task.js'

const DEEPEST = LEVEL_COUNT - 1
/** A segment of which so large a share deletes is merged down before its level is full. */
const TOMBSTONE_SHARE = 0.3
/** Of a memtable's bytes: smaller segments are merged, so that a level does not become a heap of small files. */
const MOVED_SHARE = 1 / 8
/** A range tombstone may hide any number of entries: it counts as many. */
const RANGE_TOMBSTONE_WEIGHT = 1000

/**
 * Leveled compaction: level 0 by number of segments, deeper levels by bytes, the fullest first; then segments full
 * of tombstones. Pure: looks at nothing but its arguments. `busy` segments are inputs of a running job.
 * Source: O'Neil et al., "The Log-Structured Merge-Tree", 1996; LevelDB's doc/impl.md.
 */
export function pickLeveled(
  version: Version,
  options: PickerOptions,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  const scores = version.levels.slice(0, DEEPEST).map((segments, level) => {
    const score =
      level === 0 ? segments.length / options.l0SegmentsMax : version.bytesOf(level) / target(level, options)
    return { level, score }
  })
  scores.sort((a, b) => b.score - a.score)
  for (const { level, score } of scores) {
    if (score < 1) break
    const task = level === 0 ? pickLevel0(version, options, busy) : pickFromLevel(version, level, busy)
    if (task) return task
  }
  return pickTombstones(version, options, busy)
}

/** Target size of a level in bytes. */
export function target(level: number, options: PickerOptions): number {
  return options.levelBaseBytes * options.levelRatio ** (level - 1)
}

/** All of level 0, however little there is. */
export function pickLevel0(
  version: Version,
  options: PickerOptions,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  const segments = version.levels[0]!
  if (segments.some((meta) => busy.has(meta.number))) return undefined
  const alone = findAlone(version, options)
  if (alone) return { kind: 'move', segment: alone, fromLevel: 0, outputLevel: 1 }
  return mergeInto(version, [{ level: 0, segments }], 1, busy)
}

/** The oldest segment of level 0 that overlaps none, there or below: what was written in order of keys needs no merge. */
function findAlone(
  version: Version,
  { levelBaseBytes, l0SegmentsMax }: PickerOptions,
): SegmentMeta | undefined {
  const bytesMin = (levelBaseBytes / l0SegmentsMax) * MOVED_SHARE
  return version.levels[0]!.findLast(
    ({ range, sizeBytes }) =>
      sizeBytes >= bytesMin &&
      version.overlapping(0, range).length === 1 &&
      version.overlapping(1, range).length === 0,
  )
}

/** The segment that drags along the least of the next level. */
function pickFromLevel(
  version: Version,
  level: number,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  let best: { cost: number; task: CompactionTask } | undefined
  for (const segment of version.levels[level]!) {
    if (busy.has(segment.number)) continue
    const overlap = version.overlapping(level + 1, segment.range)
    if (overlap.some((meta) => busy.has(meta.number))) continue
    const cost = overlap.reduce((sum, meta) => sum + meta.sizeBytes, 0) / segment.sizeBytes
    if (best && cost >= best.cost) continue
    const task = mergeInto(version, [{ level, segments: [segment] }], level + 1, busy)
    if (task) best = { cost, task }
  }
  return best?.task
}

function pickTombstones(
  version: Version,
  options: PickerOptions,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  for (let level = 1; level <= DEEPEST; level++) {
    for (const segment of version.levels[level]!) {
      if (busy.has(segment.number) || !isMostlyTombstones(segment)) continue
      // Held by a snapshot, they could not go: merging would change nothing.
      if (segment.positionMax > options.snapshotFloor) continue
      const isDeepest = isBottom(version, level, segment.range)
      const task = mergeInto(version, [{ level, segments: [segment] }], isDeepest ? level : level + 1, busy)
      if (task?.kind === 'merge') return task
    }
  }
  return undefined
}

export function isMostlyTombstones(segment: SegmentMeta): boolean {
  const tombstones = segment.delCount + segment.rangeTombstoneCount * RANGE_TOMBSTONE_WEIGHT
  return tombstones > 0 && tombstones >= (segment.entryCount + segment.rangeTombstoneCount) * TOMBSTONE_SHARE
}

/** No deeper level holds anything in the range. */
export function isBottom(version: Version, level: number, range: KeyRange): boolean {
  return version.levels
    .slice(level + 1)
    .every((segments) => !segments.some((meta) => rangesOverlap(meta.range, range)))
}

/** Merges the inputs with what they overlap in `outputLevel`; a move where there is nothing to merge. */
export function mergeInto(
  version: Version,
  inputs: readonly CompactionInput[],
  outputLevel: number,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  const segments = inputs.flatMap((input) => input.segments)
  const span = spanOf(segments.map((meta) => meta.range))
  if (!span) return undefined
  const taken = new Set(segments)
  const overlap = version.overlapping(outputLevel, span).filter((meta) => !taken.has(meta))
  if (overlap.some((meta) => busy.has(meta.number))) return undefined
  const [only] = segments
  if (segments.length === 1 && overlap.length === 0 && inputs[0]!.level !== outputLevel) {
    return { kind: 'move', segment: only!, fromLevel: inputs[0]!.level, outputLevel }
  }
  if (overlap.length === 0) return { kind: 'merge', inputs, outputLevel }
  return { kind: 'merge', inputs: [...inputs, { level: outputLevel, segments: overlap }], outputLevel }
}
