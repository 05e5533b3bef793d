import { type KeyRange, rangesOverlap } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { BlobMeta, SegmentMeta } from '../segment/segment-meta.js'
import { assert } from '../util/assert.js'
import { type Bytes, compareBytes } from '../util/bytes.js'

/** 0 to 6: at a ratio of 10 the last holds a million times the first. */
export const LEVEL_COUNT = 7

/** One change of the tree, as the manifest logs it. */
export interface VersionEdit {
  readonly added?: readonly { readonly level: number; readonly meta: SegmentMeta }[]
  /** Blob files that come with them. They leave once no segment refers to them. */
  readonly blobs?: readonly BlobMeta[]
  /** Numbers of segments that leave. */
  readonly removed?: readonly number[]
  /** Every change up to here is in segments. */
  readonly flushedPosition?: Position
  /** Log files below this number are not needed for recovery. */
  readonly logNumber?: number
  readonly nextFileNumber?: number
  /** Known to be on disk when the edit was written: recovery that ends before it has lost data. */
  readonly durablePosition?: Position
  /** Bytes of segments that flushes wrote, in this edit. */
  readonly flushedBytes?: number
  /** Bytes of segments that compactions wrote, in this edit. */
  readonly compactedBytes?: number
  /** The newest deletion that this edit forgets. */
  readonly tombstoneHorizon?: Position
  /** States of consumers up to `flushedPosition`, by name; empty: dropped. */
  readonly cursors?: ReadonlyMap<string, Bytes>
  /** CRC-32 of the batch at `flushedPosition`. */
  readonly flushedChecksum?: number
  /** The id that all stores of one history share. */
  readonly lineage?: Bytes
  /** The address of the leader that this store follows; empty: it follows none. */
  readonly leader?: string
  /** A leader of this epoch is known to exist. */
  readonly fencedEpoch?: number
  /** Log files below this number belong to a history that was replaced. */
  readonly firstLogNumber?: number
  /** Names of the encodings that the store was made with. */
  readonly keyEncoding?: string
  readonly valueEncoding?: string
}

/**
 * The segments of the tree at one moment; never changes.
 *
 * Level 0 holds flushed segments, newest first, that may overlap. Every deeper level is sorted and its segments
 * don't overlap. For any key, what is in an upper level is newer than what is in a deeper one.
 */
export class Version {
  readonly levels: readonly (readonly SegmentMeta[])[]
  /** The blob files that any of them refers to, by id. */
  readonly blobs: ReadonlyMap<number, BlobMeta>
  readonly flushedPosition: Position
  readonly logNumber: number
  readonly nextFileNumber: number
  readonly durablePosition: Position
  readonly flushedBytes: number
  readonly compactedBytes: number
  /** Of everything that was deleted after it the tombstone is still there. */
  readonly tombstoneHorizon: Position
  readonly cursors: ReadonlyMap<string, Bytes>
  /** Undefined: not known. */
  readonly flushedChecksum: number | undefined
  /** Undefined: the store's own id. */
  readonly lineage: Bytes | undefined
  readonly leader: string
  readonly fencedEpoch: number
  readonly firstLogNumber: number
  /** Empty: not known. */
  readonly keyEncoding: string
  readonly valueEncoding: string

  constructor(fields: Omit<Version, 'apply' | 'applyUnchecked' | 'segments' | 'overlapping' | 'bytesOf'>) {
    this.levels = fields.levels
    this.blobs = fields.blobs
    this.flushedPosition = fields.flushedPosition
    this.logNumber = fields.logNumber
    this.nextFileNumber = fields.nextFileNumber
    this.durablePosition = fields.durablePosition
    this.flushedBytes = fields.flushedBytes
    this.compactedBytes = fields.compactedBytes
    this.tombstoneHorizon = fields.tombstoneHorizon
    this.cursors = fields.cursors
    this.flushedChecksum = fields.flushedChecksum
    this.lineage = fields.lineage
    this.leader = fields.leader
    this.fencedEpoch = fields.fencedEpoch
    this.firstLogNumber = fields.firstLogNumber
    this.keyEncoding = fields.keyEncoding
    this.valueEncoding = fields.valueEncoding
  }

  static readonly EMPTY = new Version({
    levels: Array.from({ length: LEVEL_COUNT }, () => []),
    blobs: new Map(),
    flushedPosition: 0,
    logNumber: 0,
    nextFileNumber: 1,
    durablePosition: 0,
    flushedBytes: 0,
    compactedBytes: 0,
    tombstoneHorizon: 0,
    cursors: new Map(),
    flushedChecksum: undefined,
    lineage: undefined,
    leader: '',
    fencedEpoch: 0,
    firstLogNumber: 0,
    keyEncoding: '',
    valueEncoding: '',
  })

  overlapping(level: number, range: KeyRange): SegmentMeta[] {
    return this.levels[level]!.filter((meta) => rangesOverlap(meta.range, range))
  }

  bytesOf(level: number): number {
    return this.levels[level]!.reduce((sum, meta) => sum + meta.sizeBytes, 0)
  }

  *segments(): Generator<SegmentMeta> {
    for (const level of this.levels) yield* level
  }

  apply(edit: VersionEdit): Version {
    const next = this.applyUnchecked(edit)
    assert(findOverlap(next, edit) === undefined, 'segments of a level do not overlap')
    return next
  }

  /** As `apply`, where the edit comes from a file and the caller looks for an overlap. */
  applyUnchecked(edit: VersionEdit): Version {
    const removed = new Set(edit.removed)
    const levels = this.levels.map((level) => level.filter((meta) => !removed.delete(meta.number)))
    assert(removed.size === 0, 'an edit removes only segments that are there')
    const touched = new Set<number>()
    for (const { level, meta } of edit.added ?? []) {
      levels[level]!.push(meta)
      touched.add(level)
    }
    for (const level of touched) {
      if (level === 0) levels[0]!.sort((a, b) => b.positionMax - a.positionMax || b.number - a.number)
      else sortLevel(levels[level]!)
    }
    assert(
      (edit.flushedPosition ?? this.flushedPosition) >= this.flushedPosition,
      'flushedPosition moves forward',
    )
    return new Version({
      levels,
      blobs: referredTo(levels, this.blobs, edit.blobs ?? []),
      flushedPosition: edit.flushedPosition ?? this.flushedPosition,
      logNumber: Math.max(this.logNumber, edit.logNumber ?? 0),
      nextFileNumber: Math.max(this.nextFileNumber, edit.nextFileNumber ?? 0),
      durablePosition: Math.max(this.durablePosition, edit.durablePosition ?? 0),
      flushedBytes: this.flushedBytes + (edit.flushedBytes ?? 0),
      compactedBytes: this.compactedBytes + (edit.compactedBytes ?? 0),
      tombstoneHorizon: Math.max(this.tombstoneHorizon, edit.tombstoneHorizon ?? 0),
      cursors: edit.cursors ? mergeCursors(this.cursors, edit.cursors) : this.cursors,
      flushedChecksum: edit.flushedPosition === undefined ? this.flushedChecksum : edit.flushedChecksum,
      lineage: edit.lineage ?? this.lineage,
      leader: edit.leader ?? this.leader,
      fencedEpoch: Math.max(this.fencedEpoch, edit.fencedEpoch ?? 0),
      firstLogNumber: Math.max(this.firstLogNumber, edit.firstLogNumber ?? 0),
      keyEncoding: edit.keyEncoding ?? this.keyEncoding,
      valueEncoding: edit.valueEncoding ?? this.valueEncoding,
    })
  }
}

/** A version as one edit of the empty one. */
export function wholeEdit(version: Version): VersionEdit {
  const { flushedPosition, logNumber, nextFileNumber, durablePosition, flushedBytes, compactedBytes } =
    version
  const { tombstoneHorizon, cursors, flushedChecksum, lineage } = version
  const { leader, fencedEpoch, firstLogNumber, keyEncoding, valueEncoding } = version
  return {
    added: version.levels.flatMap((metas, level) => metas.map((meta) => ({ level, meta }))),
    blobs: [...version.blobs.values()],
    flushedPosition,
    logNumber,
    nextFileNumber,
    durablePosition,
    flushedBytes,
    compactedBytes,
    tombstoneHorizon,
    cursors,
    ...(flushedChecksum === undefined ? {} : { flushedChecksum }),
    ...(lineage === undefined ? {} : { lineage }),
    ...(leader === '' ? {} : { leader }),
    ...(fencedEpoch === 0 ? {} : { fencedEpoch }),
    ...(firstLogNumber === 0 ? {} : { firstLogNumber }),
    ...(keyEncoding === '' ? {} : { keyEncoding }),
    ...(valueEncoding === '' ? {} : { valueEncoding }),
  }
}

/** Which of the blob files some segment refers to. */
function referredTo(
  levels: readonly (readonly SegmentMeta[])[],
  before: ReadonlyMap<number, BlobMeta>,
  added: readonly BlobMeta[],
): ReadonlyMap<number, BlobMeta> {
  if (before.size === 0 && added.length === 0) return before
  const known = new Map(before)
  for (const blob of added) known.set(blob.id, blob)
  const uses = levels.flat().flatMap((meta) => meta.blobs)
  const ids = new Set(uses.map(({ blobId }) => blobId))
  for (const id of known.keys()) if (!ids.has(id)) known.delete(id)
  return known
}

export function mergeCursors(
  older: ReadonlyMap<string, Bytes>,
  newer: ReadonlyMap<string, Bytes>,
): ReadonlyMap<string, Bytes> {
  const merged = new Map(older)
  for (const [name, state] of newer) {
    if (state.length === 0) merged.delete(name)
    else merged.set(name, state)
  }
  return merged
}

function sortLevel(level: SegmentMeta[]): void {
  level.sort((a, b) => compareBytes(a.range.start, b.range.start))
}

/** Which segments of the sorted levels that the edit touched overlap; undefined: none. */
export function findOverlap(version: Version, edit: VersionEdit): string | undefined {
  for (const level of new Set((edit.added ?? []).map((added) => added.level))) {
    if (level === 0) continue
    const metas = version.levels[level]!
    for (let i = 1; i < metas.length; i++) {
      const [before, meta] = [metas[i - 1]!, metas[i]!]
      if (rangesOverlap(before.range, meta.range))
        return `segments ${before.number} and ${meta.number} of level ${level} overlap`
    }
  }
  return undefined
}
