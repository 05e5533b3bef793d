/** What happens in the tree. A `…began` is always followed by its `…ended`, unless the store fails or closes. */
export type TreeEvent =
  | { readonly type: 'flush.began'; readonly logNumber: number }
  | {
      readonly type: 'flush.ended'
      readonly logNumber: number
      readonly segments: readonly number[]
      readonly sizeBytes: number
      readonly durationMs: number
    }
  | { readonly type: 'compaction.began'; readonly inputs: readonly number[]; readonly outputLevel: number }
  | {
      readonly type: 'compaction.ended'
      readonly inputs: readonly number[]
      readonly outputs: readonly number[]
      readonly outputLevel: number
      readonly sizeBytes: number
      readonly entriesDropped: number
      readonly durationMs: number
    }
  | {
      readonly type: 'segment.moved'
      readonly segment: number
      readonly fromLevel: number
      readonly outputLevel: number
    }
