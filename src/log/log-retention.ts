import type { Position } from '../key/position.js'

/** A log file that is complete. */
export interface LogFileInfo {
  readonly number: number
  readonly basePosition: Position
  readonly lastPosition: Position
  readonly sizeBytes: number
  /** When its first change was committed. */
  readonly openedMs: number
  /** When its last change was committed. */
  readonly closedMs: number
}

export interface RetentionRule {
  /** Changes up to here are in segments: recovery does not need them. */
  readonly flushedPosition: Position
  /** The lowest position that a reader still needs; undefined: nobody reads. */
  readonly pinnedPosition: Position | undefined
  readonly maxBytes: number
  readonly maxAgeMs: number
  readonly pinnedMaxBytes: number
  readonly nowMs: number
}

/**
 * How many of the oldest files can go. Only from the old end, so that what is left has no hole. Pure.
 * A file stays while recovery needs it; beyond that while a pin needs it, up to `pinnedMaxBytes`; beyond that
 * while it is young enough and the kept ones are within `maxBytes`.
 */
export function countToTrim(files: readonly LogFileInfo[], rule: RetentionRule): number {
  let count = 0
  let keptBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
  for (const file of files) {
    if (file.lastPosition > rule.flushedPosition) break
    const isPinned = rule.pinnedPosition !== undefined && file.lastPosition >= rule.pinnedPosition
    const isWanted = rule.nowMs - file.closedMs <= rule.maxAgeMs && keptBytes <= rule.maxBytes
    if (isWanted || (isPinned && keptBytes <= rule.pinnedMaxBytes)) break
    keptBytes -= file.sizeBytes
    count++
  }
  return count
}

/** A file that is held beyond the limits is looked at again so often: what held it may let go without a sign. */
const HELD_MS = 10_000

/** When to look again though nothing is written; undefined: no need to. Pure. */
export function nextTrimMs(
  files: readonly LogFileInfo[],
  rule: Pick<RetentionRule, 'maxBytes' | 'maxAgeMs' | 'nowMs'>,
): number | undefined {
  const [oldest] = files
  if (!oldest) return undefined
  const keptBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
  const leftMs = oldest.closedMs + rule.maxAgeMs - rule.nowMs
  if (keptBytes > rule.maxBytes || leftMs < 0) return HELD_MS
  return leftMs === Number.POSITIVE_INFINITY ? undefined : leftMs + 1
}
