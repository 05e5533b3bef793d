import bloomFilters from 'bloom-filters'
import { writeU32 } from '../util/bytes.js'
import { secondHash } from '../util/hash.js'
import { letGo } from '../util/let-go.js'
import { FILTER_HEADER_BYTES, filterBit } from './filter.js'
import { type FilterColumn, fillColumn } from './filter-column.js'

/** 9.6 bits and 7 probes a key. */
const FALSE_POSITIVE_RATE = 0.01
/** Hashes for a column are gathered: its words are cache lines of their own, which are waited for together. */
const COLUMN_HASHES = 1024

/**
 * Collects the hashes of a segment's keys, then has `bloom-filters` size the filter, whose bits are set directly. Fills
 * the segment's column of a filter over several on the way.
 */
export class FilterBuilder {
  #hashes = new Uint32Array(1024)
  #count = 0
  readonly #column: FilterColumn | undefined
  /** Hashes that the column has. */
  #filled = 0

  constructor(column?: FilterColumn) {
    this.#column = column
  }

  add(hash: number): void {
    if (this.#count === this.#hashes.length) {
      const larger = new Uint32Array(this.#count * 2)
      larger.set(this.#hashes)
      letGo(this.#hashes)
      this.#hashes = larger
    }
    this.#hashes[this.#count++] = hash
    if (this.#column && this.#count - this.#filled === COLUMN_HASHES) this.#fill(this.#column)
  }

  build(): Buffer {
    if (this.#count === 0) return Buffer.alloc(0)
    if (this.#column) this.#fill(this.#column)
    const filter = bloomFilters.BloomFilter.create(this.#count, FALSE_POSITIVE_RATE)
    const bits = filter._filter.array
    setBits(bits, this.#hashes, this.#count, filter._nbHashes, filter.size)
    const bytes = Buffer.allocUnsafeSlow(FILTER_HEADER_BYTES + bits.length)
    bytes[0] = filter._nbHashes
    writeU32(bytes, 1, filter.size)
    bytes.set(bits, FILTER_HEADER_BYTES)
    letGo(bits)
    letGo(this.#hashes)
    return bytes
  }

  #fill(column: FilterColumn): void {
    fillColumn(column, this.#hashes, this.#filled, this.#count)
    this.#filled = this.#count
  }
}

// Hot: once a segment, for each of its keys (bench/write.bench.js).
/** As the package's own `add` would with these hashes, which takes five times as long. */
function setBits(
  bits: Uint8Array,
  hashes: Uint32Array,
  count: number,
  hashCount: number,
  bitCount: number,
): void {
  for (let i = 0; i < count; i++) {
    const hash = hashes[i]!
    const step = secondHash(hash)
    for (let probe = 0; probe < hashCount; probe++) {
      const bit = filterBit(hash, step, probe, bitCount)
      bits[bit >>> 3]! |= 1 << (bit & 7)
    }
  }
}
