import { blobsToMove, GARBAGE_SHARE_MAX, pickBlobGarbage } from '../compaction/blob-garbage.js'
import {
  type CompactionInput,
  type CompactionTask,
  inputSegments,
  type PickerOptions,
} from '../compaction/compaction-task.js'
import { JobRunner } from '../compaction/job-runner.js'
import { pickLevel0, pickLeveled } from '../compaction/leveled-picker.js'
import type { OutputOptions, SegmentsWritten } from '../compaction/segment-job.js'
import { pickTiered } from '../compaction/tiered-picker.js'
import { joinPath, parseFileName, segmentFileName } from '../env/file-names.js'
import { type KeyRange, spanOf } from '../key/key-range.js'
import type { Memtable } from '../memtable/memtable.js'
import { blobJobOf, newBlobId } from '../segment/blob-format.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { asBuffer } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import type { Version } from '../version/version.js'
import { coalesce, olderThan, wholeRangeTask } from './merge-scope.js'
import { mergeShare } from './stall.js'
import type { Tree } from './tree.js'
import type { TreeEvent } from './tree-events.js'

const FLUSH_LANE = 0
const MERGE_LANE = 1
/** So many full memtables become one segment at most: all of them stay in memory until it is written. */
const MEMTABLES_TOGETHER = 2
/** From job to job: it is half after seven that found nothing dead. */
const DEAD_SHARE_KEPT = 0.9
/** Of a blob file, that a compaction of the whole range leaves. */
const COMPACTED_GARBAGE_SHARE = 0.1

/** Of an event: what it tells came of nothing but range reads. */
const FOR_READS = { forReads: true } as const
type Why = typeof FOR_READS

export interface SchedulerHooks {
  /** Until the writes of a memtable that are to be durable are so in its log: no segment is ahead of the log. */
  beforeWrite(memtable: Memtable): Promise<void>
  /**
   * A memtable is about to be in segments only: its log file is needed no more, but as history. Whether it is that,
   * and durable.
   */
  onWritten(memtable: Memtable): Promise<boolean>
  /** A memtable, and every older one, is in segments, durably. */
  onFlushed(memtable: Memtable): void
  /** Background work failed for good: no write may be taken any more. */
  onFailure(error: unknown): void
  emit(event: TreeEvent): void
}

/** Memtables that are being written as one segment, oldest first; undefined where there is nothing to write. */
interface WrittenAhead {
  readonly memtables: readonly Memtable[]
  readonly written: Promise<SegmentsWritten | undefined>
}

/** Runs flushes and compactions one after another, each kind on its own, whenever there is something to do. */
export class Scheduler {
  readonly runner: JobRunner
  readonly #tree: Tree
  readonly #hooks: SchedulerHooks
  #flushing: Promise<void> | undefined
  #compacting: Promise<void> | undefined
  /** Manual compactions that wait for the running one. */
  #isManual = false
  #manual: Promise<void> | undefined
  #isStopped = false
  #mergeNumbers: { readonly first: number; readonly count: number; readonly firstBlobId: number } | undefined
  /** What jobs found dead of the entries that they read: the most of late. */
  #deadShare = 0
  /** The log of the memtable that is flushed for the sake of reads. */
  #logForReads: number | undefined
  readonly counts = { flushes: 0, compactions: 0, moves: 0, forReads: 0 }

  constructor(tree: Tree, hooks: SchedulerHooks) {
    this.#tree = tree
    this.#hooks = hooks
    this.runner = new JobRunner(tree.env, tree.directory, tree.options.workers)
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** A flush will come: its thread starts while the memtable fills. */
  prepareFlush(): void {
    if (!this.#isStopped) this.runner.start(FLUSH_LANE)
  }

  /** Something changed: look whether there is work. */
  wake(): void {
    if (this.#isStopped) return
    if (!this.#flushing && this.#tree.waiting.length > 0) {
      this.#flushing = this.#guard(this.#flushAll()).finally(() => {
        this.#flushing = undefined
        this.wake()
      })
    }
    if (!this.#compacting && !this.#isManual && this.#pick()) this.#compactInTurn(this.#compactAll())
  }

  #compactInTurn(work: Promise<void>): void {
    this.#compacting = this.#guard(work).finally(() => {
      this.#compacting = undefined
      this.wake()
    })
  }

  /** Whether anything runs, or waits for its turn. */
  get isBusy(): boolean {
    return this.#flushing !== undefined || this.#compacting !== undefined || this.#isManual
  }

  /** The memtable is about to be flushed for the sake of reads alone. */
  flushForReads({ logNumber }: Memtable): void {
    this.#logForReads = logNumber
  }

  /** Merges level 0 before it is full, if that is no more than `entriesMax`; false if nothing was begun. */
  mergeForReads(entriesMax: number): boolean {
    const { options, version } = this.#tree
    if (this.#isStopped || this.isBusy || options.compaction === 'tiered') return false
    if (version.levels[0]!.length < 2) return false
    const task = pickLevel0(version, this.#pickerOptions(), new Set())
    if (!task) return false
    const entries = inputSegments(task).reduce((sum, { entryCount }) => sum + entryCount, 0)
    if (entries > entriesMax) return false
    this.#compactInTurn(this.#run(task, GARBAGE_SHARE_MAX, FOR_READS))
    return true
  }

  /** Until no memtable waits. */
  async flushed(): Promise<void> {
    this.wake()
    while (this.#flushing && !this.#isStopped) await this.#flushing
  }

  /** Until nothing is left to merge by itself. */
  async settled(): Promise<void> {
    this.wake()
    while ((this.#flushing || this.#compacting) && !this.#isStopped)
      await (this.#flushing ?? this.#compacting)
  }

  /** Merges everything that overlaps the range into the deepest level that holds any of it. */
  async compact(range: KeyRange, signal?: AbortSignal): Promise<void> {
    while (this.#isManual || this.#compacting) {
      await (this.#compacting ?? this.#tree.env.clock.sleep(1))
      if (this.#isStopped || signal?.aborted) return
    }
    this.#isManual = true
    const running = this.#compactWhole(range)
    this.#manual = running.catch(() => {})
    try {
      await running
    } catch (error) {
      if (this.#tree.versions.hasFailed) this.#fail(error)
      throw error
    } finally {
      this.#isManual = false
      this.wake()
    }
  }

  async #compactWhole(range: KeyRange): Promise<void> {
    const task = wholeRangeTask(this.#tree.version, range)
    if (task) await this.#run(task)
    // What is garbage in blob files is known now.
    const none = new Set<number>()
    while (!this.#isStopped) {
      const next = pickBlobGarbage(this.#tree.version, none, COMPACTED_GARBAGE_SHARE)
      if (!next) return
      await this.#run(next, COMPACTED_GARBAGE_SHARE)
    }
  }

  /** No job starts any more; the running flush is waited for, a running merge is given up. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#flushing
    await this.runner.close()
    await this.#compacting
    await this.#manual
    this.#removeAbandoned()
  }

  async #guard(work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#tree.segments.keepFiles()
    this.#hooks.onFailure(error)
  }

  /** What is written is installed while the thread writes the next memtables already. */
  async #flushAll(): Promise<void> {
    let ahead: WrittenAhead | undefined
    while (this.#tree.waiting.length > 0) {
      if (this.#isStopped && !ahead) return
      ahead = await this.#flush(ahead ?? this.#write(this.#tree.waiting, []))
    }
  }

  /** Flushes the oldest memtables and starts to write those after them, which it returns. */
  async #flush({ memtables, written }: WrittenAhead): Promise<WrittenAhead | undefined> {
    const { clock } = this.#tree.env
    const startMs = clock.monotonicMs()
    const tree = this.#tree
    const newest = memtables[memtables.length - 1]!
    const { logNumber } = newest
    const why = logNumber === this.#logForReads ? FOR_READS : undefined
    this.#hooks.emit({ type: 'flush.began', logNumber, ...why })
    const result = await written
    const segments = result ? withBuffers(result) : []
    const next = this.#isStopped ? [] : tree.waiting.slice(memtables.length)
    const ahead = next.length > 0 ? this.#write(next, segments) : undefined
    const blobs = result?.blobs ?? []
    const sizeBytes = bytesOf(segments) + bytesOf(blobs)
    const added = segments.map((meta) => ({ level: 0, meta }))
    const flushedPosition = newest.lastPosition
    const firstLogNumber = await this.#firstKeptLog(memtables)
    await tree.install(
      {
        added,
        blobs,
        flushedPosition,
        logNumber: logNumber + 1,
        ...(firstLogNumber === undefined ? {} : { firstLogNumber }),
        flushedBytes: sizeBytes,
        tombstoneHorizon: result?.tombstoneHorizon ?? 0,
        // Not merged: one that was dropped is empty in the edit, and so removes what the version has.
        cursors: new Map(memtables.flatMap(({ cursors }) => [...cursors])),
        ...checksumOf(memtables, tree.version),
      },
      memtables,
    )
    this.counts.flushes++
    if (why) this.counts.forReads++
    this.#hooks.onFlushed(newest)
    const numbers = segments.map((meta) => meta.number)
    const durationMs = clock.monotonicMs() - startMs
    this.#hooks.emit({ type: 'flush.ended', logNumber, segments: numbers, sizeBytes, durationMs, ...why })
    this.wake()
    return ahead
  }

  /** What may be left of a file that was never synced is no history: where that begins; undefined: where it did. */
  async #firstKeptLog(memtables: readonly Memtable[]): Promise<number | undefined> {
    let first: number | undefined
    for (const memtable of memtables)
      if (!(await this.#hooks.onWritten(memtable))) first = memtable.logNumber + 1
    return first
  }

  /**
   * Several that wait become one segment: reads look into every segment of level 0.
   * @param waiting oldest first.
   * @param uninstalled what older memtables were written as and no version names yet.
   */
  #write(waiting: readonly Memtable[], uninstalled: readonly SegmentMeta[]): WrittenAhead {
    const memtables = oldestTogether(waiting, this.#tree.options.memtableBytes * MEMTABLES_TOGETHER)
    const withData = memtables.filter(({ count, tombstones }) => count > 0 || !tombstones.isEmpty)
    const written =
      withData.length === 0 ? Promise.resolve(undefined) : this.#writeMemtables(withData, uninstalled)
    // Whoever awaits it hears of the failure; nobody does where installing the one before it failed.
    written.catch(() => {})
    return { memtables, written }
  }

  async #writeMemtables(
    memtables: readonly Memtable[],
    uninstalled: readonly SegmentMeta[],
  ): Promise<SegmentsWritten> {
    const tree = this.#tree
    const { level0 } = tree.segments
    const depth = tree.debt.l0Segments + uninstalled.length + 1
    await this.#hooks.beforeWrite(memtables[memtables.length - 1]!)
    const older = [...tree.version.segments(), ...uninstalled]
    const olderRanges = coalesce(older.map((meta) => meta.range))
    const result = (await this.runner.run(
      () => ({
        kind: 'flush',
        // One segment whatever its size: level 0 is counted in segments.
        ...this.#output(1, Number.MAX_SAFE_INTEGER, olderRanges, []),
        column: level0.begin(depth),
        mergeShare: mergeShare(tree.debt.l0Segments, this.#deadShare, tree.options),
        logs: memtables.map(({ bytes, endOffset, basePosition }) => ({
          memory: bytes.buffer as unknown as SharedArrayBuffer,
          logBytes: endOffset,
          basePosition,
        })),
      }),
      FLUSH_LANE,
    )) as SegmentsWritten
    const [segment] = result.segments
    // A tombstone of a range hides keys that the segment does not hold: it is looked into whatever the key.
    if (segment?.rangeTombstoneCount === 0) level0.hold(segment.number)
    else level0.abandon()
    this.#noteDead(result)
    return result
  }

  #noteDead({ entriesRead, entriesDropped }: SegmentsWritten): void {
    this.#deadShare = Math.max(entriesDropped / Math.max(1, entriesRead), this.#deadShare * DEAD_SHARE_KEPT)
  }

  #pick(): CompactionTask | undefined {
    const { options, version } = this.#tree
    const pick = options.compaction === 'tiered' ? pickTiered : pickLeveled
    const busy = new Set<number>()
    return pick(version, this.#pickerOptions(), busy) ?? pickBlobGarbage(version, busy)
  }

  #pickerOptions(): PickerOptions {
    const { options, active } = this.#tree
    const [floor] = this.#tree.pinnedPositions()
    return {
      l0SegmentsMax: options.l0SegmentsMax,
      levelBaseBytes: options.memtableBytes * options.l0SegmentsMax,
      levelRatio: options.levelRatio,
      snapshotFloor: floor ?? active.lastPosition,
    }
  }

  async #compactAll(): Promise<void> {
    for (let task = this.#pick(); task && !this.#isStopped && !this.#isManual; task = this.#pick()) {
      await this.#run(task)
    }
  }

  /** @param garbageShare blob files of which more is garbage are given up on the way. */
  async #run(task: CompactionTask, garbageShare = GARBAGE_SHARE_MAX, why?: Why): Promise<void> {
    if (task.kind === 'move') {
      const { segment, fromLevel, outputLevel } = task
      await this.#tree.install({ removed: [segment.number], added: [{ level: outputLevel, meta: segment }] })
      this.counts.moves++
      this.#hooks.emit({ type: 'segment.moved', segment: segment.number, fromLevel, outputLevel })
      return
    }
    const movedBlobs = blobsToMove(this.#tree.version, garbageShare)
    await this.#merge(task.inputs, task.outputLevel, inputSegments(task), movedBlobs, why)
  }

  async #merge(
    inputs: readonly CompactionInput[],
    outputLevel: number,
    segments: readonly SegmentMeta[],
    movedBlobs: readonly number[],
    why: Why | undefined,
  ): Promise<void> {
    const tree = this.#tree
    const startMs = tree.env.clock.monotonicMs()
    const numbers = segments.map((meta) => meta.number)
    this.#hooks.emit({ type: 'compaction.began', inputs: numbers, outputLevel, ...why })
    const runs = inputs.flatMap(({ level, segments: metas }) =>
      level === 0 ? metas.map((meta) => [meta]) : [metas],
    )
    const { segmentBytes } = tree.options
    const totalBytes = segments.reduce(
      (sum, meta) => sum + meta.keyBytes + meta.valueBytes + meta.sizeBytes,
      0,
    )
    const fileCount = Math.ceil(totalBytes / segmentBytes) + 1
    const olderRanges = olderThan(
      tree.version,
      outputLevel,
      new Set(numbers),
      spanOf(segments.map((meta) => meta.range)),
    )
    const result = (await this.runner.run(
      () => ({ kind: 'merge', ...this.#output(fileCount, segmentBytes, olderRanges, movedBlobs), runs }),
      MERGE_LANE,
    )) as SegmentsWritten
    this.#noteDead(result)
    const outputs = withBuffers(result)
    const { blobs } = result
    const sizeBytes = bytesOf(outputs) + bytesOf(blobs)
    const added = outputs.map((meta) => ({ level: outputLevel, meta }))
    const { tombstoneHorizon } = result
    await tree.install({ removed: numbers, added, blobs, compactedBytes: sizeBytes, tombstoneHorizon })
    this.#mergeNumbers = undefined
    this.counts.compactions++
    if (why) this.counts.forReads++
    this.#hooks.emit({
      type: 'compaction.ended',
      inputs: numbers,
      outputs: outputs.map((meta) => meta.number),
      outputLevel,
      sizeBytes,
      entriesDropped: result.entriesDropped,
      durationMs: tree.env.clock.monotonicMs() - startMs,
      ...why,
    })
  }

  #output(
    fileNumberCount: number,
    segmentBytes: number,
    olderRanges: readonly KeyRange[],
    movedBlobs: readonly number[],
  ): Omit<OutputOptions, 'kind'> {
    const { directory, options, versions } = this.#tree
    const firstFileNumber = versions.takeFileNumbers(fileNumberCount)
    const taken = versions.version.blobs.keys()
    const firstBlobId = newBlobId((bytes) => this.#tree.env.random.fill(bytes), taken, firstFileNumber)
    if (fileNumberCount > 1)
      this.#mergeNumbers = { first: firstFileNumber, count: fileNumberCount, firstBlobId }
    const { blockBytes, blobMinBytes, isCompressed } = options
    const snapshots = this.#tree.pinnedPositions()
    return {
      directory,
      firstFileNumber,
      fileNumberCount,
      segmentBytes,
      blockBytes,
      isCompressed,
      blobMinBytes,
      firstBlobId,
      movedBlobs,
      snapshots,
      olderRanges,
    }
  }

  /** A thread that was ended in the middle of a merge leaves files that no version names. */
  #removeAbandoned(): void {
    if (!this.#mergeNumbers || this.#tree.versions.hasFailed) return
    const { fs } = this.#tree.env
    const known = new Set([...this.#tree.version.segments()].map((meta) => meta.number))
    const { first, count, firstBlobId } = this.#mergeNumbers
    const names: string[] = []
    for (let number = first; number < first + count; number++)
      if (!known.has(number)) names.push(segmentFileName(number))
    try {
      for (const name of fs.list(this.#tree.directory)) {
        const parsed = parseFileName(name)
        const isOfMerge = parsed?.kind === 'blob' && blobJobOf(parsed.number) === blobJobOf(firstBlobId)
        if (isOfMerge && !this.#tree.version.blobs.has(parsed.number)) names.push(name)
      }
      for (const name of names) {
        const path = joinPath(this.#tree.directory, name)
        if (fs.stat(path)) fs.remove(path)
      }
    } catch {
      // The next open removes them.
    }
  }
}

function bytesOf(files: readonly { readonly sizeBytes: number }[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** The first one, and those after it that are together with it no larger than `bytesMax`. */
function oldestTogether(waiting: readonly Memtable[], bytesMax: number): readonly Memtable[] {
  let bytes = 0
  const tooMany = waiting.findIndex(({ endOffset }) => {
    bytes += endOffset
    return bytes > bytesMax
  })
  return tooMany < 0 ? waiting : waiting.slice(0, Math.max(1, tooMany))
}

/** Of the last batch, which proves later that two logs agree up to it. */
function checksumOf(memtables: readonly Memtable[], version: Version): { flushedChecksum?: number } {
  const { flushedChecksum } = version
  const last = memtables.findLast((memtable) => !memtable.isEmpty)
  if (!last) return flushedChecksum === undefined ? {} : { flushedChecksum }
  return { flushedChecksum: crc32(last.bytes, last.lastBatchOffset, last.endOffset) }
}

/** What crossed threads came back as plain arrays; the engine's bytes are Buffers. */
function withBuffers(result: SegmentsWritten): SegmentMeta[] {
  return result.segments.map((meta) => {
    const { start, end } = meta.range
    return { ...meta, range: { start: asBuffer(start), end: end && asBuffer(end) } }
  })
}
