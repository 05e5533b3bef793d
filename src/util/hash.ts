import type { Bytes } from './bytes.js'

/**
 * A 32-bit hash of a key: murmur3's mixing, four bytes a step, seeded with the length.
 * Part of the segment format (filters are built from it): changing it makes a new format version.
 * Source: Appleby, MurmurHash3 (public domain).
 */
// Hot: once a lookup, once an entry.
export function hashKey(bytes: Bytes, start: number, end: number): number {
  let hash = (end - start) ^ 0x9e37_79b9
  let at = start
  for (const last = end - 3; at < last; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    hash = mix(hash, word)
  }
  if (at < end) {
    let word = 0
    for (let shift = 0; at < end; at++, shift += 8) word |= bytes[at]! << shift
    hash = mix(hash, word)
  }
  return finish(hash)
}

/** A second hash for double hashing; odd, so that it walks every bit of a filter of any size. */
export function secondHash(hash: number): number {
  return (finish(hash ^ 0x5bd1_e995) | 1) >>> 0
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51)
  k = (k << 15) | (k >>> 17)
  let h = hash ^ Math.imul(k, 0x1b87_3593)
  h = (h << 13) | (h >>> 19)
  return (Math.imul(h, 5) + 0xe654_6b64) | 0
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85eb_ca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}
