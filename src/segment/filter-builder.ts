import bloomFilters from 'bloom-filters'
import { writeU32 } from '../util/bytes.js'
import { secondHash } from '../util/hash.js'
import { letGo } from '../util/let-go.js'
import { FILTER_HEADER_BYTES, filterBit } from './filter.js'

/** 9.6 bits and 7 probes a key. */
const FALSE_POSITIVE_RATE = 0.01

/** Collects the hashes of a segment's keys, then has `bloom-filters` size and fill the bits. */
export class FilterBuilder {
  #hashes = new Uint32Array(1024)
  #count = 0

  add(hash: number): void {
    if (this.#count === this.#hashes.length) {
      const larger = new Uint32Array(this.#count * 2)
      larger.set(this.#hashes)
      letGo(this.#hashes)
      this.#hashes = larger
    }
    this.#hashes[this.#count++] = hash
  }

  build(): Buffer {
    if (this.#count === 0) return Buffer.alloc(0)
    const filter = bloomFilters.BloomFilter.create(this.#count, FALSE_POSITIVE_RATE)
    let hash = 0
    let step = 0
    // The package's documented way to another hash: replace what it asks for the bits of an element.
    const indexes: number[] = []
    filter._hashing.getIndexes = (_element: unknown, size: number, count: number) => {
      for (let probe = 0; probe < count; probe++) indexes[probe] = filterBit(hash, step, probe, size)
      return indexes
    }
    for (let i = 0; i < this.#count; i++) {
      hash = this.#hashes[i]!
      step = secondHash(hash)
      filter.add('')
    }
    const bits = filter._filter.array
    const bytes = Buffer.allocUnsafeSlow(FILTER_HEADER_BYTES + bits.length)
    bytes[0] = filter._nbHashes
    writeU32(bytes, 1, filter.size)
    bytes.set(bits, FILTER_HEADER_BYTES)
    letGo(bits)
    letGo(this.#hashes)
    return bytes
  }
}
