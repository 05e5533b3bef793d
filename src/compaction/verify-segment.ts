import type { Env } from '../env/env.js'
import { blobFileName, joinPath } from '../env/file-names.js'
import { corruption } from '../errors.js'
import type { Position } from '../key/position.js'
import { isApart, readReference } from '../segment/blob-format.js'
import { BlobUses } from '../segment/blob-uses.js'
import { BLOCKING } from '../segment/read-context.js'
import { SegmentIterator } from '../segment/segment-iterator.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { SegmentReader } from '../segment/segment-reader.js'
import { cloneBytes, compareRanges } from '../util/bytes.js'
import { verifyChecksum } from './file-checksum.js'
import { jobHost } from './job-host.js'
import type { BlobVerified, SegmentVerified, VerifyBlobJob, VerifyJob } from './segment-job.js'

const ENTRIES_PER_STEP = 256

/** Reads every byte: the checksum of the file, of every section, of every value that stands apart, the order and the number of the entries. */
export function* verifySegment(env: Env, job: VerifyJob): Generator<void, SegmentVerified> {
  const { segment: meta, directory } = job
  const host = jobHost(env, directory)
  const reader = SegmentReader.open(host, meta)
  try {
    yield* verifyChecksum(env, reader.path, meta)
    const iterator = new SegmentIterator(reader, BLOCKING, { fillsCache: false })
    const uses = new BlobUses()
    let entries = 0
    let lastKey: Uint8Array = Buffer.alloc(0)
    let lastPosition = Number.MAX_SAFE_INTEGER
    for (iterator.seekToFirst(); iterator.isValid; iterator.next()) {
      const { bytes, keyStart, keyEnd, position, valueStart, valueEnd } = iterator
      if (!isIn(meta, bytes, keyStart, keyEnd, position))
        throw corruption(reader.path, 0, `entry ${entries} is outside the segment's range`)
      const order = compareRanges(lastKey, 0, lastKey.length, bytes, keyStart, keyEnd)
      const isOrdered = entries === 0 || order < 0 || (order === 0 && position < lastPosition)
      if (!isOrdered) throw corruption(reader.path, 0, `entry ${entries} is out of order`)
      if (order !== 0) lastKey = cloneBytes(bytes, keyStart, keyEnd)
      lastPosition = position
      if (isApart(bytes, keyEnd, valueStart, valueEnd)) {
        const reference = readReference(bytes, keyEnd)
        host.blobs.read(reference, BLOCKING, true)
        uses.add(reference)
        yield
      }
      if (++entries % ENTRIES_PER_STEP === 0) yield
    }
    if (entries !== meta.entryCount) {
      throw corruption(reader.path, 0, `${entries} entries instead of ${meta.entryCount}`)
    }
    if (!uses.isSame(meta.blobs) || !uses.isSame(reader.properties.blobs))
      throw corruption(reader.path, 0, 'it refers to other values than it says')
    return { kind: 'verified', blocks: reader.index.count, entries }
  } finally {
    reader.close()
    host.blobs.closeAll()
  }
}

/** Reads every byte of a blob file, also of values that nobody refers to any more. */
export function* verifyBlob(env: Env, { directory, blob }: VerifyBlobJob): Generator<void, BlobVerified> {
  yield* verifyChecksum(env, joinPath(directory, blobFileName(blob.id)), blob)
  return { kind: 'blob-verified' }
}

function isIn(
  meta: SegmentMeta,
  bytes: Uint8Array,
  keyStart: number,
  keyEnd: number,
  position: Position,
): boolean {
  const { start, end } = meta.range
  if (position < meta.positionMin || position > meta.positionMax) return false
  if (compareRanges(start, 0, start.length, bytes, keyStart, keyEnd) > 0) return false
  return !end || compareRanges(end, 0, end.length, bytes, keyStart, keyEnd) > 0
}
