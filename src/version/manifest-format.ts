/**
 * The manifest: a log of version edits. `CURRENT` holds its name.
 *
 *   manifest := header | record*
 *   header   := magic:8 | version:u32 | storeId:16 | crc:u32                                     32 bytes
 *   record   := crc:u32 (of the rest, from the crc of the header on) | bytes:u32 | syncedUpTo:u64 | edit
 *   CURRENT  := name of the manifest | ' ' | crc of the name, 8 hex digits | '\n'
 *
 * Of an encrypted manifest the version is 2 and each edit a piece of `file-cipher.ts`, to which `bytes` and
 * `syncedUpTo` are bound.
 *
 * The first record is the whole version. A record is synced before the edit counts, so only the last record may
 * be torn; an invalid record before `syncedUpTo` of a later one is damage.
 */
import { CIPHER_HEADER_BYTES, type FileDecryptor, type FileEncryptor } from '../env/file-cipher.js'
import { parseFileName } from '../env/file-names.js'
import { corruption, VarveError } from '../errors.js'
import { type Bytes, readU32, readU64, writeU32, writeU64 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { RangeCrc } from '../util/range-crc.js'

const MAGIC = Buffer.from('VARVEMAN')
export const MANIFEST_FORMAT_VERSION = 1
/** The same, encrypted. */
const ENCRYPTED_MANIFEST_VERSION = 2
export const MANIFEST_HEADER_BYTES = 32
export const RECORD_HEADER_BYTES = 16
/** All of it but the crc. */
const BOUND_BYTES = 12

export function encodeManifestHeader(storeId: Bytes, isEncrypted = false): Buffer {
  const bytes = Buffer.alloc(MANIFEST_HEADER_BYTES)
  bytes.set(MAGIC)
  writeU32(bytes, 8, isEncrypted ? ENCRYPTED_MANIFEST_VERSION : MANIFEST_FORMAT_VERSION)
  bytes.set(storeId, 12)
  writeU32(bytes, 28, crc32(bytes, 0, 28))
  return bytes
}

/** The store's id. */
export function decodeManifestHeader(bytes: Bytes, file: string): Buffer {
  if (bytes.length < MANIFEST_HEADER_BYTES) throw corruption(file, 0, 'a manifest without a whole header')
  if (MAGIC.compare(bytes, 0, MAGIC.length) !== 0) throw corruption(file, 0, 'not a manifest')
  const version = readU32(bytes, 8)
  if (crc32(bytes, 0, 28) !== readU32(bytes, 28)) throw corruption(file, 0, 'header checksum mismatch')
  if (version !== MANIFEST_FORMAT_VERSION && version !== ENCRYPTED_MANIFEST_VERSION) {
    throw new VarveError('VARVE_FORMAT_VERSION', `${file}: manifest format ${version}`, { file })
  }
  return Buffer.from(bytes.subarray(12, 28))
}

/** Of a header that was decoded. */
export function isEncryptedManifest(header: Bytes): boolean {
  return readU32(header, 8) === ENCRYPTED_MANIFEST_VERSION
}

/** The record that will stand at `at` of the file. */
export function encryptRecord(
  edit: Bytes,
  syncedUpTo: number,
  seed: number,
  at: number,
  encryptor: FileEncryptor,
): Buffer {
  const sizeBytes = CIPHER_HEADER_BYTES + edit.length
  const bound = Buffer.alloc(BOUND_BYTES)
  writeU32(bound, 0, sizeBytes)
  writeU64(bound, 4, syncedUpTo)
  const piece = Buffer.alloc(sizeBytes)
  encryptor.encrypt(edit, 0, edit.length, bound, at + RECORD_HEADER_BYTES, piece, 0)
  return encodeRecord(piece, syncedUpTo, seed)
}

/** The edit of the record whose piece is [start, end) of the manifest `bytes`. */
export function decryptEdit(
  bytes: Bytes,
  start: number,
  end: number,
  file: string,
  decryptor: FileDecryptor,
): Buffer {
  const bound = bytes.subarray(start - BOUND_BYTES, start)
  const edit = Buffer.alloc(Math.max(0, end - start - CIPHER_HEADER_BYTES))
  for (const _ of decryptor.decrypt(bytes, start, end, bound, file, start, edit, 0));
  return edit
}

export function encodeRecord(edit: Bytes, syncedUpTo: number, seed: number): Buffer {
  const bytes = Buffer.alloc(RECORD_HEADER_BYTES + edit.length)
  writeU32(bytes, 4, edit.length)
  writeU64(bytes, 8, syncedUpTo)
  bytes.set(edit, RECORD_HEADER_BYTES)
  writeU32(bytes, 0, crc32(bytes, 4, bytes.length, seed))
  return bytes
}

/** The end of the valid record at `at`; undefined if there is none. */
export function recordEnd(bytes: Bytes, at: number, seed: number, checksums?: RangeCrc): number | undefined {
  if (at + RECORD_HEADER_BYTES > bytes.length) return undefined
  const end = at + RECORD_HEADER_BYTES + readU32(bytes, at + 4)
  if (end > bytes.length) return undefined
  const crc = checksums ? checksums.crc(at + 4, end, seed) : crc32(bytes, at + 4, end, seed)
  return crc === readU32(bytes, at) ? end : undefined
}

/** The offsets of all records. @throws VarveError `VARVE_CORRUPTION` for damage before the torn tail. */
export function* records(bytes: Bytes, file: string): Generator<{ start: number; end: number }> {
  const seed = manifestSeed(bytes)
  let at = MANIFEST_HEADER_BYTES
  while (at < bytes.length) {
    const end = recordEnd(bytes, at, seed)
    if (end === undefined) {
      throwIfSyncedBeyond(bytes, at, seed, file)
      return
    }
    yield { start: at + RECORD_HEADER_BYTES, end }
    at = end
  }
}

export function manifestSeed(header: Bytes): number {
  return readU32(header, 28)
}

function throwIfSyncedBeyond(bytes: Bytes, fault: number, seed: number, file: string): void {
  const checksums = new RangeCrc(bytes)
  for (let at = fault + 1; at + RECORD_HEADER_BYTES <= bytes.length; at++) {
    const syncedUpTo = readU64(bytes, at + 8)
    if (syncedUpTo <= fault || syncedUpTo > at) continue
    if (recordEnd(bytes, at, seed, checksums) !== undefined) throw corruption(file, fault, 'a damaged record')
  }
}

export function encodeCurrent(manifestName: string): Buffer {
  const name = Buffer.from(manifestName)
  const crc = crc32(name, 0, name.length).toString(16).padStart(8, '0')
  return Buffer.from(`${manifestName} ${crc}\n`)
}

export function decodeCurrent(bytes: Bytes, file: string): string {
  const match = /^(MANIFEST-\d{6,16}) ([0-9a-f]{8})\n$/.exec(Buffer.from(bytes).toString('latin1'))
  const name = match?.[1] ?? ''
  const isName = parseFileName(name)?.kind === 'manifest'
  if (!isName || encodeCurrent(name).compare(bytes) !== 0)
    throw corruption(file, 0, 'it does not name a manifest')
  return name
}
