import type { RowCache, RowPlace } from '../cache/row-cache.js'
import type { EntryIterator } from '../iterator/entry-iterator.js'
import {
  EXPIRY_BYTES,
  KIND_DEL,
  KIND_PUT,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  opKeyLength,
  opValueLength,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { RangeTombstones } from '../key/range-tombstones.js'
import type { Memtable } from '../memtable/memtable.js'
import { RunIterator } from '../memtable/run-iterator.js'
import type { WholeEntry } from '../segment/blob-files.js'
import { type BlobReference, isApart, readReference } from '../segment/blob-format.js'
import { EntryFields } from '../segment/block.js'
import { LevelIterator } from '../segment/level-iterator.js'
import type { ReadContext } from '../segment/read-context.js'
import { SegmentIterator, type SegmentIteratorOptions } from '../segment/segment-iterator.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import type { SegmentReader } from '../segment/segment-reader.js'
import { type Bytes, compareRanges, EMPTY_BYTES, readU48 } from '../util/bytes.js'
import type { Version } from '../version/version.js'
import type { DeadGaps } from './dead-gaps.js'
import type { SegmentSet } from './segment-set.js'

/** Larger values are not kept as rows too while their block is in the cache: copying costs more than it saves. */
const ROW_OF_BLOCK_MAX = 512

const NO_TOMBSTONES: readonly RangeTombstones[] = []

/** Where a lookup ended; filled anew each time, so that the hot path makes no garbage. */
export class Lookup implements RowPlace {
  /** Rows to look into before segments; undefined for who keeps `bytes`. */
  readonly rows: RowCache | undefined
  /** Borrowed: holds the value. */
  bytes: Bytes = EMPTY_BYTES
  valueStart = 0
  valueEnd = 0
  /** Whether when the entry expires stands before its value. */
  expires = false
  #position: Position = 0
  /** Where the entry stands whose position is looked up if it is asked for. */
  #memtable: Memtable | undefined
  #op = 0
  /** Where the value stands apart: then `bytes` is the value alone, or nothing where it is not needed. */
  reference: BlobReference | undefined
  readonly needsValue: boolean

  /** @param needsValue if not, values that stand apart are not read. */
  constructor(rows: RowCache | undefined, needsValue = true) {
    this.rows = rows
    this.needsValue = needsValue
  }

  /** To be asked for before anything else is read or written. */
  get position(): Position {
    return this.#memtable ? this.#memtable.positionAt(this.#op) : this.#position
  }

  set position(position: Position) {
    this.#position = position
    this.#memtable = undefined
  }

  /** The position is that of the operation at `op`: not read now, which would be one more cache line to wait for. */
  standIn(memtable: Memtable, op: number): void {
    this.#memtable = memtable
    this.#op = op
  }

  /** Undefined: it does not expire. */
  get expiresAt(): number | undefined {
    if (this.reference) return this.reference.expiresAt
    return this.expires ? readU48(this.bytes, this.valueStart - EXPIRY_BYTES) : undefined
  }
}

/** Which sources are iterated over, and how. */
export interface SourceOptions extends SegmentIteratorOptions {
  /** Sources that hold nothing newer may be left out. */
  readonly after?: Position
}

interface LevelView {
  readonly metas: readonly SegmentMeta[]
  readonly readers: readonly SegmentReader[]
}

/**
 * The whole tree at one moment: memtables and segments, pinned until the last user releases it. The active
 * memtable goes on growing under it; a position tells what a reader may see.
 */
export class TreeView {
  /** Newest first. */
  readonly memtables: readonly Memtable[]
  /** Newest first: `memtables`, and those that are in segments too and quicker to ask for a key than those. */
  readonly recent: readonly Memtable[]
  readonly version: Version
  readonly gaps: DeadGaps
  readonly #l0: readonly SegmentReader[]
  /** What stands for each of them in the filter of level 0; nothing where `recent` has all that it holds. */
  readonly #l0Bits: readonly number[]
  readonly #levels: readonly LevelView[]
  readonly #segments: SegmentSet
  readonly #onUnused: (view: TreeView) => void
  readonly #fields = new EntryFields()
  readonly #segmentsHaveTombstones: boolean
  #uses = 1

  /** The segments of `version` must be open. */
  constructor(
    memtables: readonly Memtable[],
    flushed: readonly Memtable[],
    version: Version,
    segments: SegmentSet,
    gaps: DeadGaps,
    onUnused: (view: TreeView) => void,
  ) {
    this.memtables = memtables
    this.recent = [...memtables, ...flushed]
    this.version = version
    this.gaps = gaps
    this.#segments = segments
    this.#onUnused = onUnused
    const levels = version.levels.map((metas) => ({
      metas,
      readers: metas.map((meta) => segments.retain(meta.number)),
    }))
    this.#l0 = levels[0]!.readers
    const { basePosition } = this.recent[this.recent.length - 1]!
    this.#l0Bits = levels[0]!.metas.map((meta) => {
      const bits = segments.level0.retain(meta.number)
      return meta.positionMin > basePosition ? 0 : bits
    })
    this.#levels = levels.slice(1).filter((level) => level.metas.length > 0)
    this.#segmentsHaveTombstones = levels.some(({ readers }) =>
      readers.some((reader) => !reader.tombstones.isEmpty),
    )
  }

  acquire(): this {
    this.#uses++
    return this
  }

  release(): void {
    if (--this.#uses > 0) return
    for (const meta of this.version.levels[0]!) this.#segments.level0.release(meta.number)
    for (const meta of this.version.segments()) this.#segments.release(meta.number)
    this.#onUnused(this)
  }

  // Hot: every read (bench/read.bench.js).
  /**
   * Finds the newest value of the key at or below `atMost`; false where there is none, or it was deleted.
   * May throw `BlockNeeded`.
   */
  find(
    key: Bytes,
    keyStart: number,
    keyEnd: number,
    hash: number,
    atMost: Position,
    context: ReadContext,
    lookup: Lookup,
  ): boolean {
    lookup.expires = false
    lookup.reference = undefined
    let hiddenUpTo = 0
    for (const memtable of this.recent) {
      if (!memtable.tombstones.isEmpty) {
        const tombstone = memtable.tombstones.find(key, keyStart, keyEnd, atMost)
        if (tombstone) hiddenUpTo = tombstone.position
      }
      const op = memtable.find(key, keyStart, keyEnd, hash, atMost)
      if (op >= 0) {
        const { bytes } = memtable
        const kind = bytes[op]
        if (kind === KIND_DEL || (hiddenUpTo > 0 && memtable.positionAt(op) < hiddenUpTo)) return false
        lookup.bytes = bytes
        lookup.valueStart = op + OP_HEADER_BYTES + opKeyLength(bytes, op)
        lookup.valueEnd = lookup.valueStart + opValueLength(bytes, op)
        lookup.standIn(memtable, op)
        if (kind === KIND_PUT_UNTIL) {
          lookup.valueStart += EXPIRY_BYTES
          lookup.expires = true
        }
        return true
      }
      // Whatever is older than this memtable is older than its tombstone.
      if (hiddenUpTo > 0) return false
    }
    const { rows } = lookup
    if (!rows) return this.#findInSegments(key, keyStart, keyEnd, hash, atMost, context, lookup)
    if (rows.find(key, keyStart, keyEnd, hash, atMost, lookup)) return true
    if (!this.#findInSegments(key, keyStart, keyEnd, hash, atMost, context, lookup)) return false
    // What a reader of an older position finds need not be the newest. Rows have no room for when they expire.
    if (atMost < this.memtables[0]!.lastPosition || lookup.expires) return true
    const { isFleeting } = this.#fields
    if (isFleeting || lookup.valueEnd - lookup.valueStart <= ROW_OF_BLOCK_MAX)
      rows.add(key, keyStart, keyEnd, hash, lookup, !isFleeting)
    return true
  }

  #findInSegments(
    key: Bytes,
    keyStart: number,
    keyEnd: number,
    hash: number,
    atMost: Position,
    context: ReadContext,
    lookup: Lookup,
  ): boolean {
    const l0 = this.#l0
    const candidates = l0.length > 0 ? this.#segments.level0.candidates(hash) : 0
    for (let i = 0; i < l0.length; i++) {
      if ((candidates & this.#l0Bits[i]!) === 0) continue
      const reader = l0[i]!
      const { range } = reader.meta
      if (compareRanges(range.start, 0, range.start.length, key, keyStart, keyEnd) > 0) continue
      if (range.end && compareRanges(range.end, 0, range.end.length, key, keyStart, keyEnd) <= 0) continue
      const found = this.#findIn(reader, key, keyStart, keyEnd, hash, atMost, context, lookup)
      if (found !== undefined) return found
    }
    for (const level of this.#levels) {
      const index = segmentAt(level.metas, key, keyStart, keyEnd)
      if (index < 0) continue
      const found = this.#findIn(level.readers[index]!, key, keyStart, keyEnd, hash, atMost, context, lookup)
      if (found !== undefined) return found
    }
    return false
  }

  /** One iterator for each sorted source. Memtables are sorted now, as far as they are not yet. */
  iterators(context: ReadContext, options: SourceOptions): EntryIterator[] {
    const { after = -1 } = options
    const iterators: EntryIterator[] = []
    for (const memtable of this.memtables) {
      if (memtable.lastPosition <= after) continue
      for (const run of memtable.sortedRuns()) iterators.push(new RunIterator(memtable, run))
    }
    for (const reader of this.#l0) {
      if (reader.meta.positionMax > after) iterators.push(new SegmentIterator(reader, context, options))
    }
    for (const level of this.#levels) {
      const readers = after < 0 ? level.readers : level.readers.filter(({ meta }) => meta.positionMax > after)
      const metas = readers === level.readers ? level.metas : readers.map(({ meta }) => meta)
      if (metas.length === 0) continue
      let isFirst = true
      const open = (index: number) => {
        // Each segment that a cursor comes to would take more memory for glimpses.
        const segmentOptions = isFirst ? options : { ...options, mayGlimpse: false }
        isFirst = false
        return new SegmentIterator(readers[index]!, context, segmentOptions)
      }
      iterators.push(metas.length === 1 ? open(0) : new LevelIterator(metas, open))
    }
    return iterators
  }

  /** Every set of range tombstones that is not empty. */
  tombstones(): readonly RangeTombstones[] {
    const hasNone =
      !this.#segmentsHaveTombstones && this.memtables.every(({ tombstones }) => tombstones.isEmpty)
    if (hasNone) return NO_TOMBSTONES
    const sets = this.memtables.map((memtable) => memtable.tombstones)
    for (const reader of this.#l0) sets.push(reader.tombstones)
    for (const { readers } of this.#levels) for (const reader of readers) sets.push(reader.tombstones)
    return sets.filter((set) => !set.isEmpty)
  }

  approximateSize(start: Bytes, end: Bytes | undefined): number {
    let bytes = 0
    for (const reader of this.#l0) bytes += reader.approximateSize(start, end)
    for (const { readers } of this.#levels) {
      for (const reader of readers) bytes += reader.approximateSize(start, end)
    }
    return bytes
  }

  #findIn(
    reader: SegmentReader,
    key: Bytes,
    keyStart: number,
    keyEnd: number,
    hash: number,
    atMost: Position,
    context: ReadContext,
    lookup: Lookup,
  ): boolean | undefined {
    const tombstone = reader.tombstones.isEmpty
      ? undefined
      : reader.tombstones.find(key, keyStart, keyEnd, atMost)
    const fields = this.#fields
    const isBorrowed = lookup.rows !== undefined
    const bytes = reader.find(key, keyStart, keyEnd, hash, atMost, context, fields, isBorrowed)
    if (bytes === undefined) return tombstone ? false : undefined
    if (fields.kind !== KIND_PUT || (tombstone && fields.position < tombstone.position)) return false
    lookup.bytes = bytes
    lookup.valueStart = fields.valueStart
    lookup.expires = fields.valueStart > fields.keyEnd
    lookup.valueEnd = fields.valueEnd
    lookup.position = fields.position
    if (lookup.expires && isApart(bytes, fields.keyEnd, fields.valueStart, fields.valueEnd))
      this.#readApart(readReference(bytes, fields.keyEnd), context, lookup)
    return true
  }

  #readApart(reference: BlobReference, context: ReadContext, lookup: Lookup): void {
    lookup.reference = reference
    lookup.bytes = lookup.needsValue ? this.#segments.readApart(reference, context) : EMPTY_BYTES
    lookup.valueStart = 0
    lookup.valueEnd = lookup.bytes.length
  }

  /** An entry of a segment of this view whose value stands apart, with its value. May throw `BlockNeeded`. */
  bring(bytes: Bytes, keyStart: number, keyEnd: number, context: ReadContext): WholeEntry {
    return this.#segments.bring(bytes, keyStart, keyEnd, context)
  }
}

/** The segment of a level whose range covers the key; -1 if none. */
function segmentAt(metas: readonly SegmentMeta[], key: Bytes, keyStart: number, keyEnd: number): number {
  let low = 0
  let high = metas.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const { start } = metas[middle]!.range
    if (compareRanges(start, 0, start.length, key, keyStart, keyEnd) <= 0) low = middle + 1
    else high = middle
  }
  if (low === 0) return -1
  const { end } = metas[low - 1]!.range
  return end && compareRanges(end, 0, end.length, key, keyStart, keyEnd) <= 0 ? -1 : low - 1
}
