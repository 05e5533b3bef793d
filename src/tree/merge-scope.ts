import type { CompactionTask } from '../compaction/compaction-task.js'
import { type KeyRange, rangesOverlap, spanOf } from '../key/key-range.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { compareBytes } from '../util/bytes.js'
import { LEVEL_COUNT, type Version } from '../version/version.js'

/** Data that is older than a merge into `outputLevel` and not part of it. */
export function olderThan(
  version: Version,
  outputLevel: number,
  inputs: ReadonlySet<number>,
  span: KeyRange | undefined,
): KeyRange[] {
  if (!span) return []
  const deeper = version.levels.slice(outputLevel + 1).flat()
  const older = deeper.filter((meta) => !inputs.has(meta.number) && rangesOverlap(meta.range, span))
  return coalesce(older.map((meta) => meta.range))
}

/** The same keys as sorted ranges that don't overlap. */
export function coalesce(ranges: readonly KeyRange[]): KeyRange[] {
  const sorted = [...ranges].sort((a, b) => compareBytes(a.start, b.start))
  const result: KeyRange[] = []
  for (const range of sorted) {
    const last = result[result.length - 1]
    if (last && rangesOverlap(last, range)) result[result.length - 1] = spanOf([last, range])!
    else result.push(range)
  }
  return result
}

/** Everything that overlaps the range in any level, and whatever overlaps that in turn. */
export function wholeRangeTask({ levels }: Version, range: KeyRange): CompactionTask | undefined {
  let span: KeyRange | undefined = range
  let chosen: SegmentMeta[][] = []
  for (let count = -1; span && chosen.flat().length !== count; ) {
    count = chosen.flat().length
    const within: KeyRange = span
    chosen = levels.map((metas) => metas.filter((meta) => rangesOverlap(meta.range, within)))
    span = spanOf(chosen.flat().map((meta) => meta.range))
  }
  const inputs = chosen
    .map((segments, level) => ({ level, segments }))
    .filter(({ segments }) => segments.length > 0)
  if (inputs.length === 0) return undefined
  const outputLevel = Math.min(LEVEL_COUNT - 1, Math.max(1, inputs[inputs.length - 1]!.level))
  return { kind: 'merge', inputs, outputLevel }
}
