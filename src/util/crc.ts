import { crc32 as zlibCrc32 } from 'node:zlib'

/** CRC-32 (IEEE, as zlib) of a part of memory, going on from `seed`. Finds accidents, not attackers. */
export function crc32(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  return zlibCrc32(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), seed)
}
