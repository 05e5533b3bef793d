import { opSizeBytes } from '../key/batch-format.js'
import { assert } from '../util/assert.js'
import { type Bytes, EMPTY_BYTES } from '../util/bytes.js'
import type { EntryTable } from './sorted-run.js'

/** Entries that are copied together at most. */
export const STAGED_MAX = 32
/** Larger operations stay where they are: one copy of many bytes is cheap, wherever it is from. */
const STAGED_BYTES_MAX = 512
const WORD_BYTES = 4
const LINE_WORDS = 16
const NO_WORDS = new Int32Array(0)

/**
 * Copies of the next few operations that a walk over the log's memory comes to, in memory of its own. Each stands in
 * that one in cache lines of its own, which come at the same time, not one after another, where nothing waits for them;
 * and copies out of shared memory go byte by byte unless they go from word to word, as these do.
 */
export class EntryStage {
  bytes: Bytes = EMPTY_BYTES
  #words: Int32Array = NO_WORDS
  readonly #table: EntryTable
  readonly #logWords: Int32Array
  /** Where in `bytes` each operation stands; -1: it was not copied. */
  readonly #places = new Int32Array(STAGED_MAX)

  constructor(table: EntryTable) {
    this.#table = table
    const { buffer } = table.bytes
    this.#logWords = new Int32Array(buffer, 0, Math.floor(buffer.byteLength / WORD_BYTES))
  }

  /** Where in `bytes` the operation number `index` of the last `fill` stands; -1: where it was, in the log's memory. */
  placeOf(index: number): number {
    return this.#places[index]!
  }

  // Hot: once an entry of every flush (bench/write.bench.js).
  fill(order: Uint32Array, from: number, to: number): void {
    this.#fetch(order, from, to)
    const table = this.#table
    const { bytes } = table
    const { byteOffset } = bytes
    const logWords = this.#logWords
    const places = this.#places
    if (this.#words.length === 0) this.#allocate()
    const words = this.#words
    let word = 0
    for (let at = from; at < to; at++) {
      const op = table.offsetOf(order[at]!)
      const size = opSizeBytes(bytes, op)
      const start = byteOffset + op
      const end = (start + size + WORD_BYTES - 1) >>> 2
      const isStaged = size <= STAGED_BYTES_MAX && end <= logWords.length
      places[at - from] = isStaged ? word * WORD_BYTES + (start & (WORD_BYTES - 1)) : -1
      if (isStaged) word = copyWords(logWords, start >>> 2, end, words, word)
    }
  }

  /** Reads the first lines of each operation, whatever is in them. */
  #fetch(order: Uint32Array, from: number, to: number): void {
    const table = this.#table
    const logWords = this.#logWords
    const { byteOffset } = table.bytes
    const last = logWords.length - 1
    let fetched = 0
    for (let at = from; at < to; at++) {
      const entry = order[at]!
      const first = (byteOffset + table.offsetOf(entry)) >>> 2
      fetched +=
        (table.positionOf(entry) & 1) +
        (logWords[first]! & 1) +
        (logWords[Math.min(first + LINE_WORDS, last)]! & 1) +
        (logWords[Math.min(first + 2 * LINE_WORDS, last)]! & 1)
    }
    // Reads of which nothing is used would be left out.
    assert(fetched >= 0, 'bits are never negative')
  }

  #allocate(): void {
    const buffer = new ArrayBuffer(STAGED_MAX * (STAGED_BYTES_MAX + 2 * WORD_BYTES))
    this.#words = new Int32Array(buffer)
    this.bytes = Buffer.from(buffer)
  }
}

/** Copies words [start, end); returns where the copy ends. Four at a time: half the time of one by one. */
function copyWords(from: Int32Array, start: number, end: number, into: Int32Array, at: number): number {
  let word = start
  let place = at
  for (; word + 4 <= end; word += 4, place += 4) {
    const first = from[word]!
    const second = from[word + 1]!
    const third = from[word + 2]!
    const fourth = from[word + 3]!
    into[place] = first
    into[place + 1] = second
    into[place + 2] = third
    into[place + 3] = fourth
  }
  for (; word < end; word++) into[place++] = from[word]!
  return place
}
