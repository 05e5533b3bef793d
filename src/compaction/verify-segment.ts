import type { Env, File } from '../env/env.js'
import { readFully } from '../env/write-fully.js'
import { corruption } from '../errors.js'
import type { Position } from '../key/position.js'
import { BLOCKING } from '../segment/read-context.js'
import { SegmentIterator } from '../segment/segment-iterator.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { SegmentReader } from '../segment/segment-reader.js'
import { cloneBytes, compareRanges } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { jobHost } from './job-host.js'
import type { SegmentVerified, VerifyJob } from './segment-job.js'

const READ_BYTES = 1024 * 1024
const ENTRIES_PER_STEP = 256

/** Reads every byte: the checksum of the file, of every section, the order and the number of the entries. */
export function* verifySegment(env: Env, job: VerifyJob): Generator<void, SegmentVerified> {
  const { segment: meta, directory } = job
  const host = jobHost(env, directory)
  const reader = new SegmentReader(host, meta)
  try {
    yield* verifyChecksum(env, reader)
    const iterator = new SegmentIterator(reader, BLOCKING, { fillsCache: false })
    let entries = 0
    let lastKey: Uint8Array = Buffer.alloc(0)
    let lastPosition = Number.MAX_SAFE_INTEGER
    for (iterator.seekToFirst(); iterator.isValid; iterator.next()) {
      const { bytes, keyStart, keyEnd, position } = iterator
      if (!isIn(meta, bytes, keyStart, keyEnd, position))
        throw corruption(reader.path, 0, `entry ${entries} is outside the segment's range`)
      const order = compareRanges(lastKey, 0, lastKey.length, bytes, keyStart, keyEnd)
      const isOrdered = entries === 0 || order < 0 || (order === 0 && position < lastPosition)
      if (!isOrdered) throw corruption(reader.path, 0, `entry ${entries} is out of order`)
      if (order !== 0) lastKey = cloneBytes(bytes, keyStart, keyEnd)
      lastPosition = position
      if (++entries % ENTRIES_PER_STEP === 0) yield
    }
    if (entries !== meta.entryCount) {
      throw corruption(reader.path, 0, `${entries} entries instead of ${meta.entryCount}`)
    }
    return { kind: 'verified', blocks: reader.index.count, entries }
  } finally {
    reader.close()
  }
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

function* verifyChecksum(env: Env, reader: SegmentReader): Generator<void> {
  const file: File = env.fs.open(reader.path, 'read')
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, reader.meta.sizeBytes))
    let checksum = 0
    for (let offset = 0; offset < reader.meta.sizeBytes; offset += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, reader.meta.sizeBytes - offset))
      readFully(file, piece, offset)
      checksum = crc32(piece, 0, piece.length, checksum)
      yield
    }
    if (checksum !== reader.meta.checksum) throw corruption(reader.path, 0, 'file checksum mismatch')
  } finally {
    file.close()
  }
}
