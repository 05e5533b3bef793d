import type { EntryIterator } from '../iterator/entry-iterator.js'
import type { Position } from '../key/position.js'
import { type Bytes, compareBytes, EMPTY_BYTES } from '../util/bytes.js'
import type { SegmentMeta } from './segment-meta.js'

/** Walks segments that don't overlap, in order, as one source. Holds one of them open at a time. */
export class LevelIterator implements EntryIterator {
  readonly #metas: readonly SegmentMeta[]
  readonly #open: (index: number) => EntryIterator
  #index = -1
  #segment: EntryIterator | undefined
  isValid = false
  bytes: Bytes = EMPTY_BYTES
  keyStart = 0
  keyEnd = 0
  kind = 0
  position: Position = 0
  valueStart = 0
  valueEnd = 0

  /** @param open an iterator of segment `index`; called again for the same one after others were visited. */
  constructor(metas: readonly SegmentMeta[], open: (index: number) => EntryIterator) {
    this.#metas = metas
    this.#open = open
  }

  get positionMax(): Position {
    return this.#metas.reduce((newest, meta) => Math.max(newest, meta.positionMax), 0)
  }

  seekToFirst(): void {
    this.#enter(0)
    this.#segment?.seekToFirst()
    this.#settleForward()
  }

  seekToLast(): void {
    this.#enter(this.#metas.length - 1)
    this.#segment?.seekToLast()
    this.#settleBackward()
  }

  seekGE(key: Bytes, atMost?: Position): void {
    this.#enter(this.#firstEndingAfter(key))
    this.#segment?.seekGE(key, atMost)
    this.#settleForward()
  }

  seekLT(key: Bytes): void {
    this.#enter(this.#lastStartingBefore(key))
    this.#segment?.seekLT(key)
    this.#settleBackward()
  }

  next(): void {
    this.#segment!.next()
    this.#settleForward()
  }

  prev(): void {
    this.#segment!.prev()
    this.#settleBackward()
  }

  #firstEndingAfter(key: Bytes): number {
    let low = 0
    let high = this.#metas.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const { end } = this.#metas[middle]!.range
      if (end && compareBytes(end, key) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #lastStartingBefore(key: Bytes): number {
    let low = 0
    let high = this.#metas.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes(this.#metas[middle]!.range.start, key) < 0) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  ownBytes(): Bytes | undefined {
    return this.#segment!.ownBytes?.()
  }

  get ownShift(): number {
    return this.#segment!.ownShift!
  }

  #enter(index: number): void {
    if (index < 0 || index >= this.#metas.length) {
      this.#segment = undefined
    } else if (index !== this.#index || !this.#segment) {
      this.#segment = this.#open(index)
    }
    this.#index = index
  }

  /** A segment may hold nothing at or after the key, or only range tombstones. */
  #settleForward(): void {
    while (this.#segment && !this.#segment.isValid) {
      this.#enter(this.#index + 1)
      this.#segment?.seekToFirst()
    }
    this.#copy()
  }

  #settleBackward(): void {
    while (this.#segment && !this.#segment.isValid) {
      this.#enter(this.#index - 1)
      this.#segment?.seekToLast()
    }
    this.#copy()
  }

  #copy(): void {
    const segment = this.#segment
    this.isValid = segment !== undefined
    if (!segment) return
    this.bytes = segment.bytes
    this.keyStart = segment.keyStart
    this.keyEnd = segment.keyEnd
    this.kind = segment.kind
    this.position = segment.position
    this.valueStart = segment.valueStart
    this.valueEnd = segment.valueEnd
  }
}
