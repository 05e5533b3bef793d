import type { SegmentVerified, VerifyBlobJob, VerifyJob } from '../compaction/segment-job.js'
import type { Env, File } from '../env/env.js'
import { joinPath, logFileName, segmentFileName } from '../env/file-names.js'
import { readFully, writeFully } from '../env/write-fully.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { rangesOverlap } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import { STORE_ID_BYTES } from '../log/log-format.js'
import type { LogFileInfo } from '../log/log-retention.js'
import { throwIfAborted } from '../util/abort.js'
import { checkOptionNames } from '../util/option-names.js'
import { dataFilesOf } from '../version/data-files.js'
import { Version } from '../version/version.js'
import { VersionSet } from '../version/version-set.js'
import type { ProgressOptions, VerifyReport, WorkOptions } from './contract.js'
import { syncParents } from './directory.js'
import { logPieces } from './log-reader.js'
import { PROGRESS_NAMES, WORK_NAMES } from './option-names.js'
import type { Store } from './store.js'

const COPY_BYTES = 1024 * 1024
/** Verification has a lane of its own where there are several threads. */
const VERIFY_LANE = 2

/**
 * Reads every byte of every segment, every value that stands apart, and every complete log file, on background threads.
 * @throws VarveError `VARVE_CORRUPTION`, naming file and offset.
 */
export async function verifyStore(store: Store, options: ProgressOptions = {}): Promise<VerifyReport> {
  checkOptionNames('verify', options, PROGRESS_NAMES)
  store.throwIfClosed()
  const { signal } = options
  if (store.archive.damage) throw store.archive.damage
  const view = store.tree.view.acquire()
  try {
    verifyLevels(view.version, store.directory)
    const segments = [...view.version.segments()]
    const blobs = [...view.version.blobs.values()]
    const files: readonly { readonly sizeBytes: number }[] = [...segments, ...blobs]
    const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) + store.archive.bytes
    let bytes = 0
    let blocks = 0
    let entries = 0
    for (const segment of segments) {
      throwIfAborted(signal, 'the verification')
      const job: VerifyJob = { kind: 'verify', directory: store.directory, segment }
      const verified = (await store.scheduler.runner.run(() => job, VERIFY_LANE)) as SegmentVerified
      blocks += verified.blocks
      entries += verified.entries
      bytes += segment.sizeBytes
      options.onProgress?.(bytes, totalBytes)
    }
    for (const blob of blobs) {
      throwIfAborted(signal, 'the verification')
      const job: VerifyBlobJob = { kind: 'verify-blob', directory: store.directory, blob }
      await store.scheduler.runner.run(() => job, VERIFY_LANE)
      bytes += blob.sizeBytes
      options.onProgress?.(bytes, totalBytes)
    }
    const logFiles = [...store.archive.files]
    for (const file of logFiles) {
      await verifyLogFile(store, file, signal)
      bytes += file.sizeBytes
      options.onProgress?.(bytes, totalBytes)
    }
    return { segments: segments.length, blocks, entries, bytes, logFiles: logFiles.length }
  } finally {
    view.release()
  }
}

async function verifyLogFile(
  store: Store,
  info: LogFileInfo,
  signal: AbortSignal | undefined,
): Promise<void> {
  try {
    for (const _ of verifyLog(store.env, store.directory, info)) {
      const turn = store.fairTurn.due()
      if (turn) await turn
      throwIfAborted(signal, 'the verification')
    }
  } catch (error) {
    // Trimmed meanwhile: nobody can miss it.
    if (signal?.aborted || store.archive.files.includes(info)) throw error
  }
}

/**
 * Every frame's checksum, and that positions follow one another to where the next file starts. What a crash tore off
 * after that was never part of the log.
 */
export function* verifyLog(
  env: Env,
  directory: string,
  { number, basePosition, lastPosition }: Pick<LogFileInfo, 'number' | 'basePosition' | 'lastPosition'>,
): Generator<void> {
  if (basePosition === lastPosition) return
  const path = joinPath(directory, logFileName(number))
  let position = basePosition
  for (const piece of logPieces(env, directory, number, undefined)) {
    if (piece.position !== position + 1)
      throw corruption(path, piece.frameOffset, `position ${piece.position} follows ${position}`)
    position = piece.position
    if (position === lastPosition) return
    yield
  }
  throw corruption(
    path,
    0,
    `the file ends at position ${position}, the next one starts after ${lastPosition}`,
  )
}

/** What holds for every level below the first. */
function verifyLevels(version: Version, directory: string): void {
  for (const [level, metas] of version.levels.entries()) {
    for (let i = 1; level > 0 && i < metas.length; i++) {
      if (!rangesOverlap(metas[i - 1]!.range, metas[i]!.range)) continue
      const what = `it overlaps segment ${metas[i - 1]!.number} of level ${level}`
      throw corruption(joinPath(directory, segmentFileName(metas[i]!.number)), 0, what)
    }
  }
}

/**
 * Writes a store of everything committed so far to `target`, which must not exist, while this one goes on. Segments
 * are linked where the file system can, else copied. The directory appears at `path` once it is whole and durable.
 */
export async function checkpointStore(
  store: Store,
  target: string,
  options: WorkOptions = {},
): Promise<Position> {
  store.throwIfClosed()
  if (typeof target !== 'string' || target === '')
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a path is a string')
  checkOptionNames('checkpoint', options, WORK_NAMES)
  const { env } = store
  const path = env.fs.resolve(target)
  const { signal } = options
  if (exists(env, path)) throw new VarveError('VARVE_INVALID_ARGUMENT', `${path} exists already`)
  await store.flush(signal)
  const view = store.tree.view.acquire()
  const staged = `${path}.partial`
  try {
    if (env.fs.stat(staged)) removeDirectory(env, staged)
    const topmost = env.fs.makeDirectory(staged)
    for (const { name } of dataFilesOf(view.version)) {
      throwIfAborted(signal, 'the checkpoint')
      await copyFile(env, joinPath(store.directory, name), joinPath(staged, name))
    }
    env.fs.syncDirectory(staged)
    const { flushedPosition } = view.version
    const version = new Version({
      ...view.version,
      logNumber: 0,
      durablePosition: flushedPosition,
      lineage: store.lineage,
      // A copy that is opened takes its own writes.
      leader: '',
      firstLogNumber: 0,
    })
    const storeId = Buffer.alloc(STORE_ID_BYTES)
    env.random.fill(storeId)
    const versions = new VersionSet(env, staged, storeId, version, 0)
    versions.rotate()
    await versions.close()
    env.fs.rename(staged, path)
    syncParents(env, path, topmost === staged ? path : topmost)
    return flushedPosition
  } catch (error) {
    removeQuietly(env, staged)
    throw ioError(error, 'writing the checkpoint', path)
  } finally {
    view.release()
  }
}

/** A link where the file system can, else a durable copy. */
export async function copyFile(env: Env, from: string, to: string): Promise<void> {
  if (env.fs.link(from, to)) return
  const source = env.fs.open(from, 'read')
  try {
    await copyBytes(env, source, env.fs.open(to, 'create'))
  } finally {
    source.close()
  }
}

async function copyBytes(env: Env, source: File, target: File): Promise<void> {
  try {
    const sizeBytes = source.sizeBytes()
    const buffer = Buffer.allocUnsafeSlow(COPY_BYTES)
    for (let offset = 0; offset < sizeBytes; offset += COPY_BYTES) {
      const piece = buffer.subarray(0, Math.min(COPY_BYTES, sizeBytes - offset))
      readFully(source, piece, offset)
      writeFully(target, piece, offset)
      await env.clock.sleep(0)
    }
    await target.syncAsync()
  } finally {
    target.close()
  }
}

function exists(env: Env, path: string): boolean {
  try {
    return env.fs.stat(path) !== undefined
  } catch (error) {
    throw ioError(error, 'writing the checkpoint', path)
  }
}

/** After an error, which is the one to report. What is left the next checkpoint to that path removes. */
export function removeQuietly(env: Env, staged: string): void {
  try {
    if (env.fs.stat(staged)) removeDirectory(env, staged)
  } catch {}
}

/** Only ever called on the staging directory that the caller made. */
function removeDirectory(env: Env, path: string): void {
  for (const name of env.fs.list(path)) env.fs.remove(joinPath(path, name))
  env.fs.remove(path)
}
