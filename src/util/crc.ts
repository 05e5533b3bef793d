import { crc32 as zlibCrc32 } from 'node:zlib'

/** The checksum of any bytes and of their own checksum after them, as `writeU32` writes it. */
export const CRC_RESIDUE = 0x2144df1c

/** CRC-32 (IEEE, as zlib) of a part of memory, going on from `seed`. Finds accidents, not attackers. */
export function crc32(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  return zlibCrc32(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), seed)
}
