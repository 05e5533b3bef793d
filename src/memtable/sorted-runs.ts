import type { Bytes } from '../util/bytes.js'
import { compareEntries, sortEntries } from './sort-entries.js'

/** Entries sorted in one step: 1 to 3 ms. */
const SORT_STEP = 8192
/** Entries merged in one step: about 2 ms. */
const MERGE_STEP = 16_384

/**
 * The entries of a memtable as a few sorted runs, each at least twice the next, so that an ordered read after a
 * few writes sorts only those. Runs are never changed, only replaced: iterators keep the ones they started with.
 */
export class SortedRuns {
  readonly #bytes: Bytes
  #runs: readonly Uint32Array[] = []
  #sortedCount = 0
  #merge: RunMerge | undefined

  constructor(bytes: Bytes) {
    this.#bytes = bytes
  }

  get runs(): readonly Uint32Array[] {
    return this.#runs
  }

  get sizeBytes(): number {
    return this.#sortedCount * 4
  }

  /** One bounded step towards all of the first `count` entries being sorted in few runs; true when they are. */
  sortSome(offsets: Uint32Array, count: number): boolean {
    if (this.#merge) {
      const merged = this.#merge.step(this.#bytes, offsets)
      if (!merged) return false
      this.#runs = [...this.#runs.slice(0, -2), merged]
      this.#merge = undefined
    }
    const [older, newer] = this.#runs.slice(-2)
    if (older && newer && newer.length * 2 > older.length) {
      this.#merge = new RunMerge(older, newer)
      return false
    }
    if (this.#sortedCount === count) return true
    const end = Math.min(count, this.#sortedCount + SORT_STEP)
    this.#runs = [...this.#runs, sortEntries(this.#bytes, offsets, this.#sortedCount, end)]
    this.#sortedCount = end
    return false
  }
}

class RunMerge {
  readonly #a: Uint32Array
  readonly #b: Uint32Array
  readonly #out: Uint32Array
  #i = 0
  #j = 0

  constructor(a: Uint32Array, b: Uint32Array) {
    this.#a = a
    this.#b = b
    this.#out = new Uint32Array(a.length + b.length)
  }

  /** The merged run once it is whole. */
  step(bytes: Bytes, offsets: Uint32Array): Uint32Array | undefined {
    const a = this.#a
    const b = this.#b
    const out = this.#out
    let i = this.#i
    let j = this.#j
    const stop = Math.min(out.length, i + j + MERGE_STEP)
    while (i + j < stop && i < a.length && j < b.length) {
      if (compareEntries(bytes, offsets, a[i]!, b[j]!) < 0) out[i + j] = a[i++]!
      else out[i + j] = b[j++]!
    }
    if (i === a.length || j === b.length) {
      out.set(a.subarray(i), i + j)
      out.set(b.subarray(j), i + j + a.length - i)
      return out
    }
    this.#i = i
    this.#j = j
    return undefined
  }
}
