import { crc32 } from './crc.js'

/** Distance of the prefixes whose checksums are kept. */
const STEP_BYTES = 512
/** Checksums are computed plainly until they have cost this many passes over the memory. */
const PLAIN_PASSES = 4
/** CRC-32's polynomial, bits reversed, as all of these numbers. */
const POLYNOMIAL = 0xedb88320
const ONE = 0x80000000

/** x^(8 * 2^k), for appending 2^k bytes. */
const POWERS: readonly number[] = makePowers()

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
    return (this.#prefix(end) ^ shifted(this.#prefix(start) ^ seed, end - start)) >>> 0
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

/** What a checksum becomes when `byteCount` zeros follow, without their own part. */
function shifted(crc: number, byteCount: number): number {
  let result = crc >>> 0
  for (let rest = byteCount, k = 0; rest > 0; rest = Math.floor(rest / 2), k++) {
    if (rest % 2 === 1) result = multiply(POWERS[k]!, result)
  }
  return result
}

/** The product of two polynomials, modulo that of CRC-32. */
function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = ONE; bit !== 0 && (a & ((bit - 1) | bit)) !== 0; bit >>>= 1) {
    if (a & bit) product ^= factor
    factor = factor & 1 ? (factor >>> 1) ^ POLYNOMIAL : factor >>> 1
  }
  return product >>> 0
}

function makePowers(): number[] {
  const powers = [multiply(ONE >>> 4, ONE >>> 4)]
  for (let k = 1; k < 53; k++) powers.push(multiply(powers[k - 1]!, powers[k - 1]!))
  return powers
}
