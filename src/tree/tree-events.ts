/**
 * What happens in the tree. A `…began` is always followed by its `…ended`, unless the store fails or closes. `forReads`:
 * nothing was full, but range reads of a store that nobody wrote to are quicker afterwards.
 */
export type TreeEvent =
  | { readonly type: 'flush.began'; readonly logNumber: number; readonly forReads?: true }
  | {
      readonly type: 'flush.ended'
      readonly logNumber: number
      readonly forReads?: true
      readonly segments: readonly number[]
      readonly sizeBytes: number
      readonly durationMs: number
    }
  | {
      readonly type: 'compaction.began'
      readonly inputs: readonly number[]
      readonly outputLevel: number
      readonly forReads?: true
    }
  | {
      readonly type: 'compaction.ended'
      readonly forReads?: true
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
