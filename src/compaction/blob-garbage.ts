import { BLOB_HEADER_BYTES } from '../segment/blob-format.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { LEVEL_COUNT, type Version } from '../version/version.js'
import type { CompactionTask } from './compaction-task.js'

/** A blob file of which a greater share is garbage is given up: what is left in it is moved on. */
export const GARBAGE_SHARE_MAX = 0.5

/** How many bytes of each blob file the segments refer to, by id. */
export function liveBlobBytes(version: Version): Map<number, number> {
  const live = new Map<number, number>()
  if (version.blobs.size === 0) return live
  for (const meta of version.segments()) {
    for (const { blobId, sizeBytes } of meta.blobs) live.set(blobId, (live.get(blobId) ?? 0) + sizeBytes)
  }
  return live
}

/** Ids of the blob files of which more than a share is garbage. */
export function blobsToMove(version: Version, garbageShare: number): number[] {
  const live = liveBlobBytes(version)
  const isGarbage = (id: number, sizeBytes: number) =>
    live.get(id)! < (sizeBytes - BLOB_HEADER_BYTES) * (1 - garbageShare)
  return [...version.blobs.values()]
    .filter(({ id, sizeBytes }) => isGarbage(id, sizeBytes))
    .map(({ id }) => id)
}

/**
 * The segment that refers to most of what is left in files of which more than a share is garbage, to be written anew
 * where it is. What level 0 refers to is moved when it is merged.
 */
export function pickBlobGarbage(
  version: Version,
  busy: ReadonlySet<number>,
  garbageShare = GARBAGE_SHARE_MAX,
): CompactionTask | undefined {
  if (version.blobs.size === 0) return undefined
  const moved = new Set(blobsToMove(version, garbageShare))
  if (moved.size === 0) return undefined
  const movedBytes = (meta: SegmentMeta) =>
    meta.blobs.reduce((sum, { blobId, sizeBytes }) => sum + (moved.has(blobId) ? sizeBytes : 0), 0)
  for (let level = LEVEL_COUNT - 1; level > 0; level--) {
    const [most] = version.levels[level]!.filter(
      (meta) => !busy.has(meta.number) && movedBytes(meta) > 0,
    ).sort((a, b) => movedBytes(b) - movedBytes(a))
    if (most) return { kind: 'merge', inputs: [{ level, segments: [most] }], outputLevel: level }
  }
  return undefined
}
