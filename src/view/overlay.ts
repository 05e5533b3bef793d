import { type Prepared, toBytes } from '../access/codec.js'
import type { KeyRange } from '../key/key-range.js'
import { RangeTombstones } from '../key/range-tombstones.js'
import { asBuffer, compareBytes } from '../util/bytes.js'

/** One write that is not committed yet. Never changed: a later write of the key takes its place. */
export interface OverlayEntry {
  readonly key: Prepared
  /** Undefined: the key is deleted. */
  readonly value: Prepared | undefined
  /** Later writes have greater ones. */
  readonly order: number
}

interface SortedEntry {
  readonly bytes: Buffer
  readonly entry: OverlayEntry
}

/** What an operation costs beside its bytes, about. */
const ENTRY_BYTES = 64

/** Writes of some changes, before they commit as one batch: the newest of each key, and ranges that were cleared. */
export class Overlay {
  readonly #entries = new Map<string, OverlayEntry>()
  #clears = new RangeTombstones()
  #order = 0
  #sizeBytes = 0
  /** Ascending, one of each key, up to what `#recent` adds. Arrays are replaced, never changed. */
  #sorted: readonly SortedEntry[] = []
  #recent: OverlayEntry[] = []
  #isSorting = false

  get count(): number {
    return this.#entries.size
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Whether ranges of it were read: that costs more the more there is. */
  get isSorting(): boolean {
    return this.#isSorting
  }

  get order(): number {
    return this.#order
  }

  // Hot: every write of a view (bench/view.bench.js).
  set(key: Prepared, value: Prepared | undefined): void {
    const entry = { key, value, order: ++this.#order }
    this.#entries.set(nameOf(key), entry)
    this.#sizeBytes += ENTRY_BYTES + key.length + (value?.length ?? 0)
    if (this.#isSorting) this.#recent.push(entry)
  }

  clear(range: KeyRange): void {
    this.#clears.add({ ...range, position: ++this.#order })
    this.#sizeBytes += ENTRY_BYTES + range.start.length
  }

  /** What is known of the key: its write; null if it was cleared; undefined if nothing was written. */
  find(key: Prepared): OverlayEntry | null | undefined {
    const entry = this.#entries.get(nameOf(key))
    if (this.#clears.isEmpty) return entry
    return this.isCleared(toBytes(key), entry?.order ?? 0, this.#order) ? null : entry
  }

  /** Whether a clear between the two moments covers the key. */
  isCleared(key: Buffer, after: number, upTo: number): boolean {
    if (this.#clears.isEmpty) return false
    const tombstone = this.#clears.find(key, 0, key.length, upTo)
    return tombstone !== undefined && tombstone.position > after
  }

  /** Writes with keys in the range, ascending, as they are now. */
  slice(range: KeyRange): OverlaySlice {
    this.#sort()
    const sorted = this.#sorted
    const from = lowerBound(sorted, range.start)
    const to = range.end ? lowerBound(sorted, range.end) : sorted.length
    return new OverlaySlice(this, sorted, from, Math.max(from, to), this.#order)
  }

  get clears(): readonly KeyRange[] {
    return this.#clears.all
  }

  /** Those that no later clear covers. */
  *live(): Generator<OverlayEntry> {
    const isPlain = this.#clears.isEmpty
    for (const entry of this.#entries.values()) {
      if (isPlain || !this.isCleared(toBytes(entry.key), entry.order, this.#order)) yield entry
    }
  }

  reset(): void {
    this.#entries.clear()
    if (!this.#clears.isEmpty) this.#clears = new RangeTombstones()
    this.#order = 0
    this.#sizeBytes = 0
    this.#sorted = []
    this.#recent = []
    this.#isSorting = false
  }

  #sort(): void {
    if (!this.#isSorting) {
      this.#isSorting = true
      this.#recent = [...this.#entries.values()]
    }
    if (this.#recent.length === 0) return
    const recent = this.#recent.map((entry) => ({ bytes: toBytes(entry.key), entry }))
    recent.sort((a, b) => compareBytes(a.bytes, b.bytes) || a.entry.order - b.entry.order)
    this.#sorted = merged(this.#sorted, recent)
    this.#recent = []
  }
}

/** A part of an overlay as it was at one moment. */
export class OverlaySlice {
  readonly #overlay: Overlay
  readonly #sorted: readonly SortedEntry[]
  readonly #from: number
  readonly #to: number
  readonly #order: number

  constructor(overlay: Overlay, sorted: readonly SortedEntry[], from: number, to: number, order: number) {
    this.#overlay = overlay
    this.#sorted = sorted
    this.#from = from
    this.#to = to
    this.#order = order
  }

  get count(): number {
    return this.#to - this.#from
  }

  /** `index` 0 is the lowest key. */
  at(index: number): { readonly bytes: Buffer; readonly value: Prepared | undefined } {
    const { bytes, entry } = this.#sorted[this.#from + index]!
    const isGone = this.#overlay.isCleared(bytes, entry.order, this.#order)
    return { bytes, value: isGone ? undefined : entry.value }
  }

  /** Whether a key that only the store holds was cleared. */
  hides(key: Buffer): boolean {
    return this.#overlay.isCleared(key, 0, this.#order)
  }
}

/** Both ascending; of equal keys the last one stays. */
function merged(older: readonly SortedEntry[], newer: readonly SortedEntry[]): SortedEntry[] {
  const all: SortedEntry[] = []
  const add = (next: SortedEntry) => {
    const last = all[all.length - 1]
    if (last && compareBytes(last.bytes, next.bytes) === 0) all[all.length - 1] = next
    else all.push(next)
  }
  let i = 0
  for (const next of newer) {
    while (i < older.length && compareBytes(older[i]!.bytes, next.bytes) <= 0) add(older[i++]!)
    add(next)
  }
  while (i < older.length) add(older[i++]!)
  return all
}

function lowerBound(sorted: readonly SortedEntry[], key: Uint8Array): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(sorted[middle]!.bytes, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** One string for each key: all keys of a codec are prepared as strings, or all as bytes. */
function nameOf(key: Prepared): string {
  return typeof key === 'string' ? key : asBuffer(key).toString('latin1')
}
