import type { Job, JobResult } from '../env/job.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { FilterColumn } from '../segment/filter-column.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'

/** What every job that writes segments is told. Plain data: it crosses threads. */
export interface OutputOptions extends Job {
  /** The outputs are numbered from here; `fileNumberCount` were reserved. */
  readonly firstFileNumber: number
  readonly fileNumberCount: number
  readonly segmentBytes: number
  readonly blockBytes: number
  readonly isCompressed: boolean
  /** Values from this size on are set apart. */
  readonly blobMinBytes: number
  /** The blob files that are written are numbered from here. */
  readonly firstBlobId: number
  /** Blob files that are given up: what an entry refers to in them is written anew. */
  readonly movedBlobs: readonly number[]
  /** Ascending positions that readers hold. */
  readonly snapshots: readonly Position[]
  /** Where older data may be: sorted, not overlapping. */
  readonly olderRanges: readonly KeyRange[]
  /** Of the filter over several segments, where this one is in it: only a job of one segment has it. */
  readonly column?: FilterColumn | undefined
}

/** Log memory that a memtable stands on. */
export interface FlushedLog {
  readonly memory: SharedArrayBuffer
  readonly logBytes: number
  /** The position before the first one in it. */
  readonly basePosition: Position
}

/** Writes memtables that follow one another as one segment of level 0, out of their log memory, oldest first. */
export interface FlushJob extends OutputOptions {
  readonly kind: 'flush'
  readonly logs: readonly FlushedLog[]
  /** What of the thread a merge that waits gets meanwhile, from 0 to 1: the flush goes first otherwise. */
  readonly mergeShare: number
}

/** Merges sorted runs, newest first, into new segments. */
export interface MergeJob extends OutputOptions {
  readonly kind: 'merge'
  readonly runs: readonly (readonly SegmentMeta[])[]
}

/** Checks every byte of one segment. */
export interface VerifyJob extends Job {
  readonly kind: 'verify'
  readonly segment: SegmentMeta
}

/** Checks every byte of one blob file. */
export interface VerifyBlobJob extends Job {
  readonly kind: 'verify-blob'
  readonly blob: BlobMeta
}

export interface SegmentsWritten extends JobResult {
  readonly kind: 'written'
  readonly segments: readonly SegmentMeta[]
  readonly blobs: readonly BlobMeta[]
  readonly entriesRead: number
  /** Older versions, deleted entries and tombstones that nobody can see any more. */
  readonly entriesDropped: number
  /** The newest tombstone, of a key or a range, that went because nothing is left for it to hide; 0: none. */
  readonly tombstoneHorizon: Position
}

export interface SegmentVerified extends JobResult {
  readonly kind: 'verified'
  readonly blocks: number
  readonly entries: number
}

export interface BlobVerified extends JobResult {
  readonly kind: 'blob-verified'
}

export type AnyJob = FlushJob | MergeJob | VerifyJob | VerifyBlobJob
export type AnyResult = SegmentsWritten | SegmentVerified | BlobVerified
