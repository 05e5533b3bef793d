import { type EntryIterator, isOfKey } from '../iterator/entry-iterator.js'
import { MergingIterator } from '../iterator/merging-iterator.js'
import { expiryBetween, KIND_PUT } from '../key/batch-format.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone, RangeTombstones } from '../key/range-tombstones.js'
import { isApart } from '../segment/blob-format.js'
import { CursorMemory } from '../segment/cursor-memory.js'
import type { ReadContext } from '../segment/read-context.js'
import type { TreeView } from '../tree/tree-view.js'
import {
  type Bytes,
  cloneBytes,
  compareBytes,
  compareRanges,
  copyBytes,
  EMPTY_BYTES,
  successor,
} from '../util/bytes.js'
import { settleShape } from '../util/settle-shape.js'
import { DeadStretch } from './dead-stretch.js'

/** Entries that a step walks over, none of which it gives, before others have their turn: half a millisecond or so. */
const WALK_PAUSE = 2048

/** Thrown by a step that has walked over many entries and may be interrupted: call it again after a while. */
export const PAUSE = new Error('varve: a pause is due')

/** Entries under one range tombstone that are walked before the rest of it is skipped. */
const WALK_MAX = 16
/** Versions of a key that are walked over before the rest is passed by a search, which costs as much. */
const VERSIONS_WALKED = 16

export interface CursorOptions {
  readonly range: KeyRange
  readonly isReverse: boolean
  /** Entries above it are not seen. */
  readonly position: Position
  readonly limit: number
  /** Values that stand apart are not read. */
  readonly isKeysOnly: boolean
  /** Nobody looks at the bytes of what was given once the cursor is closed. */
  readonly isCopied: boolean
}

/**
 * Walks what a reader at one position sees of a range: of each key the newest value at or below the position, if
 * nothing has deleted it. Holds the view it was given and one block for each source.
 *
 * `advance` may throw `BlockNeeded`, and `PAUSE` where the context says that it may wait; the cursor then stands after
 * the last key it dealt with, and `advance` can be called again.
 */
export class RangeCursor {
  readonly #view: TreeView
  readonly #memory: CursorMemory | undefined
  readonly #merged: MergingIterator
  readonly #tombstones: readonly RangeTombstones[]
  readonly #range: KeyRange
  readonly #isReverse: boolean
  readonly #atMost: Position
  readonly #mayPause: boolean
  /** The key at which it paused last: it gets on before it pauses again. */
  #pausedAt: Bytes | undefined
  readonly #context: ReadContext
  readonly #isKeysOnly: boolean
  #left: number
  /** Whether the sources stand where the next `advance` goes on. */
  #isPlaced = false
  /** Where a new start must go on from: the last key given, or a key that was sought. */
  #from: { readonly key: Bytes; readonly isInclusive: boolean } | undefined
  #isDone = false
  /** Entries that it gave. */
  count = 0
  readonly #dead: DeadStretch
  /** Stands on the entry that was given; undefined where it has gone on since. */
  #source: EntryIterator | undefined
  /** The last key, where its bytes were given away and somebody may write to them. */
  #key: Bytes = EMPTY_BYTES
  #isKeyKept = false
  /** Its bytes where its value stood apart: nobody else has them. */
  #brought: Bytes | undefined
  bytes: Bytes = EMPTY_BYTES
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  /** Of the write that the entry is from. */
  position: Position = 0
  ownShift = 0

  /** When the entry expires; undefined: it does not. */
  get expiresAt(): number | undefined {
    return expiryBetween(this.bytes, this.keyEnd, this.valueStart)
  }

  /** Takes over one use of `view`. */
  constructor(view: TreeView, context: ReadContext, options: CursorOptions) {
    this.#view = view
    this.#context = context
    this.#isKeysOnly = options.isKeysOnly
    this.#memory = options.isCopied ? new CursorMemory() : undefined
    this.#merged = new MergingIterator(
      view.iterators(context, { fillsCache: true, memory: this.#memory, mayGlimpse: options.isCopied }),
    )
    this.#mayPause = !context.mayBlock
    this.#tombstones = view.tombstones()
    this.#range = options.range
    this.#isReverse = options.isReverse
    this.#atMost = options.position
    this.#left = options.limit
    this.#dead = new DeadStretch(view, options.position)
  }

  /** To the next entry; false at the end. */
  advance(): boolean {
    if (this.#isDone || this.#left <= 0) return false
    const found = this.#isReverse ? this.#advanceBackward() : this.#advanceForward()
    if (!found) {
      this.#isDone = true
      return false
    }
    this.#left--
    this.count++
    return true
  }

  /** As `EntryIterator.ownBytes`, of the entry that was given last; sets `ownShift`. */
  ownBytes(): Bytes | undefined {
    this.ownShift = 0
    const source = this.#source
    const own = this.#brought ?? source?.ownBytes?.()
    if (source && own) this.ownShift = source.ownShift!
    if (own === this.bytes) this.#keepKey()
    return own
  }

  /** The next `advance` gives the first entry at or after `key` in the direction of travel, within the range. */
  seek(key: Bytes): void {
    this.#dead.forget()
    this.#from = { key, isInclusive: true }
    this.#isPlaced = false
    this.#isDone = false
  }

  /** Idempotent. */
  close(): void {
    if (this.#left === -1) return
    this.#left = -1
    this.#isDone = true
    this.#memory?.close()
    this.#view.release()
  }

  // Hot: every step of a scan (bench/scan.bench.js).
  #advanceForward(): boolean {
    const merged = this.#merged
    const wasPlaced = this.#isPlaced
    this.#isPlaced = false
    if (wasPlaced) {
      // It stands on what was given.
      merged.next()
      this.#skipVersions()
    } else if (!this.#placeForward()) return false
    let walked = 0
    let passed = 0
    let newer = 0
    while (merged.isValid) {
      const entry = merged.current
      const { end } = this.#range
      if (end && compareRanges(entry.bytes, entry.keyStart, entry.keyEnd, end, 0, end.length) >= 0) {
        this.#dead.endForward(end)
        return false
      }
      if (passed++ > WALK_PAUSE) {
        this.#pauseAt(entry)
        passed = 0
      }
      if (entry.position > this.#atMost) {
        if (++newer % VERSIONS_WALKED !== 0) merged.next()
        else merged.seekGE(cloneBytes(entry.bytes, entry.keyStart, entry.keyEnd), this.#atMost)
        continue
      }
      const tombstone = this.#hider(entry.bytes, entry.keyStart, entry.keyEnd, entry.position)
      if (!tombstone && entry.kind === KIND_PUT) {
        this.#give(
          entry.bytes,
          entry.keyStart,
          entry.keyEnd,
          entry.valueStart,
          entry.valueEnd,
          entry.position,
          entry,
        )
        if (this.#dead.isWorthIt) this.#dead.endForward(this.bytes.subarray(this.keyStart, this.keyEnd))
        else this.#dead.forget()
        return true
      }
      this.#noteKey(entry.bytes, entry.keyStart, entry.keyEnd)
      if (tombstone && ++walked > WALK_MAX) {
        walked = 0
        merged.skipOlder(tombstone.position, tombstone.end)
      }
      this.#skipVersions()
    }
    this.#dead.endForward(undefined)
    return false
  }

  #advanceBackward(): boolean {
    const merged = this.#merged
    const wasPlaced = this.#isPlaced
    this.#isPlaced = false
    if (!wasPlaced) this.#placeBackward()
    let passed = 0
    while (merged.isValid) {
      const { start } = this.#range
      const first = merged.current
      if (compareRanges(first.bytes, first.keyStart, first.keyEnd, start, 0, start.length) < 0) {
        this.#dead.endBackward(start)
        return false
      }
      if (passed++ > WALK_PAUSE) {
        this.#pauseAt(first)
        passed = 0
      }
      if (!this.#takeNewestBackward()) continue
      if (this.#dead.isWorthIt)
        this.#dead.endBackward(successor(this.bytes.subarray(this.keyStart, this.keyEnd)))
      else this.#dead.forget()
      return true
    }
    this.#dead.endBackward(EMPTY_BYTES)
    return false
  }

  /** Passes all versions of the current key, oldest first; true if the newest one seen is a value. */
  #takeNewestBackward(): boolean {
    const merged = this.#merged
    let entry = merged.current
    const { bytes: keyBytes, keyStart, keyEnd } = entry
    let hasValue = false
    let position = 0
    let seen:
      | { bytes: Bytes; valueStart: number; valueEnd: number; keyStart: number; keyEnd: number }
      | undefined
    for (let passed = 0; merged.isValid; passed++) {
      entry = merged.current
      if (!isOfKey(entry, keyBytes, keyStart, keyEnd)) break
      if (passed === VERSIONS_WALKED) return this.#seekNewestBackward(cloneBytes(keyBytes, keyStart, keyEnd))
      if (entry.position <= this.#atMost) {
        const { bytes, valueStart, valueEnd } = entry
        hasValue = entry.kind === KIND_PUT
        position = entry.position
        seen = { bytes, valueStart, valueEnd, keyStart: entry.keyStart, keyEnd: entry.keyEnd }
      }
      merged.prev()
    }
    if (!seen || !hasValue || this.#hider(keyBytes, keyStart, keyEnd, position)) {
      this.#noteKey(keyBytes, keyStart, keyEnd)
      return false
    }
    this.#give(seen.bytes, seen.keyStart, seen.keyEnd, seen.valueStart, seen.valueEnd, position, undefined)
    return true
  }

  /** As `#takeNewestBackward`, from the other side: the sources have to be placed anew afterwards. */
  #seekNewestBackward(key: Bytes): boolean {
    const merged = this.#merged
    merged.seekGE(key, this.#atMost)
    if (merged.isValid) {
      const entry = merged.current
      const { bytes, keyStart, keyEnd, valueStart, valueEnd, kind, position } = entry
      const isValue = kind === KIND_PUT && isOfKey(entry, key, 0, key.length)
      if (isValue && !this.#hider(bytes, keyStart, keyEnd, position)) {
        this.#give(bytes, keyStart, keyEnd, valueStart, valueEnd, position, entry)
        this.#isPlaced = false
        return true
      }
    }
    this.#noteKey(key, 0, key.length)
    merged.seekLT(key)
    return false
  }

  #give(
    bytes: Bytes,
    keyStart: number,
    keyEnd: number,
    valueStart: number,
    valueEnd: number,
    position: Position,
    source: EntryIterator | undefined,
  ): void {
    if (valueStart !== keyEnd && !this.#isKeysOnly && isApart(bytes, keyEnd, valueStart, valueEnd)) {
      const whole = this.#view.bring(bytes, keyStart, keyEnd, this.#context)
      this.#give(whole.bytes, 0, whole.keyEnd, whole.valueStart, whole.bytes.length, position, undefined)
      this.#brought = whole.bytes
      return
    }
    this.#source = source
    this.#brought = undefined
    this.#isKeyKept = false
    this.position = position
    this.bytes = bytes
    this.keyStart = keyStart
    this.keyEnd = keyEnd
    this.valueStart = valueStart
    this.valueEnd = valueEnd
    this.#from = undefined
    this.#isPlaced = true
  }

  #keepKey(): void {
    const length = this.keyEnd - this.keyStart
    if (length > this.#key.length) this.#key = Buffer.allocUnsafeSlow(length * 2)
    copyBytes(this.bytes, this.keyStart, this.keyEnd, this.#key, 0)
    this.#isKeyKept = true
  }

  /** The key was dealt with, though not given: a new start goes on after it. */
  #noteKey(bytes: Bytes, keyStart: number, keyEnd: number): void {
    this.#isKeyKept = false
    this.bytes = bytes
    this.keyStart = keyStart
    this.keyEnd = keyEnd
    this.#from = undefined
    this.#dead.pass()
  }

  /** The entry that it stands on is the next to be dealt with, once `advance` is called again. */
  #pauseAt({ bytes, keyStart, keyEnd }: EntryIterator): void {
    if (!this.#mayPause) return
    const last = this.#pausedAt
    if (last && compareRanges(last, 0, last.length, bytes, keyStart, keyEnd) === 0) return
    this.#pausedAt = cloneBytes(bytes, keyStart, keyEnd)
    this.#from = { key: this.#pausedAt, isInclusive: true }
    throw PAUSE
  }

  /** False if nothing can be there. */
  #placeForward(): boolean {
    const { start } = this.#range
    const from = this.#resumeKey()
    let target = from ? (from.isInclusive ? from.key : successor(from.key)) : start
    if (compareBytes(target, start) < 0) target = start
    const gap = this.#view.gaps.at(target, this.#atMost, this.#view.memtables)
    this.#dead.begin(gap ? gap.from : target)
    if (gap && !gap.to) return false
    this.#merged.seekGE(gap?.to ?? target)
    return true
  }

  #placeBackward(): void {
    const { end } = this.#range
    const from = this.#resumeKey()
    let target = from ? (from.isInclusive ? successor(from.key) : from.key) : end
    if (end && target && compareBytes(target, end) > 0) target = end
    const gap = this.#view.gaps.before(target, this.#atMost, this.#view.memtables)
    this.#dead.begin(gap ? gap.to : target)
    if (gap) target = gap.from
    if (target) this.#merged.seekLT(target)
    else this.#merged.seekToLast()
  }

  #resumeKey(): { readonly key: Bytes; readonly isInclusive: boolean } | undefined {
    if (this.#from) return this.#from
    if (this.bytes === EMPTY_BYTES) return undefined
    const length = this.keyEnd - this.keyStart
    const key = this.#isKeyKept
      ? this.#key.subarray(0, length)
      : this.bytes.subarray(this.keyStart, this.keyEnd)
    return { key, isInclusive: false }
  }

  /** Past every version of the last key. */
  #skipVersions(): void {
    const merged = this.#merged
    const length = this.keyEnd - this.keyStart
    const bytes = this.#isKeyKept ? this.#key : this.bytes
    const keyStart = this.#isKeyKept ? 0 : this.keyStart
    for (let passed = 0; merged.isValid; passed++) {
      if (!isOfKey(merged.current, bytes, keyStart, keyStart + length)) return
      if (passed === VERSIONS_WALKED) {
        merged.seekGE(successor(bytes.subarray(keyStart, keyStart + length)))
        return
      }
      merged.next()
    }
  }

  #hider(bytes: Bytes, keyStart: number, keyEnd: number, position: Position): RangeTombstone | undefined {
    for (const set of this.#tombstones) {
      const tombstone = set.find(bytes, keyStart, keyEnd, this.#atMost)
      if (tombstone && tombstone.position > position) return tombstone
    }
    return undefined
  }
}

settleShape(() => new RangeCursor(undefined as never, undefined as never, undefined as never))
