import { CIPHER_HEADER_BYTES } from '../../src/env/file-cipher.js'
import { parseFileName } from '../../src/env/file-names.js'
import {
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from '../../src/log/log-format.js'
import { isFrame } from '../../src/log/log-scan.js'
import { SECTION_TRAILER_BYTES } from '../../src/segment/block-codec.js'
import { FOOTER_BYTES } from '../../src/segment/segment-format.js'
import { crc32 } from '../../src/util/crc.js'
import { isEncryptedManifest, manifestSeed, records } from '../../src/version/manifest-format.js'

/** Encrypted bytes: where they stand in a file, and how to make the checksum over them right again. */
export interface Piece {
  readonly start: number
  readonly end: number
  /** What an error about it names. */
  readonly offsets: readonly number[]
  seal(bytes: Buffer): void
}

/** Every encrypted piece of a file of a closed store, by what stands in the clear. */
export function piecesOf(path: string, bytes: Buffer): Piece[] {
  const kind = parseFileName(path.slice(path.lastIndexOf('/') + 1))?.kind
  if (kind === 'log') return framesOf(path, bytes)
  if (kind === 'segment') return sectionsOf(path, bytes)
  return kind === 'manifest' ? editsOf(path, bytes) : []
}

/** The random part of a piece's key with its nonce, and its tag: one of the first has only one of the second. */
export function useOf(bytes: Buffer, { start }: Piece): { readonly nonce: string; readonly tag: string } {
  const salt = bytes.toString('hex', start, start + 16)
  return { nonce: `${salt}@${start}`, tag: bytes.toString('hex', start + 16, start + CIPHER_HEADER_BYTES) }
}

function framesOf(path: string, bytes: Buffer): Piece[] {
  const header = readLogHeader(bytes, path)
  if (!header) return []
  if (!header.isEncrypted) throw new Error(`${path} is not encrypted`)
  const seed = logSeed(header.storeId, header.number)
  const pieces: Piece[] = []
  for (let at = LOG_HEADER_BYTES; isFrame(bytes, at, seed); ) {
    const { bodyBytes, cipherBytes, batchCount } = readFrameHeader(bytes, at)
    const frame = at
    const start = at + FRAME_HEADER_BYTES
    const end = start + bodyBytes
    if (batchCount > 0 && cipherBytes === 0) throw new Error(`${path} at ${at} is not encrypted`)
    const seal = (damaged: Buffer) => damaged.writeUInt32LE(crc32(damaged, frame + 4, end, seed), frame)
    if (batchCount > 0) pieces.push({ start, end, offsets: [start], seal })
    at = end
  }
  return pieces
}

/** Sections follow one another: each is the first whose checksum fits. */
function sectionsOf(path: string, bytes: Buffer): Piece[] {
  // One that a job is still writing has none.
  if (bytes.toString('latin1', bytes.length - FOOTER_BYTES, bytes.length - FOOTER_BYTES + 8) !== 'VARVESEG')
    return []
  const pieces: Piece[] = []
  for (let start = 0; start < bytes.length - FOOTER_BYTES; ) {
    const from = start
    let end = start + CIPHER_HEADER_BYTES
    while (crc32(bytes, start, end + 1) !== bytes.readUInt32LE(end + 1)) end++
    if (bytes[end] !== 2 && bytes[end] !== 3) throw new Error(`${path} at ${start} is not encrypted`)
    const last = end
    const seal = (damaged: Buffer) => damaged.writeUInt32LE(crc32(damaged, from, last + 1), last + 1)
    pieces.push({ start, end, offsets: [start], seal })
    start = end + SECTION_TRAILER_BYTES
  }
  return pieces
}

function editsOf(path: string, bytes: Buffer): Piece[] {
  if (!isEncryptedManifest(bytes)) throw new Error(`${path} is not encrypted`)
  return [...records(bytes, path)].map(({ start, end }) => {
    const seal = (damaged: Buffer) => {
      damaged.writeUInt32LE(crc32(damaged, start - 12, end, manifestSeed(damaged)), start - 16)
    }
    return { start, end, offsets: [start], seal }
  })
}
