import type { Env } from '../env/env.js'
import { joinPath, segmentFileName } from '../env/file-names.js'
import type { EntryIterator } from '../iterator/entry-iterator.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { SegmentBuilder } from '../segment/segment-builder.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import { assert } from '../util/assert.js'
import { type Bytes, cloneBytes, compareBytes } from '../util/bytes.js'
import { BlobOutput } from './blob-output.js'
import type { OutputOptions } from './segment-job.js'

/**
 * Writes entries as a row of segments that don't overlap: a new one starts at a new key once the last is large
 * enough, and range tombstones are cut at the same keys.
 */
export class OutputWriter {
  readonly #env: Env
  readonly #options: OutputOptions
  readonly #basePosition: Position
  readonly #tombstones: readonly RangeTombstone[]
  readonly #segments: SegmentMeta[] = []
  readonly #blobs: BlobOutput
  #builder: SegmentBuilder | undefined
  #used = 0
  /** Where the current output starts; undefined: at the first key of all. */
  #cut: Bytes | undefined

  constructor(
    env: Env,
    options: OutputOptions,
    basePosition: Position,
    tombstones: readonly RangeTombstone[],
  ) {
    this.#env = env
    this.#options = options
    this.#basePosition = basePosition
    this.#tombstones = tombstones
    this.#blobs = new BlobOutput(env, options)
  }

  add(entry: EntryIterator, isNewKey: boolean): void {
    if (
      isNewKey &&
      this.#builder &&
      this.#builder.sizeBytes >= this.#options.segmentBytes &&
      this.#hasNumbers()
    ) {
      this.#closeSegment(cloneBytes(entry.bytes, entry.keyStart, entry.keyEnd))
    }
    this.#builder ??= this.#startSegment()
    const { bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd } = entry
    const mayBeApart = valueStart !== keyEnd || valueEnd - valueStart >= this.#options.blobMinBytes
    const apart = mayBeApart ? this.#blobs.setApart(entry) : undefined
    if (!apart) this.#builder.add(bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd, isNewKey)
    else {
      const { bytes: own, keyEnd: end, valueStart: from, valueEnd: to } = apart
      this.#builder.add(own, 0, end, kind, position, from, to, isNewKey)
    }
  }

  finish(): { readonly segments: readonly SegmentMeta[]; readonly blobs: readonly BlobMeta[] } {
    if (!this.#builder && this.#tombstones.length > 0) this.#builder = this.#startSegment()
    this.#closeSegment(undefined)
    return { segments: this.#segments, blobs: this.#blobs.finish() }
  }

  /** Removes whatever was written. */
  abandon(): void {
    this.#builder?.abandon()
    this.#blobs.abandon()
    for (let i = 0; i < this.#used; i++) {
      const path = joinPath(this.#options.directory, segmentFileName(this.#options.firstFileNumber + i))
      if (this.#env.fs.stat(path)) this.#env.fs.remove(path)
    }
  }

  #hasNumbers(): boolean {
    return this.#used < this.#options.fileNumberCount
  }

  #startSegment(): SegmentBuilder {
    assert(this.#hasNumbers(), 'enough file numbers were reserved')
    const { directory, blockBytes, isCompressed, firstFileNumber, column } = this.#options
    const number = firstFileNumber + this.#used++
    const basePosition = this.#basePosition
    const env = this.#env
    return new SegmentBuilder({ env, directory, number, blockBytes, isCompressed, basePosition, column })
  }

  #closeSegment(nextCut: Bytes | undefined): void {
    const builder = this.#builder
    if (!builder) return
    for (const tombstone of this.#tombstones) {
      const piece = cutTombstone(tombstone, this.#cut, nextCut)
      if (piece) builder.addTombstone(piece)
    }
    this.#segments.push(builder.finish())
    this.#builder = undefined
    this.#cut = nextCut
  }
}

/** The part of the tombstone in [from, to). */
function cutTombstone(
  tombstone: RangeTombstone,
  from: Bytes | undefined,
  to: Bytes | undefined,
): RangeTombstone | undefined {
  const start = from && compareBytes(from, tombstone.start) > 0 ? from : tombstone.start
  const isCut = to !== undefined && (!tombstone.end || compareBytes(to, tombstone.end) < 0)
  const end = isCut ? to : tombstone.end
  if (end && compareBytes(start, end) >= 0) return undefined
  return { start, end, position: tombstone.position }
}
