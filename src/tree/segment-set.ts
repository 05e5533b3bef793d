import type { Env } from '../env/env.js'
import { blobFileName, joinPath, segmentFileName } from '../env/file-names.js'
import type { FileRemover } from '../env/file-remover.js'
import type { WholeEntry } from '../segment/blob-files.js'
import type { BlobReference } from '../segment/blob-format.js'
import type { ReadContext } from '../segment/read-context.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import { type SegmentHost, SegmentReader } from '../segment/segment-reader.js'
import type { Bytes } from '../util/bytes.js'
import { Level0Filter } from './level0-filter.js'

interface OpenSegment {
  readonly reader: SegmentReader
  uses: number
  isObsolete: boolean
}

/** How long opening segments may hold the thread before others get a turn: others take as long in each, too. */
const SLICE_MS = 0.25

/**
 * The open segments and who uses them. A segment that left the version is closed and removed once no view uses it:
 * the caller marks it obsolete only after the edit that removed it is durable.
 */
export class SegmentSet {
  readonly level0: Level0Filter
  readonly #env: Env
  readonly #host: SegmentHost
  readonly #remover: FileRemover
  readonly #open = new Map<number, OpenSegment>()
  /** How many open segments refer to each blob file. */
  readonly #blobUses = new Map<number, number>()
  #tableBytes = 0
  #isKeepingFiles = false

  /** @param memory bytes of the budget that indexes and filters are a part of. */
  constructor(env: Env, host: SegmentHost, remover: FileRemover, memory: number) {
    this.level0 = new Level0Filter(memory)
    this.#remover = remover
    this.#env = env
    this.#host = host
  }

  /** Bytes of indexes and filters in memory. */
  get tableBytes(): number {
    return this.#tableBytes + this.level0.sizeBytes
  }

  /**
   * Opens, and so checks, segments that are about to be installed and the blob files that come with them; gives the
   * event loop turns.
   */
  async openAll(metas: Iterable<SegmentMeta>, blobs: Iterable<BlobMeta>): Promise<void> {
    const { clock } = this.#env
    let endMs = clock.monotonicMs() + SLICE_MS
    const turn = async () => {
      await clock.sleep(0)
      endMs = clock.monotonicMs() + SLICE_MS
    }
    for (const blob of blobs) {
      this.#host.blobs.check(blob)
      if (clock.monotonicMs() >= endMs) await turn()
    }
    for (const meta of metas) {
      if (this.#open.has(meta.number)) continue
      const opening = SegmentReader.openInSteps(this.#host, meta)
      let step = opening.next()
      for (; !step.done; step = opening.next()) if (clock.monotonicMs() >= endMs) await turn()
      const reader = step.value
      this.#open.set(meta.number, { reader, uses: 0, isObsolete: false })
      for (const { blobId } of meta.blobs) this.#blobUses.set(blobId, (this.#blobUses.get(blobId) ?? 0) + 1)
      this.#tableBytes += reader.tableBytes
      if (clock.monotonicMs() >= endMs) await turn()
    }
  }

  /** The value of an entry of an open segment that stands apart, beside its key. May throw `BlockNeeded`. */
  bring(bytes: Bytes, keyStart: number, keyEnd: number, context: ReadContext): WholeEntry {
    return this.#host.blobs.bring(bytes, keyStart, keyEnd, context, this.#host.pacer.isQuick)
  }

  /** The value alone. May throw `BlockNeeded`. */
  readApart(reference: BlobReference, context: ReadContext): Buffer {
    return this.#host.blobs.read(reference, context, this.#host.pacer.isQuick)
  }

  retain(number: number): SegmentReader {
    const segment = this.#open.get(number)!
    segment.uses++
    return segment.reader
  }

  release(number: number): void {
    const segment = this.#open.get(number)
    // A reader that lets go after the store was closed.
    if (!segment) return
    segment.uses--
    this.#collect(number, segment)
  }

  /** The segment is in no version any more, for good. */
  markObsolete(number: number): void {
    const segment = this.#open.get(number)
    if (!segment) return
    segment.isObsolete = true
    this.#collect(number, segment)
  }

  /** After a failure nothing is removed: what the manifest on disk says is unknown. */
  keepFiles(): void {
    this.#isKeepingFiles = true
  }

  closeAll(): void {
    for (const { reader } of this.#open.values()) reader.close()
    this.#open.clear()
    this.#host.blobs.closeAll()
  }

  #collect(number: number, segment: OpenSegment): void {
    if (segment.uses > 0 || !segment.isObsolete) return
    segment.reader.close()
    this.#open.delete(number)
    this.#tableBytes -= segment.reader.tableBytes
    if (!this.#isKeepingFiles) this.#remover.remove(joinPath(this.#host.directory, segmentFileName(number)))
    for (const { blobId } of segment.reader.meta.blobs) this.#releaseBlob(blobId)
  }

  #releaseBlob(id: number): void {
    const uses = this.#blobUses.get(id)! - 1
    this.#blobUses.set(id, uses)
    if (uses > 0) return
    this.#blobUses.delete(id)
    this.#host.blobs.close(id)
    if (!this.#isKeepingFiles) this.#remover.remove(joinPath(this.#host.directory, blobFileName(id)))
  }
}
