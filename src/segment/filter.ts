import { corruption } from '../errors.js'
import { type Bytes, readU32 } from '../util/bytes.js'
import { secondHash } from '../util/hash.js'

/** filter := hashCount:u8 | bitCount:u32 | bits. Empty: every key may be there. */
export const FILTER_HEADER_BYTES = 5
const HASH_COUNT_MAX = 30

/** The bit that probe number `probe` looks at: the high bits of a double hash, scaled to the filter's size. */
export function filterBit(hash: number, step: number, probe: number, bitCount: number): number {
  return Math.floor((((hash + Math.imul(step, probe)) >>> 0) * bitCount) / 2 ** 32)
}

/**
 * Answers "certainly not here" for most keys that a segment does not hold. Built with the `bloom-filters`
 * package (`filter-builder.ts`); probed directly, because its own `has` costs three times as much.
 */
export class Filter {
  readonly #bytes: Bytes
  readonly #hashCount: number
  readonly #bitCount: number

  constructor(bytes: Bytes, file: string, offset: number) {
    this.#bytes = bytes
    this.#hashCount = bytes.length === 0 ? 0 : bytes[0]!
    this.#bitCount = bytes.length === 0 ? 0 : readU32(bytes, 1)
    const isSound =
      this.#hashCount <= HASH_COUNT_MAX && this.#bitCount <= (bytes.length - FILTER_HEADER_BYTES) * 8
    if (bytes.length > 0 && !isSound) throw corruption(file, offset, 'a filter that contradicts its size')
  }

  get sizeBytes(): number {
    return this.#bytes.length
  }

  // Hot: once a segment and lookup (bench/read.bench.js).
  mayHold(hash: number): boolean {
    const bytes = this.#bytes
    const bitCount = this.#bitCount
    const step = secondHash(hash)
    for (let probe = 0; probe < this.#hashCount; probe++) {
      const bit = filterBit(hash, step, probe, bitCount)
      if ((bytes[FILTER_HEADER_BYTES + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false
    }
    return true
  }
}
