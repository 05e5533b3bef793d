import { EXPIRY_CURSOR, EXPIRY_MARK } from '../access/expiry.js'
import { checksumOf, verifyChecksum } from '../compaction/file-checksum.js'
import { runJob } from '../compaction/run-job.js'
import type { AnyJob, SegmentsWritten } from '../compaction/segment-job.js'
import type { Env } from '../env/env.js'
import {
  blobFileName,
  CURRENT_NAME,
  joinPath,
  LOCK_NAME,
  logFileName,
  segmentFileName,
} from '../env/file-names.js'
import { ioError, VarveError } from '../errors.js'
import { ALL_KEYS, type KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import { STORE_ID_BYTES } from '../log/log-format.js'
import { newBlobId } from '../segment/blob-format.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import type { EncryptionOptions } from '../store/contract.js'
import { type DirectoryListing, listDirectory } from '../store/directory.js'
import { copyFile, verifyLog } from '../store/maintenance.js'
import { resolveEnv } from '../store/options.js'
import { replayLogs } from '../store/replay.js'
import { firstNeededLog, readRetained } from '../store/retained-log.js'
import type { Bytes } from '../util/bytes.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import { LEVEL_COUNT, mergeCursors, Version } from '../version/version.js'
import { type RecoveredManifest, readManifest, VersionSet } from '../version/version-set.js'
import { type SavedLog, saveLog, storeIdOfLog } from './repair-log.js'
import type { DamagedFile, RepairLoss, RepairReport } from './repair-report.js'
import { damageOf, describeSegment, findSegmentDamage, saveSegment } from './repair-segment.js'

const SEGMENT_BYTES = 32 * 2 ** 20
const BLOCK_BYTES = 8192
/** As the default of stores. */
const BLOB_MIN_BYTES = 64 * 1024
/** Segments that one merge may write; what is beyond goes into the last. */
const MERGE_SEGMENTS_MAX = 100_000
/** How long a step may hold the thread. */
const SLICE_MS = 3

interface Found {
  readonly level: number
  readonly meta: SegmentMeta
}

/**
 * Makes a store that does not open, or does not verify, into one that does: keeps what is sound, gives up what is not,
 * and says what that was. Files it replaces are in a directory of copies first. A store without damage is left alone.
 */
class Repair {
  readonly #env: Env
  readonly #directory: string
  readonly #onProgress: (done: number, total: number) => void
  readonly #listing: DirectoryListing
  readonly #damaged: DamagedFile[] = []
  readonly #lost: RepairLoss[] = []
  /** Names that the repaired store does not use any more. */
  readonly #replaced = new Set<string>()
  #nextNumber: number
  /** Without a manifest it is not known whether anything expires. */
  #cursors: ReadonlyMap<string, Bytes> = new Map([[EXPIRY_CURSOR, EXPIRY_MARK.state]])
  #position: Position = 0
  #doneBytes = 0
  readonly #totalBytes: number

  constructor(env: Env, directory: string, onProgress: (done: number, total: number) => void) {
    this.#env = env
    this.#directory = directory
    this.#onProgress = onProgress
    this.#listing = listDirectory(env, directory)
    this.#nextNumber = this.#listing.firstFreeNumber
    this.#totalBytes = this.#listing.files.reduce((sum, { name }) => sum + this.#sizeOf(name), 0)
  }

  async run(): Promise<RepairReport> {
    const manifest = this.#readManifest()
    const storeId = manifest?.storeId ?? this.#anyStoreId()
    if (manifest) this.#noteVersion(manifest.version)
    const segments = manifest ? await this.#checkSegments(manifest.version) : await this.#gatherSegments()
    if (manifest) await this.#checkBlobs(manifest.version)
    const areLogsSound = manifest !== undefined && (await this.#checkLogs(manifest))
    if (areLogsSound) await this.#checkHistory(manifest)
    if (this.#damaged.length === 0) return this.#report(segments, undefined)
    if (!areLogsSound) segments.push(...(await this.#saveLogs(storeId, manifest?.version)))
    const kept = manifest ? segments : await this.#mergeAll(segments)
    const blobs = await this.#describeBlobs(kept)
    for (const { kind, number, name } of this.#listing.files)
      if (kind === 'blob' && !blobs.has(number)) this.#replaced.add(name)
    const copies = await this.#copyReplaced()
    await this.#install(kept, blobs, manifest, areLogsSound)
    this.#removeReplaced()
    return this.#report(kept, copies)
  }

  #readManifest(): RecoveredManifest | undefined {
    const path = joinPath(this.#directory, CURRENT_NAME)
    try {
      const manifest = readManifest(this.#env, this.#directory)
      if (manifest) return manifest
      this.#damaged.push({ file: path, what: `${path}: the file is missing` })
    } catch (error) {
      this.#damaged.push(damageOf(error, path))
    }
    this.#lost.push({ file: this.#damaged[0]!.file, kind: 'manifest' })
    return undefined
  }

  #noteVersion({ flushedPosition, durablePosition, cursors, nextFileNumber }: Version): void {
    this.#nextNumber = Math.max(this.#nextNumber, nextFileNumber)
    this.#position = Math.max(flushedPosition, durablePosition)
    this.#cursors = cursors
  }

  async #checkSegments(version: Version): Promise<Found[]> {
    const kept: Found[] = []
    for (const [level, metas] of version.levels.entries()) {
      for (const meta of metas) {
        const damage = await this.#finish(findSegmentDamage(this.#env, this.#directory, meta))
        this.#advance(segmentFileName(meta.number))
        if (!damage) {
          kept.push({ level, meta })
          continue
        }
        this.#damaged.push(damage)
        const saved = await this.#save(meta.number, meta.range)
        if (saved) kept.push({ level, meta: saved })
      }
    }
    return kept
  }

  /** Also values that no segment refers to any more: a copy of the file must be what it is said to be. */
  async #checkBlobs(version: Version): Promise<void> {
    for (const blob of version.blobs.values()) {
      const path = joinPath(this.#directory, blobFileName(blob.id))
      if (this.#damaged.some(({ file }) => file === path)) continue
      try {
        await this.#finish(verifyChecksum(this.#env, path, blob))
      } catch (error) {
        this.#damaged.push(damageOf(error, path))
      }
      this.#advance(blobFileName(blob.id))
    }
  }

  /** The blob files that segments refer to, as they are now. */
  async #describeBlobs(segments: readonly Found[]): Promise<ReadonlyMap<number, BlobMeta>> {
    const blobs = new Map<number, BlobMeta>()
    for (const { blobId: id } of segments.flatMap(({ meta }) => meta.blobs)) {
      if (blobs.has(id)) continue
      const path = joinPath(this.#directory, blobFileName(id))
      blobs.set(id, { id, ...(await this.#finish(checksumOf(this.#env, path))) })
    }
    return blobs
  }

  /** Without a manifest: every segment there is, also such as had been merged into others already. */
  async #gatherSegments(): Promise<Found[]> {
    const found: Found[] = []
    for (const { kind, number, name } of this.#listing.files) {
      if (kind !== 'segment') continue
      const meta = await this.#finish(describeSegment(this.#env, this.#directory, number))
      this.#advance(name)
      this.#replaced.add(name)
      if (!meta) this.#damaged.push({ file: joinPath(this.#directory, name), what: 'the segment is damaged' })
      const saved = meta ?? (await this.#save(number, undefined))
      if (saved) found.push({ level: 0, meta: saved })
      if (saved) this.#position = Math.max(this.#position, saved.positionMax)
    }
    return found
  }

  async #save(number: number, range: KeyRange | undefined): Promise<SegmentMeta | undefined> {
    this.#replaced.add(segmentFileName(number))
    const target = this.#nextNumber++
    const { meta, lost } = await this.#finish(saveSegment(this.#env, this.#directory, number, target, range))
    this.#lost.push(...lost)
    return meta
  }

  /** Whether recovery can read the log, and finds in it all that was promised. */
  async #checkLogs({ version, storeId }: RecoveredManifest): Promise<boolean> {
    const env = this.#env
    const logNumbers = this.#logNumbers(version.logNumber)
    const { flushedPosition } = version
    const first = joinPath(this.#directory, logFileName(logNumbers[0] ?? version.logNumber))
    try {
      let position = flushedPosition
      const logs = replayLogs({ env, directory: this.#directory, storeId, logNumbers, flushedPosition })
      for (const log of logs) {
        if (log) position = log.memtable.lastPosition
        else await this.#turn()
      }
      this.#position = Math.max(this.#position, position)
      if (position >= version.durablePosition) return true
      const what = `the log ends at position ${position}, but ${version.durablePosition} was on disk`
      this.#damaged.push({ file: first, what })
    } catch (error) {
      this.#damaged.push(damageOf(error, first))
    }
    return false
  }

  /** Log files that recovery does not need: the changes in a damaged one, and before it, are given up. */
  async #checkHistory({ version, storeId }: RecoveredManifest): Promise<void> {
    const env = this.#env
    const directory = this.#directory
    const needed = this.#logNumbers(version.logNumber)[0]
    const retained = this.#logNumbers(version.firstLogNumber).filter((number) => number < version.logNumber)
    let next = firstNeededLog(env, directory, needed, storeId, version.flushedPosition)
    for (const number of retained.reverse()) {
      try {
        const header = readRetained(env, directory, number, storeId, next)
        // Left over by a crash: the next open removes it.
        if (!header) continue
        const { basePosition } = header
        const lastPosition = next.basePosition
        await this.#finish(verifyLog(env, directory, { number, basePosition, lastPosition }))
        next = header
        this.#advance(logFileName(number))
      } catch (error) {
        this.#damaged.push(damageOf(error, joinPath(this.#directory, logFileName(number))))
        this.#giveUpHistory(retained.filter((older) => older <= number))
        return
      }
    }
  }

  #giveUpHistory(numbers: readonly number[]): void {
    for (const number of numbers) {
      this.#replaced.add(logFileName(number))
      this.#lost.push({ file: joinPath(this.#directory, logFileName(number)), kind: 'history' })
    }
  }

  /** Every sound frame of the logs becomes a segment of level 0; the files are history that cannot be read on from. */
  async #saveLogs(storeId: Bytes, version: Version | undefined): Promise<Found[]> {
    const found: Found[] = []
    let after = version?.flushedPosition ?? 0
    for (const number of this.#logNumbers(0)) {
      const name = logFileName(number)
      this.#replaced.add(name)
      if (number < (version?.logNumber ?? 0)) {
        this.#lost.push({ file: joinPath(this.#directory, name), kind: 'history' })
        continue
      }
      const saved = await this.#saveLog(number, storeId, after)
      if (!saved) continue
      this.#advance(name)
      this.#lost.push(...saved.lost)
      this.#cursors = mergeCursors(this.#cursors, saved.cursors)
      if (saved.batchCount === 0) continue
      after = saved.lastPosition
      this.#position = Math.max(this.#position, after)
      const { memory, logBytes, basePosition } = saved
      const flushed = await this.#write({
        kind: 'flush',
        ...this.#output(1, Number.MAX_SAFE_INTEGER, [ALL_KEYS]),
        logs: [{ memory, logBytes, basePosition }],
        mergeShare: 0,
      })
      found.push(...flushed.map((meta) => ({ level: 0, meta })))
    }
    return found
  }

  async #saveLog(number: number, storeId: Bytes, after: Position): Promise<SavedLog | undefined> {
    try {
      return await this.#finish(saveLog(this.#env, this.#directory, number, storeId, after))
    } catch (error) {
      const { file } = damageOf(error, joinPath(this.#directory, logFileName(number)))
      this.#lost.push({ file, kind: 'log', positionMin: after + 1 })
      return undefined
    }
  }

  /** One sorted run of everything: which segment was newer is not known, but positions are in the entries. */
  async #mergeAll(segments: readonly Found[]): Promise<Found[]> {
    for (const { meta } of segments) this.#replaced.add(segmentFileName(meta.number))
    if (segments.length === 0) return []
    const runs = segments.map(({ meta }) => [meta])
    const metas = await this.#write({
      kind: 'merge',
      ...this.#output(MERGE_SEGMENTS_MAX, SEGMENT_BYTES, []),
      runs,
    })
    return metas.map((meta) => ({ level: LEVEL_COUNT - 1, meta }))
  }

  #output(fileNumberCount: number, segmentBytes: number, olderRanges: readonly KeyRange[]) {
    const firstFileNumber = this.#nextNumber
    this.#nextNumber += fileNumberCount
    const sizes = { segmentBytes, blockBytes: BLOCK_BYTES, blobMinBytes: BLOB_MIN_BYTES, isCompressed: true }
    const taken = this.#listing.files.filter(({ kind }) => kind === 'blob').map(({ number }) => number)
    const firstBlobId = newBlobId((bytes) => this.#env.random.fill(bytes), taken, firstFileNumber)
    return {
      directory: this.#directory,
      firstFileNumber,
      fileNumberCount,
      ...sizes,
      firstBlobId,
      movedBlobs: [],
      snapshots: [],
      olderRanges,
    }
  }

  async #write(job: AnyJob): Promise<readonly SegmentMeta[]> {
    return ((await this.#finish(runJob(this.#env, job))) as SegmentsWritten).segments
  }

  async #copyReplaced(): Promise<string> {
    const { fs } = this.#env
    let copies = ''
    for (let n = 1; copies === '' || fs.stat(copies); n++) copies = joinPath(this.#directory, `.damaged-${n}`)
    fs.makeDirectory(copies)
    for (const { kind, name } of this.#listing.files)
      if (kind === 'manifest' || kind === 'current') this.#replaced.add(name)
    for (const name of this.#replaced) {
      const path = joinPath(this.#directory, name)
      const stat = fs.stat(path)
      // What is no file holds none of our bytes, and would be in the way of one.
      if (stat?.isDirectory) fs.rename(path, joinPath(copies, name))
      else if (stat) await copyFile(this.#env, path, joinPath(copies, name))
    }
    fs.syncDirectory(copies)
    fs.syncDirectory(this.#directory)
    return copies
  }

  async #install(
    kept: readonly Found[],
    blobs: ReadonlyMap<number, BlobMeta>,
    manifest: RecoveredManifest | undefined,
    areLogsSound: boolean,
  ): Promise<void> {
    const before = manifest?.version ?? Version.EMPTY
    const levels = Array.from({ length: LEVEL_COUNT }, (_, level) =>
      kept.filter((found) => found.level === level).map(({ meta }) => meta),
    )
    levels[0]!.sort((a, b) => b.positionMax - a.positionMax || b.number - a.number)
    // Logs that could not be read are behind us: their positions are never given out again.
    const own = {
      flushedPosition: this.#position,
      logNumber: this.#nextNumber,
      durablePosition: this.#position,
    }
    const known = areLogsSound
      ? {}
      : { ...own, flushedChecksum: undefined, lineage: undefined, firstLogNumber: 0 }
    const version = new Version({ ...before, levels, blobs, cursors: this.#cursors, ...known })
    const storeId = areLogsSound && manifest ? manifest.storeId : Buffer.alloc(STORE_ID_BYTES)
    // Without its log the store's history is another one from here on, and whoever followed it must see that.
    if (!areLogsSound) this.#env.random.fill(storeId)
    const versions = new VersionSet(this.#env, this.#directory, storeId, version, this.#nextNumber)
    versions.rotate()
    await versions.close()
  }

  #removeReplaced(): void {
    for (const name of this.#replaced) {
      const path = joinPath(this.#directory, name)
      if (name !== CURRENT_NAME && isFile(this.#env, path)) this.#env.fs.remove(path)
    }
    this.#env.fs.syncDirectory(this.#directory)
  }

  #report(segments: readonly Found[], copies: string | undefined): RepairReport {
    return {
      isSound: this.#damaged.length === 0,
      damaged: this.#damaged,
      lost: this.#lost,
      copies,
      position: this.#position,
      segments: segments.length,
      entries: segments.reduce((sum, { meta }) => sum + meta.entryCount, 0),
    }
  }

  #anyStoreId(): Bytes {
    for (const number of this.#logNumbers(0)) {
      const storeId = storeIdOfLog(this.#env, this.#directory, number)
      if (storeId) return storeId
    }
    return Buffer.alloc(STORE_ID_BYTES)
  }

  #logNumbers(from: number): number[] {
    const logs = this.#listing.files.filter(({ kind, number }) => kind === 'log' && number >= from)
    return logs.map(({ number }) => number).sort((a, b) => a - b)
  }

  #sizeOf(name: string): number {
    return this.#env.fs.stat(joinPath(this.#directory, name))?.sizeBytes ?? 0
  }

  #advance(name: string): void {
    this.#doneBytes = Math.min(this.#totalBytes, this.#doneBytes + this.#sizeOf(name))
    this.#onProgress(this.#doneBytes, this.#totalBytes)
  }

  #turnEndMs = 0

  async #turn(): Promise<void> {
    const { clock } = this.#env
    if (clock.monotonicMs() < this.#turnEndMs) return
    await clock.sleep(0)
    this.#turnEndMs = clock.monotonicMs() + SLICE_MS
  }

  async #finish<T>(steps: Generator<void, T>): Promise<T> {
    for (;;) {
      const { done, value } = steps.next()
      if (done) return value
      await this.#turn()
    }
  }
}

function isFile(env: Env, path: string): boolean {
  const stat = env.fs.stat(path)
  return stat !== undefined && !stat.isDirectory
}

/** How to repair. */
export interface RepairOptions {
  /** Bytes looked at so far, of all bytes of the store. */
  onProgress?(done: number, total: number): void
  /** The key of the store, if it is encrypted. */
  readonly encryption?: EncryptionOptions | undefined
  /** For tests and for embedding in something that is not Node. */
  readonly env?: Env
}

const REPAIR_NAMES: OptionNames<RepairOptions> = { onProgress: true, encryption: true, env: true }

/**
 * Makes a store that refuses to open, or does not verify, into one that does. Files it replaces are copied to a
 * directory `.damaged-<n>` in the store first; sound segments are kept, damaged blocks left out, the log read up to
 * damage and past it, a lost manifest made anew out of the segments. Afterwards everything it kept is durable. What
 * was lost is in the report; positions are not given out a second time. Takes disk space of what it rewrites: all
 * of it where the manifest is lost. A store that is whole is not changed. Nobody may have it open.
 * @throws VarveError `VARVE_LOCKED`, `VARVE_INVALID_ARGUMENT` where there is no store, `VARVE_KEY`, `VARVE_NO_SPACE`, `VARVE_IO`;
 * the store is then as it was.
 */
export async function repair(path: string, options: RepairOptions = {}): Promise<RepairReport> {
  checkOptionNames('repair', options, REPAIR_NAMES)
  const env = resolveEnv(options)
  const absolute = env.fs.resolve(path)
  const noStore = () => new VarveError('VARVE_INVALID_ARGUMENT', `there is no store at ${path}`)
  try {
    if (!env.fs.stat(absolute)?.isDirectory) throw noStore()
    const directory = env.fs.realPath(absolute)
    if (listDirectory(env, directory).files.every(({ kind }) => kind === 'lock')) throw noStore()
    const lock = env.fs.lock(joinPath(directory, LOCK_NAME))
    try {
      const onProgress = (done: number, total: number) => options.onProgress?.(done, total)
      return await new Repair(env, directory, onProgress).run()
    } finally {
      lock.release()
    }
  } catch (error) {
    throw ioError(error, 'repairing', absolute)
  }
}
