import type { Bytes } from '../util/bytes.js'
import { compareEntries, sortEntries } from './sort-entries.js'
import { SortedRun } from './sorted-run.js'

/** Entries sorted in one step: about a millisecond, several where the engine has not compiled the sort yet. */
const SORT_STEP = 4096
/** Entries merged in one step: about a millisecond. */
const MERGE_STEP = 8192
/** Entries that an ordered read merges beyond what it needs, once so many came without a write in between. */
const IDLE_STEP = 1024
const IDLE_AFTER_READS = 16
/** A run many times shorter than the one before costs reads little, and merging it much. */
const IDLE_RATIO = 16

/** A merge of two runs that reads can do without. */
interface IdleMerge {
  readonly older: SortedRun
  readonly newer: SortedRun
  readonly merge: RunMerge
}

/**
 * The entries of a memtable as a few sorted runs, each at least twice the next, so that an ordered read after a
 * few writes sorts only those. While nothing is written every ordered read merges them a little further, towards
 * one. Runs are never changed, only replaced: iterators keep the ones they started with.
 */
export class SortedRuns {
  readonly #bytes: Bytes
  #runs: readonly SortedRun[] = []
  #sortedCount = 0
  #merge: RunMerge | undefined
  #idle: IdleMerge | undefined
  #quietReads = 0

  constructor(bytes: Bytes) {
    this.#bytes = bytes
  }

  get sortedCount(): number {
    return this.#sortedCount
  }

  get runs(): readonly SortedRun[] {
    return this.#runs
  }

  get sizeBytes(): number {
    return this.#runs.reduce((sum, run) => sum + run.sizeBytes, 0)
  }

  /** One bounded step towards all of the first `count` entries being sorted in few runs; true when they are. */
  sortSome(offsets: Uint32Array, count: number): boolean {
    if (this.#merge) {
      const merged = this.#merge.step(this.#bytes, offsets, MERGE_STEP)
      if (!merged) return false
      this.#replaceLastTwo(merged)
      this.#merge = undefined
    }
    const [older, newer] = this.#runs.slice(-2)
    if (older && newer && newer.length * 2 > older.length) {
      this.#merge = new RunMerge(older, newer)
      return false
    }
    if (this.#sortedCount === count) {
      this.#mergeIdle(offsets)
      return true
    }
    this.#quietReads = 0
    const end = Math.min(count, this.#sortedCount + SORT_STEP)
    const order = sortEntries(this.#bytes, offsets, this.#sortedCount, end)
    this.#runs = [...this.#runs, new SortedRun(order)]
    this.#sortedCount = end
    return false
  }

  /** The oldest two: writes go on beside it, since they only ever touch the newest runs at first. */
  #mergeIdle(offsets: Uint32Array): void {
    this.#idle ??= this.#startIdle()
    if (!this.#idle) return
    const { older, newer, merge } = this.#idle
    const merged = merge.step(this.#bytes, offsets, IDLE_STEP)
    if (!merged) return
    this.#idle = undefined
    const at = this.#runs.indexOf(older)
    // A merge that could not wait may have taken one of them meanwhile.
    if (at >= 0 && this.#runs[at + 1] === newer) this.#runs = this.#runs.toSpliced(at, 2, merged)
  }

  #startIdle(): IdleMerge | undefined {
    const [older, newer] = this.#runs
    if (!older || !newer || newer.length * IDLE_RATIO < older.length) return undefined
    if (++this.#quietReads < IDLE_AFTER_READS) return undefined
    return { older, newer, merge: new RunMerge(older, newer) }
  }

  #replaceLastTwo(merged: SortedRun): void {
    this.#runs = [...this.#runs.slice(0, -2), merged]
  }
}

class RunMerge {
  readonly #a: Uint32Array
  readonly #b: Uint32Array
  readonly #out: Uint32Array
  #i = 0
  #j = 0

  constructor(a: SortedRun, b: SortedRun) {
    this.#a = a.order
    this.#b = b.order
    this.#out = new Uint32Array(a.length + b.length)
  }

  /** The merged run once it is whole. */
  step(bytes: Bytes, offsets: Uint32Array, size: number): SortedRun | undefined {
    const a = this.#a
    const b = this.#b
    const out = this.#out
    let i = this.#i
    let j = this.#j
    const stop = Math.min(out.length, i + j + size)
    while (i + j < stop && i < a.length && j < b.length) {
      if (compareEntries(bytes, offsets, a[i]!, b[j]!) < 0) out[i + j] = a[i++]!
      else out[i + j] = b[j++]!
    }
    if (i === a.length || j === b.length) {
      out.set(a.subarray(i), i + j)
      out.set(b.subarray(j), i + j + a.length - i)
      return new SortedRun(out)
    }
    this.#i = i
    this.#j = j
    return undefined
  }
}
