import { corruption } from '../errors.js'
import { type Bytes, readU32 } from '../util/bytes.js'
import { secondHash } from '../util/hash.js'

/** filter := hashCount:u8 | bitCount:u32 | bits. Empty: every key may be there. */
export const FILTER_HEADER_BYTES = 5
const HASH_COUNT_MAX = 30
const PROBES_TOGETHER = 4

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
    const hashCount = this.#hashCount
    let probe = 0
    // Bits are cache lines of their own: four are waited for together, and one branch tells 15 of 16 absent keys.
    if (hashCount >= PROBES_TOGETHER) {
      const isSet =
        bitAt(bytes, filterBit(hash, step, 0, bitCount)) &
        bitAt(bytes, filterBit(hash, step, 1, bitCount)) &
        bitAt(bytes, filterBit(hash, step, 2, bitCount)) &
        bitAt(bytes, filterBit(hash, step, 3, bitCount))
      if (isSet === 0) return false
      probe = PROBES_TOGETHER
    }
    for (; probe < hashCount; probe++) {
      const bit = filterBit(hash, step, probe, bitCount)
      if (bitAt(bytes, bit) === 0) return false
    }
    return true
  }
}

/** 1 if the bit is set, else 0. */
function bitAt(bytes: Bytes, bit: number): number {
  return (bytes[FILTER_HEADER_BYTES + (bit >>> 3)]! >>> (bit & 7)) & 1
}
