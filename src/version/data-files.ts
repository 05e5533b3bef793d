import { blobFileName, segmentFileName } from '../env/file-names.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import type { Version, VersionEdit } from './version.js'

/** A file that a version is made of. It never changes. */
export interface DataFile {
  readonly kind: 'segment' | 'blob'
  /** Of a blob file its id. */
  readonly number: number
  readonly name: string
  readonly sizeBytes: number
  /** CRC-32 of the whole file. */
  readonly checksum: number
}

export function dataFilesOf(version: Version): DataFile[] {
  return [...[...version.segments()].map(segmentFile), ...[...version.blobs.values()].map(blobFile)]
}

/** Of a whole version that is written as one edit. */
export function dataFilesOfEdit({ added = [], blobs = [] }: VersionEdit): DataFile[] {
  return [...added.map(({ meta }) => segmentFile(meta)), ...blobs.map(blobFile)]
}

function segmentFile({ number, sizeBytes, checksum }: SegmentMeta): DataFile {
  return { kind: 'segment', number, name: segmentFileName(number), sizeBytes, checksum }
}

function blobFile({ id, sizeBytes, checksum }: BlobMeta): DataFile {
  return { kind: 'blob', number: id, name: blobFileName(id), sizeBytes, checksum }
}
