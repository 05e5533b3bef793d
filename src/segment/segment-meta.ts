import type { KeyRange } from '../key/key-range.js'
import type { SegmentProperties } from './segment-format.js'

/** What the manifest knows of a blob file. */
export interface BlobMeta {
  readonly id: number
  readonly sizeBytes: number
  /** CRC-32 of the whole file. */
  readonly checksum: number
}

/** What the manifest knows of a segment; enough to decide about it without opening it. */
export interface SegmentMeta extends SegmentProperties {
  readonly number: number
  readonly sizeBytes: number
  /** CRC-32 of the whole file. */
  readonly checksum: number
  /** Covers every key and every range tombstone in it. */
  readonly range: KeyRange
}
