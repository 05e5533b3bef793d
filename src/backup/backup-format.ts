/**
 * A directory of backups. Files of a store keep their names, in a folder called like the store's id; each backup is
 * one small file that names what belongs to it.
 *
 *   LOCK · 000001.backup · 000002.backup · <store id, 32 hex digits>/000012.seg · <store id>/000011.log
 *
 *   backup := magic:8 | version:u32 | bodyBytes:u32 | body | hmac:32? | sha256:32       (each over all before it)
 *   body   := flags:u8 (1 authenticated, 2 encrypted) | number | previous | storeId:16 | position | createdMs | copiedBytes
 *             | edit:bytes | fileCount | file*
 *   file   := kind:u8 | number | sizeBytes | crc:u32 | sha256:32 | (of a log: basePosition | lastPosition)
 *                                                                                                (numbers: varints)
 *
 * Of an encrypted store `edit` is a piece of `file-cipher.ts`.
 *
 * Invariants
 *  B1 A backup is there once its file has its name, and then every file that it names is durable.
 *  B2 `edit` is the version whose files are those of the kinds segment and blob: all of them, and no others.
 *  B3 `previous`, unless 0, is an older backup of the same history of the same store; the logs of this backup hold
 *     every position after it, up to `position`. With no `previous` there are no logs.
 *  B4 One name under one store id has the same bytes in every backup that names it.
 */
import { hmacSha256, isSameDigest, SHA256_BYTES, Sha256 } from '../env/sha256.js'
import { corruption, VarveError } from '../errors.js'
import { POSITION_MAX, type Position } from '../key/position.js'
import { STORE_ID_BYTES } from '../log/log-format.js'
import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { readU32, writeU32 } from '../util/bytes.js'

const MAGIC = Buffer.from('VARVEBAK')
const FORMAT_VERSION = 1
const HEADER_BYTES = 16
const AUTHENTICATED = 1
const ENCRYPTED = 2
const KINDS = ['segment', 'log', 'blob'] as const
/** As for a segment that a follower fetches: what claims to be larger was not written by us. */
const FILE_BYTES_MAX = 2 ** 46
const FILE_NUMBER_MAX = 2 ** 48
const MIN_DIGITS = 6
const SUFFIX = '.backup'

export interface BackupFile {
  readonly kind: (typeof KINDS)[number]
  /** Of a blob file its id. */
  readonly number: number
  readonly sizeBytes: number
  /** CRC-32 of the file: by it a store knows its segments. */
  readonly crc: number
  readonly sha256: Buffer
  /** Of a log file; else 0 and 0. */
  readonly basePosition: Position
  readonly lastPosition: Position
}

export interface BackupRecord {
  readonly isAuthenticated: boolean
  readonly isEncrypted: boolean
  readonly number: number
  /** The number of the backup that the logs go on from; 0: there is none. */
  readonly previous: number
  readonly storeId: Buffer
  readonly position: Position
  readonly createdMs: number
  readonly copiedBytes: number
  /** A version edit, encoded: it is not looked into where only files matter. */
  readonly edit: Buffer
  readonly files: readonly BackupFile[]
}

export function backupName(number: number): string {
  return String(number).padStart(MIN_DIGITS, '0')
}

export function backupFileName(number: number): string {
  return `${backupName(number)}${SUFFIX}`
}

/** The number in the name of a backup's file; undefined for a name that is none, or that we would not have given. */
export function parseBackupFileName(name: string): number | undefined {
  const number = /^\d{6,16}\.backup$/.test(name) ? Number(name.slice(0, -SUFFIX.length)) : 0
  return number > 0 && Number.isSafeInteger(number) && backupFileName(number) === name ? number : undefined
}

/** @param key the backup is authenticated by it. */
export function encodeBackup(record: BackupRecord, key: Uint8Array | undefined): Buffer {
  const body = new ByteWriter(1024)
  body
    .u8((record.isAuthenticated ? AUTHENTICATED : 0) | (record.isEncrypted ? ENCRYPTED : 0))
    .varint(record.number)
    .varint(record.previous)
    .raw(record.storeId)
  body.varint(record.position).varint(record.createdMs).varint(record.copiedBytes)
  body.bytes(record.edit).varint(record.files.length)
  for (const { kind, number, sizeBytes, crc, sha256, basePosition, lastPosition } of record.files) {
    body.u8(KINDS.indexOf(kind)).varint(number).varint(sizeBytes).u32(crc).raw(sha256)
    if (kind === 'log') body.varint(basePosition).varint(lastPosition)
  }
  const header = Buffer.alloc(HEADER_BYTES)
  header.set(MAGIC)
  writeU32(header, 8, FORMAT_VERSION)
  writeU32(header, 12, body.length)
  const sealed = Buffer.concat([header, body.view()])
  const bytes = key ? Buffer.concat([sealed, hmacSha256(key, sealed)]) : sealed
  return Buffer.concat([bytes, new Sha256().update(bytes).digest()])
}

/**
 * @param key if given, the backup must be authenticated by it.
 * @throws VarveError `VARVE_CORRUPTION`, `VARVE_FORMAT_VERSION`, `VARVE_INVALID_ARGUMENT` (made without a key).
 */
export function decodeBackup(
  bytes: Buffer,
  number: number,
  key: Uint8Array | undefined,
  path: string,
): BackupRecord {
  if (bytes.length < HEADER_BYTES + SHA256_BYTES || MAGIC.compare(bytes, 0, MAGIC.length) !== 0)
    throw corruption(path, 0, 'not a backup')
  const whole = bytes.subarray(0, bytes.length - SHA256_BYTES)
  const digest = new Sha256().update(whole).digest()
  if (!isSameDigest(digest, bytes.subarray(whole.length)))
    throw corruption(path, whole.length, 'SHA-256 mismatch')
  const version = readU32(bytes, 8)
  if (version !== FORMAT_VERSION)
    throw new VarveError('VARVE_FORMAT_VERSION', `${path}: backup format ${version}`, { file: path })
  const end = HEADER_BYTES + readU32(bytes, 12)
  if (end > whole.length) throw corruption(path, 12, 'the file ends too early')
  const sealed = bytes.subarray(0, end)
  const record = readBody(new ByteReader(sealed.subarray(HEADER_BYTES), path, HEADER_BYTES), path)
  if (record.number !== number) throw corruption(path, HEADER_BYTES, `it is backup ${record.number}`)
  const hmac = whole.subarray(end)
  if (hmac.length !== (record.isAuthenticated ? SHA256_BYTES : 0))
    throw corruption(path, end, 'it has another length')
  if (key) checkAuthor(record, sealed, hmac, key, path)
  return record
}

function checkAuthor(
  { isAuthenticated }: BackupRecord,
  sealed: Buffer,
  hmac: Buffer,
  key: Uint8Array,
  path: string,
): void {
  if (!isAuthenticated)
    throw new VarveError('VARVE_INVALID_ARGUMENT', `${path} was made without a key`, { file: path })
  if (!isSameDigest(hmacSha256(key, sealed), hmac))
    throw corruption(path, sealed.length, 'it was not made with this key')
}

function readBody(reader: ByteReader, path: string): BackupRecord {
  const flags = reader.u8()
  const isAuthenticated = (flags & AUTHENTICATED) !== 0
  const isEncrypted = (flags & ENCRYPTED) !== 0
  const number = reader.varint()
  const previous = reader.varint()
  const storeId = reader.raw(STORE_ID_BYTES)
  const position = reader.varint()
  const createdMs = reader.varint()
  const copiedBytes = reader.varint()
  const edit = reader.bytes()
  const fileCount = reader.varint()
  if (fileCount > reader.remaining / SHA256_BYTES) throw reader.fail(`${fileCount} files`)
  const files: BackupFile[] = []
  const seen = new Set<string>()
  let logEnd: Position | undefined
  for (let i = 0; i < fileCount; i++) {
    const file = readFile(reader)
    const name = `${file.kind} ${file.number}`
    if (seen.has(name)) throw reader.fail(`${name} twice`)
    seen.add(name)
    if (file.kind === 'log') {
      if (logEnd !== undefined && file.basePosition !== logEnd) throw reader.fail('logs that do not line up')
      logEnd = file.lastPosition
    }
    files.push(file)
  }
  if (reader.remaining > 0) throw reader.fail('bytes left over')
  if (previous >= number && previous !== 0) throw reader.fail(`backup ${number} goes on from ${previous}`)
  if (logEnd !== undefined && logEnd !== position) throw reader.fail('logs that end elsewhere')
  if (position > POSITION_MAX) throw corruption(path, HEADER_BYTES, 'a position beyond the last')
  return {
    isAuthenticated,
    isEncrypted,
    number,
    previous,
    storeId,
    position,
    createdMs,
    copiedBytes,
    edit,
    files,
  }
}

function readFile(reader: ByteReader): BackupFile {
  const kind = KINDS[reader.u8()]
  if (kind === undefined) throw reader.fail('a file of an unknown kind')
  const number = reader.varint()
  const sizeBytes = reader.varint()
  const crc = reader.u32()
  const sha256 = reader.raw(SHA256_BYTES)
  const basePosition = kind === 'log' ? reader.varint() : 0
  const lastPosition = kind === 'log' ? reader.varint() : 0
  if (number < 1 || number > FILE_NUMBER_MAX) throw reader.fail(`file number ${number}`)
  if (sizeBytes < 1 || sizeBytes > FILE_BYTES_MAX) throw reader.fail(`a file of ${sizeBytes} bytes`)
  if (basePosition > lastPosition) throw reader.fail('a log that ends before it starts')
  return { kind, number, sizeBytes, crc, sha256, basePosition, lastPosition }
}
