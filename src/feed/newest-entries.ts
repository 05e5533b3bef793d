import { MergingIterator } from '../iterator/merging-iterator.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { RangeTombstones } from '../key/range-tombstones.js'
import { type BlockNeeded, ReadContext } from '../segment/read-context.js'
import type { FairTurn } from '../store/fair-turn.js'
import type { TreeView } from '../tree/tree-view.js'
import { type Bytes, compareRanges, equalRange, successor } from '../util/bytes.js'

/**
 * Walks what of each key in a range was written last up to one position, deletions too, where that was after
 * another; not what a range tombstone hides. The view is the caller's.
 */
export class NewestEntries {
  readonly #view: TreeView
  readonly #range: KeyRange
  readonly #after: Position
  readonly #upTo: Position
  readonly #context = new ReadContext(false)
  readonly #tombstones: readonly RangeTombstones[]
  #merged: MergingIterator | undefined
  #isPlaced = false
  /** The last key that was dealt with: a new start goes on after it. */
  #key: { readonly bytes: Bytes; readonly start: number; readonly end: number } | undefined

  constructor(view: TreeView, range: KeyRange, after: Position, upTo: Position) {
    this.#view = view
    this.#range = range
    this.#after = after
    this.#upTo = upTo
    this.#tombstones = view.tombstones()
  }

  /** Once, before the first `advance`: sorting what the memtables have not sorted yet may take a while. */
  async prepare(turn: FairTurn): Promise<void> {
    for (const memtable of this.#view.memtables) while (!memtable.sortSome()) await turn.due()
    this.#merged = new MergingIterator(
      this.#view.iterators(this.#context, { fillsCache: true, after: this.#after }),
    )
  }

  /** The source that stands on the entry `advance` went to. */
  get current(): MergingIterator['current'] {
    return this.#merged!.current
  }

  /** To the next one; false at the end. May throw `BlockNeeded`: load it and call again. */
  advance(): boolean {
    const merged = this.#merged!
    const wasPlaced = this.#isPlaced
    this.#isPlaced = false
    if (wasPlaced) this.#skipVersions(merged)
    else this.#place(merged)
    while (merged.isValid) {
      const { bytes, keyStart, keyEnd, position } = merged.current
      const { end } = this.#range
      if (end && compareRanges(bytes, keyStart, keyEnd, end, 0, end.length) >= 0) return false
      if (position > this.#upTo) {
        merged.next()
        continue
      }
      this.#key = { bytes, start: keyStart, end: keyEnd }
      if (position > this.#after && !this.#isHidden(bytes, keyStart, keyEnd, position)) {
        this.#context.release()
        this.#isPlaced = true
        return true
      }
      this.#skipVersions(merged)
    }
    return false
  }

  load(needed: BlockNeeded): Promise<void> {
    return this.#context.load(needed)
  }

  #place(merged: MergingIterator): void {
    const last = this.#key
    merged.seekGE(last ? successor(last.bytes.subarray(last.start, last.end)) : this.#range.start)
  }

  /** Past every version of the last key. */
  #skipVersions(merged: MergingIterator): void {
    const { bytes, start, end } = this.#key!
    while (merged.isValid) {
      const entry = merged.current
      if (entry.keyEnd - entry.keyStart !== end - start) return
      if (!equalRange(entry.bytes, entry.keyStart, bytes, start, end - start)) return
      merged.next()
    }
  }

  #isHidden(bytes: Bytes, keyStart: number, keyEnd: number, position: Position): boolean {
    for (const set of this.#tombstones) {
      const tombstone = set.find(bytes, keyStart, keyEnd, this.#upTo)
      if (tombstone && tombstone.position > position) return true
    }
    return false
  }
}
