import type { Position } from '../key/position.js'
import { type Bytes, copyBytes, readU32, writeU32 } from '../util/bytes.js'

/** Memory is taken in pieces: what grows by copying all of itself would hold the thread. */
const SLAB_BYTES = 2 ** 20
/** Positions sampled to find one that about half of the entries are above. */
const SAMPLES = 1024
/** Entries moved in one step, and sorted in one: about a millisecond. */
const MOVE_STEP = 8192
const SORT_STEP = 4096
/** Before the key of each entry: its length, that of the value and one more, and the kind. */
const HEADER_BYTES = 9
/** What an entry costs beside key and value. */
const ENTRY_BYTES = HEADER_BYTES + 8 + 4

/** One entry of a window; the bytes are borrowed until the window is cleared. */
export interface WindowEntry {
  readonly position: Position
  /** Also `KIND_PUT_UNTIL`: the value starts with when it expires. */
  readonly kind: number
  readonly bytes: Bytes
  readonly keyStart: number
  readonly keyEnd: number
  /** -1: the value was too long to be kept here. */
  readonly valueEnd: number
}

/**
 * Gathers entries that come in the order of their keys and gives those of the lowest positions back in the order
 * of positions, within a bound of memory: once it is full it gives up the upper half, and notes up to where it is
 * complete. All entries of one position stay together, however many they are.
 */
export class EntryWindow {
  readonly #bytesMax: number
  readonly #slabs: Buffer[] = []
  /** Where the next entry goes, counted over all slabs. */
  #end = 0
  #count = 0
  #positions = new Float64Array(1024)
  #places = new Uint32Array(1024)
  /** Entries above it were given up, or not taken. */
  #upTo: Position = Number.MAX_SAFE_INTEGER
  #mayShrink = true

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Every entry up to here that was added is in it. */
  get upTo(): Position {
    return this.#upTo
  }

  get isEmpty(): boolean {
    return this.#count === 0
  }

  get isFull(): boolean {
    return this.#mayShrink && this.#end + this.#count * ENTRY_BYTES > this.#bytesMax
  }

  /** Copies key and value, together less than half a megabyte; `valueEnd` below `keyEnd`: without the value. */
  add(
    position: Position,
    kind: number,
    bytes: Bytes,
    keyStart: number,
    keyEnd: number,
    valueEnd: number,
  ): void {
    if (position > this.#upTo) return
    if (this.#count === this.#positions.length) this.#growEntries()
    const end = Math.max(keyEnd, valueEnd)
    const place = this.#reserve(HEADER_BYTES + end - keyStart)
    const slab = this.#slabAt(place)
    const at = place % SLAB_BYTES
    writeU32(slab, at, keyEnd - keyStart)
    writeU32(slab, at + 4, valueEnd < keyEnd ? 0 : valueEnd - keyEnd + 1)
    slab[at + 8] = kind
    copyBytes(bytes, keyStart, end, slab, at + HEADER_BYTES)
    this.#positions[this.#count] = position
    this.#places[this.#count++] = place
  }

  /** Gives up entries of the highest positions, about half of them. A generator: in steps. */
  *shrink(): Generator<void> {
    const sample = new Float64Array(Math.min(SAMPLES, this.#count))
    for (let i = 0; i < sample.length; i++)
      sample[i] = this.#positions[Math.floor((i * this.#count) / sample.length)]!
    sample.sort()
    let upTo = sample[sample.length >> 1]!
    // More than half of them may be of one position: then all above it go, or none can.
    if (upTo === sample[sample.length - 1]) upTo = sample.findLast((position) => position < upTo) ?? upTo
    const before = this.#count
    yield* this.#keepUpTo(upTo)
    if (this.#count < before) this.#upTo = upTo
    // One batch that is larger than the bound must be held whole: its change is.
    else this.#mayShrink = false
  }

  /** Every entry in the order of positions, those of one position in the order of their keys. */
  *sorted(): Generator<WindowEntry | undefined> {
    const runs: Uint32Array[] = []
    for (let from = 0; from < this.#count; from += SORT_STEP) {
      const run = new Uint32Array(Math.min(SORT_STEP, this.#count - from))
      for (let i = 0; i < run.length; i++) run[i] = from + i
      run.sort((a, b) => this.#compare(a, b))
      runs.push(run)
      yield undefined
    }
    yield* this.#merge(runs)
  }

  clear(): void {
    this.#end = 0
    this.#count = 0
    this.#upTo = Number.MAX_SAFE_INTEGER
    this.#mayShrink = true
  }

  *#merge(runs: readonly Uint32Array[]): Generator<WindowEntry> {
    const at = new Uint32Array(runs.length)
    const heads = new Heap((a, b) => this.#compare(runs[a]![at[a]!]!, runs[b]![at[b]!]!))
    for (let run = 0; run < runs.length; run++) heads.push(run)
    for (let run = heads.top; run !== undefined; run = heads.top) {
      yield this.#entry(runs[run]![at[run]!++]!)
      if (at[run] === runs[run]!.length) heads.pop()
      else heads.settle()
    }
  }

  #entry(entry: number): WindowEntry {
    const place = this.#places[entry]!
    const bytes = this.#slabAt(place)
    const at = place % SLAB_BYTES
    const keyStart = at + HEADER_BYTES
    const keyEnd = keyStart + readU32(bytes, at)
    const valueLength = readU32(bytes, at + 4) - 1
    const valueEnd = valueLength < 0 ? -1 : keyEnd + valueLength
    return { position: this.#positions[entry]!, kind: bytes[at + 8]!, bytes, keyStart, keyEnd, valueEnd }
  }

  /** Entries were added in the order of their keys. */
  #compare(a: number, b: number): number {
    return this.#positions[a]! - this.#positions[b]! || a - b
  }

  *#keepUpTo(upTo: Position): Generator<void> {
    const count = this.#count
    this.#count = 0
    this.#end = 0
    for (let entry = 0; entry < count; entry++) {
      if (entry % MOVE_STEP === 0) yield
      if (this.#positions[entry]! > upTo) continue
      const from = this.#places[entry]!
      const source = this.#slabAt(from)
      const at = from % SLAB_BYTES
      const size = HEADER_BYTES + readU32(source, at) + Math.max(0, readU32(source, at + 4) - 1)
      // Never beyond where it stands: what comes later is not overwritten.
      const place = this.#reserve(size)
      source.copy(this.#slabAt(place), place % SLAB_BYTES, at, at + size)
      this.#positions[this.#count] = this.#positions[entry]!
      this.#places[this.#count++] = place
    }
  }

  /** Room for `size` bytes in one slab. */
  #reserve(size: number): number {
    const left = SLAB_BYTES - (this.#end % SLAB_BYTES)
    const place = size <= left ? this.#end : this.#end + left
    this.#end = place + size
    while (this.#slabs.length * SLAB_BYTES < this.#end) this.#slabs.push(Buffer.allocUnsafeSlow(SLAB_BYTES))
    return place
  }

  #slabAt(place: number): Buffer {
    return this.#slabs[Math.floor(place / SLAB_BYTES)]!
  }

  #growEntries(): void {
    const positions = new Float64Array(this.#positions.length * 2)
    positions.set(this.#positions)
    this.#positions = positions
    const places = new Uint32Array(positions.length)
    places.set(this.#places)
    this.#places = places
  }
}

/** A binary heap of small numbers, the least by `compare` on top. */
class Heap {
  readonly #compare: (a: number, b: number) => number
  readonly #items: number[] = []

  constructor(compare: (a: number, b: number) => number) {
    this.#compare = compare
  }

  get top(): number | undefined {
    return this.#items[0]
  }

  push(item: number): void {
    let at = this.#items.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#compare(this.#items[parent]!, this.#items[at]!) <= 0) return
      this.#swap(at, parent)
      at = parent
    }
  }

  pop(): void {
    const last = this.#items.pop()!
    if (this.#items.length === 0) return
    this.#items[0] = last
    this.settle()
  }

  /** The top has changed. */
  settle(): void {
    const items = this.#items
    for (let at = 0; ; ) {
      let child = 2 * at + 1
      if (child >= items.length) return
      if (child + 1 < items.length && this.#compare(items[child + 1]!, items[child]!) < 0) child++
      if (this.#compare(items[at]!, items[child]!) <= 0) return
      this.#swap(at, child)
      at = child
    }
  }

  #swap(a: number, b: number): void {
    const item = this.#items[a]!
    this.#items[a] = this.#items[b]!
    this.#items[b] = item
  }
}
