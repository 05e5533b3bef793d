/**
 * How any section of a segment stands in the file.
 *
 *   section := payload | encoding:u8 (0 raw, 1 LZ4) | crc:u32 (of payload and encoding)
 */
import { corruption } from '../errors.js'
import { type Bytes, cloneBytes, readU32, writeU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { compress, decompress } from './compression.js'

export const SECTION_TRAILER_BYTES = 5

const RAW = 0
const LZ4 = 1

/** Compressed only where that saves an eighth: reading raw bytes is cheaper. */
export function encodeSection(payload: Bytes, isCompressed: boolean): Buffer {
  const packed = isCompressed ? compress(payload) : undefined
  const isWorthIt = packed !== undefined && packed.length <= payload.length - (payload.length >>> 3)
  const body = isWorthIt ? packed : payload
  const section = Buffer.allocUnsafeSlow(body.length + SECTION_TRAILER_BYTES)
  section.set(body)
  section[body.length] = isWorthIt ? LZ4 : RAW
  writeU32(section, body.length + 1, crc32(section, 0, body.length + 1))
  return section
}

/** The payload, in memory of its own. `section` is [start, end) of `bytes`, read from `offset` of the file. */
export function decodeSection(
  bytes: Bytes,
  start: number,
  end: number,
  file: string,
  offset: number,
): Buffer {
  const body = end - SECTION_TRAILER_BYTES
  if (body < start) throw corruption(file, offset, 'a section shorter than its trailer')
  if (crc32(bytes, start, body + 1) !== readU32(bytes, body + 1)) {
    throw corruption(file, offset, 'checksum mismatch')
  }
  if (bytes[body] === RAW) return cloneBytes(bytes, start, body)
  const plain = bytes[body] === LZ4 ? decompress(bytes.subarray(start, body)) : undefined
  if (!plain) throw corruption(file, offset, 'a section that does not decompress')
  return plain
}
