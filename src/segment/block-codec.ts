/**
 * How any section of a segment stands in the file.
 *
 *   section := payload | encoding:u8 (0 raw, 1 LZ4) | crc:u32 (of payload and encoding)
 *
 * Encrypted, 2 is added to the encoding, which is bound to the payload, a piece of `file-cipher.ts`.
 */
import { CIPHER_HEADER_BYTES, type FileDecryptor, type FileEncryptor, keyError } from '../env/file-cipher.js'
import { corruption } from '../errors.js'
import { type Bytes, cloneBytes, writeU32 } from '../util/bytes.js'
import { CRC_RESIDUE, crc32 } from '../util/crc.js'
import { compressInto, decompress, type PlainMemory } from './compression.js'

export const SECTION_TRAILER_BYTES = 5

const RAW = 0
const LZ4 = 1
const ENCRYPTED = 2
/** No section has a greater one. */
export const ENCODING_MAX = LZ4 | ENCRYPTED
const BOUND = [RAW, LZ4].map((encoding) => Buffer.from([encoding | ENCRYPTED]))

/** Bytes that a section of a payload takes at most. */
export function sectionSizeMax(payloadBytes: number): number {
  return payloadBytes + CIPHER_HEADER_BYTES + SECTION_TRAILER_BYTES
}

/** What encrypts a section, and where it will stand in the file. */
export interface SectionPlace {
  readonly encryptor: FileEncryptor
  readonly offset: number
}

/**
 * Writes a section to `at` and returns its end. Compressed only where that saves an eighth: raw reads are cheaper.
 * @param place undefined: it is not encrypted.
 */
export function writeSection(
  payload: Bytes,
  isCompressed: boolean,
  into: Bytes,
  at: number,
  place?: SectionPlace,
): number {
  const body = place ? at + CIPHER_HEADER_BYTES : at
  const worthwhile = payload.length - (payload.length >>> 3) - 1
  const packed = isCompressed ? compressInto(payload, into, body, worthwhile) : -1
  if (packed < 0) into.set(payload, body)
  const end = body + (packed < 0 ? payload.length : packed)
  const encoding = packed < 0 ? RAW : LZ4
  place?.encryptor.encrypt(into, body, end, BOUND[encoding]!, place.offset, into, at)
  into[end] = place ? encoding | ENCRYPTED : encoding
  writeU32(into, end + 1, crc32(into, at, end + 1))
  return end + SECTION_TRAILER_BYTES
}

/**
 * The payload of the section [start, end) of `bytes`, which was read from `offset` of the file: in memory of its
 * own, or as `into` says, or a view of `bytes` that lives as long.
 */
export function decodeSection(
  bytes: Buffer,
  start: number,
  end: number,
  file: string,
  offset: number,
  decryptor?: FileDecryptor,
  into?: PlainMemory,
): Buffer {
  const body = end - SECTION_TRAILER_BYTES
  if (body < start) throw corruption(file, offset, 'a section shorter than its trailer')
  if (crc32(bytes, start, end) !== CRC_RESIDUE) {
    throw corruption(file, offset, 'checksum mismatch')
  }
  const encoding = bytes[body]!
  if (decryptor || encoding & ENCRYPTED) {
    const piece = decrypt(bytes, start, body, file, offset, decryptor)
    return unpack(encoding & ~ENCRYPTED, piece, file, offset, into) ?? piece
  }
  const plain = unpack(encoding, bytes.subarray(start, body), file, offset, into)
  return plain ?? (into ? bytes.subarray(start, body) : cloneBytes(bytes, start, body))
}

/** Undefined: it was not compressed. */
function unpack(
  encoding: number,
  packed: Buffer,
  file: string,
  offset: number,
  into: PlainMemory | undefined,
): Buffer | undefined {
  if (encoding === RAW) return undefined
  const plain = encoding === LZ4 ? decompress(packed, into) : undefined
  if (!plain) throw corruption(file, offset, 'a section that does not decompress')
  return plain
}

/** In memory of its own: a scan may come back to the bytes that it has read. */
function decrypt(
  bytes: Buffer,
  start: number,
  body: number,
  file: string,
  offset: number,
  decryptor: FileDecryptor | undefined,
): Buffer {
  if (!decryptor) throw keyError(file, 'is encrypted: it takes the key it was written with', offset)
  if (!(bytes[body]! & ENCRYPTED))
    throw keyError(file, 'is not encrypted: it is opened without a key', offset)
  const encoding = bytes.subarray(body, body + 1)
  const plain = Buffer.allocUnsafeSlow(Math.max(0, body - start - CIPHER_HEADER_BYTES))
  for (const _ of decryptor.decrypt(bytes, start, body, encoding, file, offset, plain, 0));
  return plain
}
