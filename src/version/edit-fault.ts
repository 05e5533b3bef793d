import { POSITION_MAX } from '../key/position.js'
import { BLOB_ID_MAX } from '../segment/blob-format.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { compareBytes } from '../util/bytes.js'
import type { Version, VersionEdit } from './version.js'

/** Numbers of files beyond this leave no room for later ones. */
const FILE_NUMBER_MAX = 2 ** 48
/** What claims to be larger was not written by us. */
const FILE_BYTES_MAX = 2 ** 46

/** What is wrong with an edit that came from a file, seen from the version before it; undefined: nothing. */
export function findEditFault(version: Version, edit: VersionEdit): string | undefined {
  const numbers = new Set<number>()
  for (const meta of version.segments()) numbers.add(meta.number)
  for (const number of edit.removed ?? []) {
    if (!numbers.delete(number)) return `an edit that removes segment ${number}, which is not there`
  }
  const blobs = new Set(version.blobs.keys())
  for (const { id, sizeBytes } of edit.blobs ?? []) {
    if (id < 1 || id > BLOB_ID_MAX) return 'a blob file with an id out of range'
    if (sizeBytes > FILE_BYTES_MAX) return `a blob file of ${sizeBytes} bytes`
    blobs.add(id)
  }
  for (const { meta } of edit.added ?? []) {
    if (numbers.has(meta.number)) return `an edit that adds segment ${meta.number} twice`
    numbers.add(meta.number)
    const fault = findMetaFault(meta)
    if (fault) return `segment ${meta.number}: ${fault}`
    const unknown = meta.blobs.find(({ blobId }) => !blobs.has(blobId))
    if (unknown) return `segment ${meta.number} refers to a blob file that is not listed`
  }
  if ((edit.flushedPosition ?? version.flushedPosition) < version.flushedPosition)
    return 'an edit that moves the flushed position back'
  const { flushedPosition = 0, durablePosition = 0, tombstoneHorizon = 0 } = edit
  if (Math.max(flushedPosition, durablePosition, tombstoneHorizon) > POSITION_MAX)
    return 'a position beyond the last'
  if (Math.max(edit.nextFileNumber ?? 0, edit.logNumber ?? 0) > FILE_NUMBER_MAX)
    return 'a file number beyond the last'
  return undefined
}

function findMetaFault(meta: SegmentMeta): string | undefined {
  if (meta.number < 1 || meta.number > FILE_NUMBER_MAX) return 'a number out of range'
  if (meta.positionMin > meta.positionMax || meta.positionMax > POSITION_MAX) return 'positions out of range'
  const { start, end } = meta.range
  if (end && compareBytes(start, end) >= 0) return 'an empty range of keys'
  return undefined
}
