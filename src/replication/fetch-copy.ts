import { jobHost } from '../compaction/job-host.js'
import type { SegmentVerified, VerifyJob } from '../compaction/segment-job.js'
import type { Env } from '../env/env.js'
import { joinPath, parseFileName } from '../env/file-names.js'
import { readFullyAsync, writeFully } from '../env/write-fully.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { SegmentReader } from '../segment/segment-reader.js'
import type { Store } from '../store/store.js'
import { ByteReader } from '../util/byte-reader.js'
import { crc32 } from '../util/crc.js'
import { type DataFile, dataFilesOfEdit } from '../version/data-files.js'
import { findEditFault } from '../version/edit-fault.js'
import { decodeEdit } from '../version/edit-format.js'
import { Version, type VersionEdit } from '../version/version.js'
import type { LeaderConnection } from './messages.js'

/** Inside the follower's directory; no name of the store's own. */
const STAGING_NAME = 'copy.partial'
const READ_BYTES = 1024 * 1024
const VERIFY_LANE = 2

export interface FetchedCopy {
  readonly edit: VersionEdit
  /** The directory in which every file of `edit` lies, whole, verified and durable. */
  readonly staged: string
}

/**
 * Fetches the leader's segments and blob files into a directory of their own, under names that are made here: nothing that comes
 * over the wire is ever a path. What an earlier attempt fetched whole is used again.
 * @throws VarveError `VARVE_CORRUPTION` where bytes are not what was declared, `VARVE_POSITION_LOST` where the
 * leader gave the copy up, `VARVE_KEY` where its files are not encrypted with this store's key, `VARVE_NO_SPACE`, `VARVE_IO`, `VARVE_ABORTED`.
 */
export async function fetchCopy(
  store: Store,
  connection: LeaderConnection,
  followerId: string,
  signal: AbortSignal,
): Promise<FetchedCopy> {
  const { env } = store
  const offer = await connection.copy(followerId, signal)
  const edit = decodeOffer(offer.edit, connection.url)
  const metas = (edit.added ?? []).map(({ meta }) => meta)
  const staged = joinPath(store.directory, STAGING_NAME)
  const files = dataFilesOfEdit(edit)
  prepareStaging(env, staged, files)
  for (const file of files) {
    if (await isFetched(env, staged, file)) continue
    await fetchFile(env, staged, file, await connection.file(offer.session, file.name, signal))
    // Before the rest comes: the leader's files are taken as they are, and may be of another key, or of none.
    if (file === files[0]) SegmentReader.open(jobHost(env, staged), metas[0]!).close()
  }
  attempt(staged, () => env.fs.syncDirectory(staged))
  await connection.fetched(followerId, signal)
  for (const segment of metas) {
    throwIfAborted(signal)
    const job: VerifyJob = { kind: 'verify', directory: staged, segment }
    const { entries } = (await store.scheduler.runner.run(() => job, VERIFY_LANE)) as SegmentVerified
    if (entries !== segment.entryCount) throw damaged(connection.url, 'a segment with other entries')
    // So that the leader goes on keeping the log after the copy.
    await connection.ack(followerId, store.position, signal)
  }
  return { edit, staged }
}

/** Removes what `fetchCopy` staged. Only names that it gives. */
export function removeStaged(env: Env, directory: string): void {
  const staged = joinPath(directory, STAGING_NAME)
  if (!env.fs.stat(staged)?.isDirectory) return
  try {
    for (const name of env.fs.list(staged)) if (parseFileName(name)) env.fs.remove(joinPath(staged, name))
    env.fs.remove(staged)
  } catch {
    // Left for the next copy, which reuses or removes it.
  }
}

function decodeOffer(bytes: Buffer, url: string): VersionEdit {
  const edit = decodeEdit(new ByteReader(bytes, url))
  const seen = new Set<number>()
  for (const { meta } of edit.added ?? []) {
    const { number, sizeBytes } = meta
    if (number < 1 || seen.has(number)) throw damaged(url, 'segments without numbers of their own')
    if (sizeBytes < 1 || sizeBytes > 2 ** 46) throw damaged(url, `a segment of ${sizeBytes} bytes`)
    if (meta.positionMax > (edit.flushedPosition ?? 0)) throw damaged(url, 'a segment from the future')
    seen.add(number)
  }
  const fault = findEditFault(Version.EMPTY, edit)
  if (fault) throw damaged(url, `a copy with ${fault}`)
  const isPlain = (edit.removed ?? []).length === 0 && edit.leader === undefined
  if (!isPlain || edit.flushedPosition === undefined || edit.lineage?.length !== 16)
    throw damaged(url, 'an incomplete copy')
  return edit
}

/** Keeps what may be files of this copy, removes everything else that was staged. */
function prepareStaging(env: Env, staged: string, files: readonly DataFile[]): void {
  const sizes = new Map(files.map(({ name, sizeBytes }) => [name, sizeBytes]))
  attempt(staged, () => {
    env.fs.makeDirectory(staged)
    for (const name of env.fs.list(staged)) {
      const path = joinPath(staged, name)
      if (env.fs.stat(path)?.sizeBytes !== sizes.get(name) && parseFileName(name)) env.fs.remove(path)
    }
  })
}

async function isFetched(env: Env, staged: string, wanted: DataFile): Promise<boolean> {
  const path = joinPath(staged, wanted.name)
  if (!env.fs.stat(path)) return false
  const file = attempt(path, () => env.fs.open(path, 'read'))
  let checksum = 0
  try {
    for (let offset = 0; offset < wanted.sizeBytes; offset += READ_BYTES) {
      const piece = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, wanted.sizeBytes - offset))
      await readFullyAsync(file, piece, offset)
      checksum = crc32(piece, 0, piece.length, checksum)
    }
    // It may have been whole in the page cache only when the process died.
    if (checksum === wanted.checksum) await file.syncAsync()
  } catch (error) {
    throw ioError(error, 'reading', path)
  } finally {
    file.close()
  }
  if (checksum === wanted.checksum) return true
  attempt(path, () => env.fs.remove(path))
  return false
}

async function fetchFile(
  env: Env,
  staged: string,
  wanted: DataFile,
  stream: AsyncIterable<Buffer>,
): Promise<void> {
  const path = joinPath(staged, wanted.name)
  const file = attempt(path, () => env.fs.open(path, 'create'))
  let offset = 0
  let checksum = 0
  try {
    for await (const piece of stream) {
      if (offset + piece.length > wanted.sizeBytes) throw corruption(path, offset, 'more bytes than declared')
      writeFully(file, piece, offset)
      checksum = crc32(piece, 0, piece.length, checksum)
      offset += piece.length
    }
    if (offset !== wanted.sizeBytes)
      throw new VarveError('VARVE_IO', `${path}: ${offset} of ${wanted.sizeBytes} bytes came`)
    if (checksum !== wanted.checksum) throw corruption(path, 0, 'file checksum mismatch')
    await file.syncAsync()
  } catch (error) {
    file.close()
    attempt(path, () => env.fs.remove(path))
    throw ioError(error, 'writing', path)
  }
  file.close()
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw ioError(error, 'staging a copy in', path)
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new VarveError('VARVE_ABORTED', 'the follower stopped')
}

function damaged(url: string, what: string): VarveError {
  return new VarveError('VARVE_CORRUPTION', `${url} sent ${what}`)
}
