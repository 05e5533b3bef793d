import { crc32 } from './crc.js'
import { shiftCrc } from './crc-shift.js'

/** Distance of the prefixes whose checksums are kept. */
const STEP_BYTES = 512
/** Checksums are computed plainly until they have cost this many passes over the memory. */
const PLAIN_PASSES = 4
/**
 * The checksums of many parts of one memory that may overlap. Bytes can be made up so that a search for a frame finds
 * a likely one at every place, each reaching to the end: computed plainly that takes the square of the size. Beyond a
 * few passes it goes by the checksums of prefixes: crc(ab) and crc(a) give crc(b). Source: zlib's crc32_combine.
 */
export class RangeCrc {
  readonly #bytes: Uint8Array
  readonly #plainMax: number
  #plainBytes = 0
  /** Of the first n * STEP_BYTES bytes. */
  #prefixes: Uint32Array | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#plainMax = bytes.length * PLAIN_PASSES
  }

  /** As `crc32` of the same memory. */
  crc(start: number, end: number, seed: number): number {
    if (this.#plainBytes <= this.#plainMax) {
      this.#plainBytes += end - start
      return crc32(this.#bytes, start, end, seed)
    }
    return (this.#prefix(end) ^ shiftCrc(this.#prefix(start) ^ seed, end - start)) >>> 0
  }

  #prefix(end: number): number {
    this.#prefixes ??= this.#computePrefixes()
    const step = Math.floor(end / STEP_BYTES)
    return crc32(this.#bytes, step * STEP_BYTES, end, this.#prefixes[step]!)
  }

  #computePrefixes(): Uint32Array {
    const prefixes = new Uint32Array(Math.floor(this.#bytes.length / STEP_BYTES) + 1)
    for (let i = 1; i < prefixes.length; i++) {
      prefixes[i] = crc32(this.#bytes, (i - 1) * STEP_BYTES, i * STEP_BYTES, prefixes[i - 1]!)
    }
    return prefixes
  }
}
