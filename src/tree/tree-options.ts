/** How the tree is shaped; see `OpenOptions` for what each means to a user. */
export interface TreeOptions {
  readonly memory: number
  readonly memtableBytes: number
  readonly segmentBytes: number
  readonly blockBytes: number
  readonly blobMinBytes: number
  readonly levelRatio: number
  readonly l0SegmentsMax: number
  readonly isCompressed: boolean
  readonly compaction: 'leveled' | 'tiered'
  readonly workers: number
}
