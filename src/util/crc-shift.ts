/** CRC-32's polynomial, bits reversed, as all of these numbers. */
const POLYNOMIAL = 0xedb88320
const ONE = 0x80000000

/** x^(8 * 2^k), for appending 2^k bytes. */
const POWERS: readonly number[] = makePowers()
/** What each value of each byte of a checksum becomes when multiplied by a power; made when it is first needed. */
const PRODUCTS: (Uint32Array | undefined)[] = []

// Hot: once a block of every flush and compaction (bench/write.bench.js).
/**
 * What a checksum becomes when `byteCount` bytes follow, but for their own part: xor that with their checksum, and it
 * is the checksum of both. Source: zlib's crc32_combine.
 */
export function shiftCrc(crc: number, byteCount: number): number {
  let result = crc >>> 0
  for (let rest = byteCount, k = 0; rest > 0; rest = Math.floor(rest / 2), k++) {
    if (rest % 2 === 0) continue
    const products = PRODUCTS[k] ?? makeProducts(k)
    result =
      products[result & 255]! ^
      products[256 | ((result >>> 8) & 255)]! ^
      products[512 | ((result >>> 16) & 255)]! ^
      products[768 | (result >>> 24)]!
  }
  return result >>> 0
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

function makeProducts(k: number): Uint32Array {
  const power = POWERS[k]!
  const products = new Uint32Array(1024)
  for (let i = 0; i < products.length; i++)
    products[i] = multiply(power, ((i & 255) << (8 * (i >>> 8))) >>> 0)
  PRODUCTS[k] = products
  return products
}

function makePowers(): number[] {
  const powers = [multiply(ONE >>> 4, ONE >>> 4)]
  for (let k = 1; k < 53; k++) powers.push(multiply(powers[k - 1]!, powers[k - 1]!))
  return powers
}
