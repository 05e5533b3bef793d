import { jobHost } from '../compaction/job-host.js'
import type { Env } from '../env/env.js'
import { joinPath, manifestFileName, segmentFileName } from '../env/file-names.js'
import { readWhole } from '../env/write-fully.js'
import { VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  expiryBetween,
  KIND_CLEAR,
  KIND_CLEAR_AFTER,
  KIND_CURSOR,
  KIND_DEL,
  KIND_PUT,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
  opValueStart,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { isApart, valueBytesOf } from '../segment/blob-format.js'
import { blobBytesOf } from '../segment/blob-uses.js'
import { Block, EntryFields } from '../segment/block.js'
import { BLOCKING } from '../segment/read-context.js'
import type { BlobUse } from '../segment/segment-format.js'
import { SegmentIterator } from '../segment/segment-iterator.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { SegmentReader } from '../segment/segment-reader.js'
import { listDirectory } from '../store/directory.js'
import { type LogPiece, logPieces } from '../store/log-reader.js'
import { cloneBytes } from '../util/bytes.js'
import { readEdits, readManifest as recoverManifest } from '../version/version-set.js'

export interface LogOp {
  /** `cursor`: the state of the consumer named by `key`. */
  readonly type: 'put' | 'del' | 'clear' | 'cursor'
  readonly key?: Uint8Array
  readonly valueBytes?: number
  /** Of a put that expires, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
  readonly start?: Uint8Array
  readonly end?: Uint8Array | undefined
}

export interface LogRecord {
  readonly file: string
  readonly offset: number
  readonly position: Position
  readonly timestamp: number
  readonly ops: readonly LogOp[]
}

export interface SegmentReport {
  readonly file: string
  readonly properties: Record<string, string | number>
  entries(): Iterable<{ key: Uint8Array; position: Position; kind: 'put' | 'del'; valueBytes: number }>
  readonly tombstones: readonly { start: Uint8Array; end: Uint8Array | undefined; position: Position }[]
  close(): void
}

/** Every batch in the log files of a closed store, oldest first. Ends at a torn tail without an error. */
export function* readLog(
  env: Env,
  directory: string,
  options: { from?: Position } = {},
): Iterable<LogRecord> {
  const { files } = listDirectory(env, directory)
  const numbers = files.filter(({ kind }) => kind === 'log').map(({ number }) => number)
  numbers.sort((a, b) => a - b)
  for (const number of numbers) {
    for (const piece of logPieces(env, directory, number, undefined)) {
      if (piece.position >= (options.from ?? 0)) yield recordOf(piece)
    }
  }
}

/** One segment that the manifest names. */
export function readSegment(env: Env, directory: string, number: number): SegmentReport {
  const manifest = recoverManifest(env, directory)
  const meta = [...(manifest?.version.segments() ?? [])].find((candidate) => candidate.number === number)
  if (!meta)
    throw new VarveError('VARVE_INVALID_ARGUMENT', `the store has no segment ${segmentFileName(number)}`)
  const reader = openSegment(env, directory, meta)
  const { sizeBytes, checksum } = meta
  const { blobs, ...counts } = reader.properties
  const apart = { blobFiles: blobs.length, blobBytes: blobBytesOf(meta) }
  return {
    file: reader.path,
    properties: { sizeBytes, checksum, blocks: reader.index.count, ...counts, ...apart },
    entries: () => entriesOf(reader),
    tombstones: reader.tombstones.all,
    close: () => reader.close(),
  }
}

/** An entry of a sampled block, which stands for so many blocks like it. */
export interface SampledEntry {
  readonly kind: 'put' | 'del'
  readonly keyBytes: number
  readonly valueBytes: number
  readonly weight: number
}

/**
 * Entries of about `blockCount` blocks, evenly spread over all segments. Where there are more, a block is chosen in
 * proportion to its size, and stands for as many as that makes: so few blocks of large values are not overlooked.
 * How many values stand apart a segment itself says.
 */
export function* sampleEntries(env: Env, directory: string, blockCount: number): Iterable<SampledEntry> {
  const manifest = recoverManifest(env, directory)
  const metas = [...(manifest?.version.segments() ?? [])]
  const strideBytes = metas.reduce((sum, meta) => sum + meta.sizeBytes, 0) / blockCount
  let passedBytes = 0
  let next = strideBytes / 2
  for (const meta of metas) {
    const reader = openSegment(env, directory, meta)
    const apart: SampledEntry[] = []
    try {
      const { index } = reader
      for (let i = 0; i < index.count; i++) {
        const sizeBytes = index.endOf(i) - index.offsetOf(i)
        passedBytes += sizeBytes
        if (passedBytes <= next) continue
        while (next < passedBytes) next += strideBytes
        yield* sampledOf(reader.block(i, BLOCKING, new Block()), Math.max(1, strideBytes / sizeBytes), apart)
      }
      yield* weighApart(meta, apart)
    } finally {
      reader.close()
    }
  }
}

/** What of the values that stand apart was met stands for all of them; where nothing was, their average does. */
function* weighApart(meta: SegmentMeta, met: readonly SampledEntry[]): Generator<SampledEntry> {
  const sum = (of: (use: BlobUse) => number) => meta.blobs.reduce((total, use) => total + of(use), 0)
  const count = sum((use) => use.count)
  if (count === 0) return
  const keyBytes = Math.round(meta.keyBytes / meta.entryCount)
  const average = {
    kind: 'put' as const,
    keyBytes,
    weight: 1,
    valueBytes: Math.round(sum((use) => use.valueBytes) / count),
  }
  for (const entry of met.length > 0 ? met : [average])
    yield { ...entry, weight: count / Math.max(1, met.length) }
}

/** @param apart gets those whose values stand apart. */
function* sampledOf(block: Block, weight: number, apart: SampledEntry[]): Generator<SampledEntry> {
  const fields = new EntryFields()
  for (let i = 0; i < block.count; i++) {
    block.read(i, fields)
    const { kind, keyStart, keyEnd, valueStart, valueEnd } = fields
    const entry: SampledEntry = {
      kind: kind === KIND_PUT ? 'put' : 'del',
      keyBytes: keyEnd - keyStart,
      valueBytes: valueBytesOf(block.bytes, keyEnd, valueStart, valueEnd),
      weight,
    }
    if (isApart(block.bytes, keyEnd, valueStart, valueEnd)) apart.push(entry)
    else yield entry
  }
}

/** The edits of the current manifest, in the order they were written. */
export function* readManifest(env: Env, directory: string): Iterable<Record<string, unknown>> {
  const manifest = recoverManifest(env, directory)
  if (!manifest) throw new VarveError('VARVE_INVALID_ARGUMENT', `there is no store at ${directory}`)
  const path = joinPath(directory, manifestFileName(manifest.manifestNumber))
  for (const edit of readEdits(readWhole(env, path), path, env.vault)) yield { ...edit }
}

function openSegment(env: Env, directory: string, meta: SegmentMeta): SegmentReader {
  return SegmentReader.open(jobHost(env, directory), meta)
}

function recordOf({ path, frameOffset, position, timestampMs, bytes, batchOffset }: LogPiece): LogRecord {
  const ops: LogOp[] = []
  let op = batchOffset + BATCH_HEADER_BYTES
  for (let i = 0; i < batchOpCount(bytes, batchOffset); i++) {
    ops.push(describeOp(bytes, op))
    op += opSizeBytes(bytes, op)
  }
  return { file: path, offset: frameOffset, position, timestamp: timestampMs, ops }
}

function describeOp(bytes: Buffer, op: number): LogOp {
  const keyStart = op + OP_HEADER_BYTES
  const keyEnd = keyStart + opKeyLength(bytes, op)
  const key = cloneBytes(bytes, keyStart, keyEnd)
  const valueBytes = opValueLength(bytes, op)
  if (bytes[op] === KIND_CURSOR) return { type: 'cursor', key, valueBytes }
  if (bytes[op] === KIND_CLEAR_AFTER) return { type: 'clear', start: key, end: undefined }
  if (bytes[op] === KIND_CLEAR)
    return { type: 'clear', start: key, end: cloneBytes(bytes, keyEnd, keyEnd + valueBytes) }
  if (bytes[op] === KIND_DEL) return { type: 'del', key }
  const valueStart = opValueStart(bytes, op)
  const expiresAt = expiryBetween(bytes, keyEnd, valueStart)
  const put = { type: 'put' as const, key, valueBytes: keyEnd + valueBytes - valueStart }
  return expiresAt === undefined ? put : { ...put, expiresAt }
}

function* entriesOf(reader: SegmentReader): ReturnType<SegmentReport['entries']> & Generator {
  const iterator = new SegmentIterator(reader, BLOCKING, { fillsCache: false })
  for (iterator.seekToFirst(); iterator.isValid; iterator.next()) {
    const { bytes, keyStart, keyEnd, position, kind, valueStart, valueEnd } = iterator
    const key = cloneBytes(bytes, keyStart, keyEnd)
    const valueBytes = valueBytesOf(bytes, keyEnd, valueStart, valueEnd)
    yield { key, position, kind: kind === KIND_PUT ? 'put' : 'del', valueBytes }
  }
}
