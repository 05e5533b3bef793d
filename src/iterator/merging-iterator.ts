import type { Position } from '../key/position.js'
import { type Bytes, compareRanges, EMPTY_BYTES, readWord } from '../util/bytes.js'
import type { EntryIterator } from './entry-iterator.js'

/**
 * Merges sources into one order with a binary heap of those that stand on an entry.
 * Source: Knuth, The Art of Computer Programming 3, 5.4.1 (replacement selection on a heap).
 */
export class MergingIterator implements EntryIterator {
  readonly #sources: readonly EntryIterator[]
  readonly #heap: EntryIterator[] = []
  /** The first four bytes of the key that each source of the heap stands on: most comparisons end with them. */
  readonly #words: number[] = []
  #isReverse = false

  constructor(sources: readonly EntryIterator[]) {
    this.#sources = sources
  }

  get positionMax(): Position {
    return this.#sources.reduce((newest, source) => Math.max(newest, source.positionMax), 0)
  }

  get isValid(): boolean {
    return this.#heap.length > 0
  }

  /** The source that holds the current entry: hot callers read its fields without the detour. */
  get current(): EntryIterator {
    return this.#heap[0]!
  }

  get bytes(): Bytes {
    return this.#heap[0]?.bytes ?? EMPTY_BYTES
  }
  get keyStart(): number {
    return this.#heap[0]!.keyStart
  }
  get keyEnd(): number {
    return this.#heap[0]!.keyEnd
  }
  get kind(): number {
    return this.#heap[0]!.kind
  }
  get position(): Position {
    return this.#heap[0]!.position
  }
  get valueStart(): number {
    return this.#heap[0]!.valueStart
  }
  get valueEnd(): number {
    return this.#heap[0]!.valueEnd
  }

  seekToFirst(): void {
    for (const source of this.#sources) source.seekToFirst()
    this.#build(false)
  }

  seekToLast(): void {
    for (const source of this.#sources) source.seekToLast()
    this.#build(true)
  }

  seekGE(key: Bytes, atMost?: Position): void {
    for (const source of this.#sources) source.seekGE(key, atMost)
    this.#build(false)
  }

  seekLT(key: Bytes): void {
    for (const source of this.#sources) source.seekLT(key)
    this.#build(true)
  }

  next(): void {
    this.#heap[0]!.next()
    this.#settleTop()
  }

  prev(): void {
    this.#heap[0]!.prev()
    this.#settleTop()
  }

  /**
   * Going forward: every source that holds nothing as new as `position` goes on to `key`, or ends where there is
   * none. So a range tombstone at `position` that ends at `key` is passed by them in one step.
   */
  skipOlder(position: Position, key: Bytes | undefined): void {
    const kept = this.#heap.filter((source) => {
      if (source.positionMax >= position) return true
      if (!key) return false
      if (compareRanges(source.bytes, source.keyStart, source.keyEnd, key, 0, key.length) < 0)
        source.seekGE(key)
      return source.isValid
    })
    this.#heapify(kept)
  }

  #build(isReverse: boolean): void {
    this.#isReverse = isReverse
    this.#heapify(this.#sources)
  }

  /** Of those that stand on an entry. */
  #heapify(sources: readonly EntryIterator[]): void {
    const heap = this.#heap
    if (heap.length > 0) {
      heap.length = 0
      this.#words.length = 0
    }
    for (const source of sources) {
      if (!source.isValid) continue
      heap.push(source)
      this.#words.push(wordOf(source))
    }
    for (let i = (heap.length >>> 1) - 1; i >= 0; i--) this.#siftDown(i)
  }

  // Hot: once an entry (bench/scan.bench.js).
  #settleTop(): void {
    const heap = this.#heap
    if (!heap[0]!.isValid) {
      const last = heap.pop()!
      const word = this.#words.pop()!
      if (heap.length === 0) return
      heap[0] = last
      this.#words[0] = word
      this.#siftDown(0)
    } else if (heap.length > 1) {
      this.#words[0] = wordOf(heap[0]!)
      this.#siftDown(0)
    }
  }

  #siftDown(from: number): void {
    const heap = this.#heap
    const words = this.#words
    const size = heap.length
    const moving = heap[from]!
    const word = words[from]!
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (
        child + 1 < size &&
        this.#isBefore(heap[child + 1]!, words[child + 1]!, heap[child]!, words[child]!)
      )
        child++
      if (!this.#isBefore(heap[child]!, words[child]!, moving, word)) break
      heap[at] = heap[child]!
      words[at] = words[child]!
      at = child
    }
    heap[at] = moving
    words[at] = word
  }

  #isBefore(a: EntryIterator, aWord: number, b: EntryIterator, bWord: number): boolean {
    if (aWord !== bWord) return aWord < bWord !== this.#isReverse
    const order = compareRanges(a.bytes, a.keyStart, a.keyEnd, b.bytes, b.keyStart, b.keyEnd)
    const isBefore = order === 0 ? a.position > b.position : order < 0
    return isBefore !== this.#isReverse
  }
}

function wordOf(source: EntryIterator): number {
  return readWord(source.bytes, source.keyStart, source.keyEnd)
}
