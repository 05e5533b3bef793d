/**
 * How any section of a segment stands in the file.
 *
 *   section := payload | encoding:u8 (0 raw, 1 LZ4) | crc:u32 (of payload and encoding)
 */
import { corruption } from '../errors.js'
import { type Bytes, cloneBytes, readU32, writeU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import type { Scratch } from '../util/scratch.js'
import { compressInto, decompress } from './compression.js'

export const SECTION_TRAILER_BYTES = 5

const RAW = 0
const LZ4 = 1

/** Bytes that a section of a payload takes at most. */
export function sectionSizeMax(payloadBytes: number): number {
  return payloadBytes + SECTION_TRAILER_BYTES
}

/** Writes a section to `at` and returns its end. Compressed only where that saves an eighth: raw reads are cheaper. */
export function writeSection(payload: Bytes, isCompressed: boolean, into: Bytes, at: number): number {
  const worthwhile = payload.length - (payload.length >>> 3) - 1
  const packed = isCompressed ? compressInto(payload, into, at, worthwhile) : -1
  if (packed < 0) into.set(payload, at)
  const end = at + (packed < 0 ? payload.length : packed)
  into[end] = packed < 0 ? RAW : LZ4
  writeU32(into, end + 1, crc32(into, at, end + 1))
  return end + SECTION_TRAILER_BYTES
}

/**
 * The payload of the section [start, end) of `bytes`, which was read from `offset` of the file: in memory of its
 * own, or in `scratch`, or a view of `bytes` that lives as long.
 */
export function decodeSection(
  bytes: Buffer,
  start: number,
  end: number,
  file: string,
  offset: number,
  scratch?: Scratch,
): Buffer {
  const body = end - SECTION_TRAILER_BYTES
  if (body < start) throw corruption(file, offset, 'a section shorter than its trailer')
  if (crc32(bytes, start, body + 1) !== readU32(bytes, body + 1)) {
    throw corruption(file, offset, 'checksum mismatch')
  }
  if (bytes[body] === RAW) return scratch ? bytes.subarray(start, body) : cloneBytes(bytes, start, body)
  const plain = bytes[body] === LZ4 ? decompress(bytes.subarray(start, body), scratch) : undefined
  if (!plain) throw corruption(file, offset, 'a section that does not decompress')
  return plain
}
