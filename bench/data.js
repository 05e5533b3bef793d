/** Keys and values computed from an index, the same in every run and every process. */

// One to one on 32 bits (murmur3's finaliser), so no two indexes share a key.
function mix(word) {
  let hash = word | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The 16 bytes of key number `index` (below 2^31): in no order, all different. */
export function keyOf(index) {
  const key = Buffer.allocUnsafe(16)
  const first = mix(index ^ 0x5bd1e995)
  key.writeUInt32LE(first, 0)
  key.writeUInt32LE(mix(first + 0x9e3779b9), 4)
  key.writeUInt32LE(mix(index + 0x3c6ef372), 8)
  key.writeUInt32LE(mix(first ^ 0x1b873593), 12)
  return key
}

/** A key that no index below 2^31 has. */
export function missingKeyOf(index) {
  return keyOf((index | 0x80000000) >>> 0)
}

/** A seeded stream of whole numbers: `next(n)` is one from 0 to n - 1. */
export function numbers(seed) {
  let state = seed >>> 0
  return function next(below) {
    state = (state + 0x9e3779b9) >>> 0
    return Math.floor((mix(state) / 0x100000000) * below)
  }
}

const NOISE_BYTES = 1 << 20

function noise() {
  const bytes = Buffer.allocUnsafe(NOISE_BYTES)
  for (let offset = 0; offset < NOISE_BYTES; offset += 4) bytes.writeUInt32LE(mix(offset + 1), offset)
  return bytes
}

/**
 * Makes `valueAt(index)` for values of `size` bytes: the first half is noise that begins with the index, the
 * second half repeats the first, so a compressor can halve it at best.
 */
export function valueMaker(size) {
  const half = Math.min(Math.ceil(size / 2), NOISE_BYTES / 2)
  const source = noise()
  return function valueAt(index) {
    const value = Buffer.allocUnsafe(size)
    const from = mix(index) % (NOISE_BYTES - half)
    source.copy(value, 0, from, from + half)
    if (half >= 4) value.writeUInt32LE(index >>> 0, 0)
    for (let at = half; at < size; at += half) value.copyWithin(at, 0, Math.min(half, size - at))
    return value
  }
}

const POOL_VALUES = 16_384
const POOL_BYTES = 32 << 20

/** The same kind of values from a pool made once, for loops where making one would cost as much as a write. */
export function valuePool(size) {
  const valueAt = valueMaker(size)
  const count = Math.max(16, Math.min(POOL_VALUES, Math.floor(POOL_BYTES / size)))
  const pool = Array.from({ length: count }, (_, index) => valueAt(index))
  return (index) => pool[mix(index) % count]
}

/**
 * A seeded stream of ranks from 0 to `count` - 1, small ones most often, as `theta` says (YCSB takes 0.99).
 * Source: Gray et al., "Quickly generating billion-record synthetic databases", 1994.
 */
export function zipfian(count, theta, seed) {
  const next = numbers(seed)
  let zeta = 0
  for (let i = 1; i <= count; i++) zeta += 1 / i ** theta
  const alpha = 1 / (1 - theta)
  const eta = (1 - (2 / count) ** (1 - theta)) / (1 - (1 + 0.5 ** theta) / zeta)
  return function rank() {
    const u = next(2 ** 31) / 2 ** 31
    const scaled = u * zeta
    if (scaled < 1) return 0
    if (scaled < 1 + 0.5 ** theta) return 1
    return Math.floor(count * (eta * u - eta + 1) ** alpha)
  }
}
