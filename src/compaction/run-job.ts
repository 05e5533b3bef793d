import type { Env } from '../env/env.js'
import { corruption, VarveError } from '../errors.js'
import { MergingIterator } from '../iterator/merging-iterator.js'
import { batchSizeBytes } from '../key/batch-format.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import {
  FRAME_END,
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from '../log/log-format.js'
import { isFrame } from '../log/log-scan.js'
import { LogEntries } from '../memtable/log-entries.js'
import { RunIterator } from '../memtable/run-iterator.js'
import { clearStale } from '../segment/filter-column.js'
import { LevelIterator } from '../segment/level-iterator.js'
import { BLOCKING } from '../segment/read-context.js'
import { SegmentIterator } from '../segment/segment-iterator.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { type SegmentHost, SegmentReader } from '../segment/segment-reader.js'
import { unreachable } from '../util/assert.js'
import { asBuffer } from '../util/bytes.js'
import { jobHost } from './job-host.js'
import type {
  AnyJob,
  AnyResult,
  FlushedLog,
  FlushJob,
  MergeJob,
  SegmentsWritten,
  VerifyJob,
} from './segment-job.js'
import { verifyBlob, verifySegment } from './verify-segment.js'
import { writeSegments } from './write-segments.js'

/** The work of a job, in steps that each take well under a millisecond (but for a flush's sort). */
export function runJob(env: Env, job: AnyJob): Generator<void, AnyResult> {
  switch (job.kind) {
    case 'flush':
      return runFlush(env, job)
    case 'merge':
      return runMerge(env, job)
    case 'verify':
      return verifySegment(env, job)
    case 'verify-blob':
      return verifyBlob(env, job)
    default:
      return unreachable(job)
  }
}

function* runFlush(env: Env, job: FlushJob): Generator<void, SegmentsWritten> {
  if (job.column) yield* clearStale(job.column)
  const logs: LogEntries[] = []
  const runs: RunIterator[] = []
  const tombstones: RangeTombstone[] = []
  for (const log of job.logs) {
    const entries = yield* collectEntries(log, job.directory)
    logs.push(entries)
    runs.push(new RunIterator(entries, entries.sorted()))
    tombstones.push(...entries.tombstones)
    yield
  }
  const [only] = runs
  const input = runs.length === 1 ? only! : new MergingIterator(runs)
  const result = yield* writeSegments(env, job, input, tombstones, job.logs[0]!.basePosition)
  for (const entries of logs) entries.close()
  return result
}

function* collectEntries(log: FlushedLog, directory: string): Generator<void, LogEntries> {
  const bytes = asBuffer(new Uint8Array(log.memory, 0, log.logBytes))
  const header = readLogHeader(bytes, directory)
  if (!header) throw corruption(directory, 0, 'log memory without a header')
  const seed = logSeed(header.storeId, header.number)
  const entries = new LogEntries(bytes, log.basePosition)
  for (let at = LOG_HEADER_BYTES; at < bytes.length; ) {
    // The checksum again: it is what tells a bug that scribbled over shared memory from data.
    if (!isFrame(bytes, at, seed)) throw corruption(directory, at, 'a damaged frame in log memory')
    const frame = readFrameHeader(bytes, at)
    let batch = at + FRAME_HEADER_BYTES + frame.cipherBytes
    for (let i = 0; i < frame.batchCount && frame.kind !== FRAME_END; i++) {
      entries.addBatch(batch, frame.firstPosition + i)
      batch += batchSizeBytes(bytes, batch)
    }
    at += FRAME_HEADER_BYTES + frame.bodyBytes
    yield
  }
  return entries
}

function* runMerge(env: Env, job: MergeJob): Generator<void, SegmentsWritten> {
  try {
    return yield* mergeRuns(env, job)
  } catch (error) {
    // A merge that does not come out right has a bug or a damaged input: whoever sees it must know which.
    const isNamed = error instanceof VarveError && error.file !== job.directory
    if (!isNamed) for (const segment of job.runs.flat()) yield* verifySegment(env, verifyJobOf(job, segment))
    throw error
  }
}

function verifyJobOf({ directory }: MergeJob, segment: SegmentMeta): VerifyJob {
  return { kind: 'verify', directory, segment }
}

function* mergeRuns(env: Env, job: MergeJob): Generator<void, SegmentsWritten> {
  const host = jobHost(env, job.directory)
  const readers: SegmentReader[] = []
  try {
    const tombstones: RangeTombstone[] = []
    let basePosition = Number.MAX_SAFE_INTEGER
    const runs = job.runs.map((metas) => {
      const opened = metas.map((meta) => openInput(host, meta, readers))
      for (const reader of opened) {
        tombstones.push(...reader.tombstones.all)
        basePosition = Math.min(basePosition, reader.properties.positionMin)
      }
      return new LevelIterator(
        metas,
        (index) => new SegmentIterator(opened[index]!, BLOCKING, { fillsCache: false }),
      )
    })
    const result = yield* writeSegments(env, job, new MergingIterator(runs), tombstones, basePosition)
    checkConservation(job, result)
    return result
  } finally {
    for (const reader of readers) reader.close()
  }
}

function openInput(host: SegmentHost, meta: SegmentMeta, readers: SegmentReader[]): SegmentReader {
  const reader = SegmentReader.open(host, meta)
  readers.push(reader)
  return reader
}

/** Inputs and outputs must add up: a source that ended early would be lost data. */
function checkConservation(job: MergeJob, result: SegmentsWritten): void {
  const expected = job.runs.flat().reduce((sum, meta) => sum + meta.entryCount, 0)
  const written = result.segments.reduce((sum, meta) => sum + meta.entryCount, 0)
  if (result.entriesRead === expected && written + result.entriesDropped === expected) return
  const what = `a merge read ${result.entriesRead} of ${expected} entries, wrote ${written}, dropped ${result.entriesDropped}`
  throw corruption(job.directory, 0, what)
}
