import type { SegmentMeta } from '../segment/segment-meta.js'

/** What a picker decides. Inputs of level 0 are newest first, those of a deeper level in order of keys. */
export type CompactionTask =
  | {
      readonly kind: 'merge'
      readonly inputs: readonly CompactionInput[]
      readonly outputLevel: number
    }
  | {
      readonly kind: 'move'
      readonly segment: SegmentMeta
      readonly fromLevel: number
      readonly outputLevel: number
    }

export interface CompactionInput {
  readonly level: number
  readonly segments: readonly SegmentMeta[]
}

export interface PickerOptions {
  readonly l0SegmentsMax: number
  /** Target size of level 1. */
  readonly levelBaseBytes: number
  readonly levelRatio: number
  /** No snapshot is older: what is deleted at or below it can go. */
  readonly snapshotFloor: number
}

export function inputSegments(task: CompactionTask): readonly SegmentMeta[] {
  return task.kind === 'move' ? [task.segment] : task.inputs.flatMap((input) => input.segments)
}
