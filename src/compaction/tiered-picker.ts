import { LEVEL_COUNT, type Version } from '../version/version.js'
import type { CompactionInput, CompactionTask, PickerOptions } from './compaction-task.js'

const DEEPEST = LEVEL_COUNT - 1

/**
 * Tiered compaction: every deeper level is one sorted run, and a run is merged with the newer ones once they
 * together are as large. Writes less than leveled, reads more and takes more space. Pure.
 * Source: RocksDB's universal compaction.
 */
export function pickTiered(
  version: Version,
  options: PickerOptions,
  busy: ReadonlySet<number>,
): CompactionTask | undefined {
  const l0 = version.levels[0]!
  if (l0.length < options.l0SegmentsMax || busy.size > 0) return undefined
  const inputs: CompactionInput[] = [{ level: 0, segments: l0 }]
  let bytes = version.bytesOf(0)
  let outputLevel = DEEPEST
  for (let level = 1; level <= DEEPEST; level++) {
    const segments = version.levels[level]!
    if (segments.length === 0) continue
    const hasRoomAbove = level > 1 + lastLevel(inputs)
    if (version.bytesOf(level) > bytes && hasRoomAbove) {
      outputLevel = level - 1
      break
    }
    inputs.push({ level, segments })
    bytes += version.bytesOf(level)
  }
  return { kind: 'merge', inputs, outputLevel }
}

function lastLevel(inputs: readonly CompactionInput[]): number {
  return inputs[inputs.length - 1]!.level
}
