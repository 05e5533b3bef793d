/**
 * Where a bootstrap goes on.
 *
 *   token := base64url(head) '.' position '.' check           (position and check in base 36)
 *   head  := version:u8 | storeId:16 | regions | crc:u32
 *   regions := count:varint | (position:varint | hasEnd:u8 | lastKey:bytes?)*
 *
 * `position` is the last one of the log whose changes were given. A region is a part of the keys, in order, that
 * was read as it was at one position; only the last has no end, once the keys were read to their end. The check
 * ties the position to its head, so that a token that was cut or mixed up is known.
 */
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { asBuffer, type Bytes, compareBytes, readU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'

const TOKEN_VERSION = 1
const STORE_ID_BYTES = 16

/** The keys after those of the region before, up to `lastKey`, as they were at `position`. */
export interface Region {
  readonly position: Position
  /** Undefined: to the last key of all. */
  readonly lastKey: Bytes | undefined
}

export interface ResumePoint {
  readonly position: Position
  readonly regions: readonly Region[]
}

/** Makes the tokens that share their regions: one for each change is cheap. */
export class TokenWriter {
  readonly #head: string
  readonly #crc: number

  constructor(storeId: Bytes, regions: readonly Region[]) {
    const writer = new ByteWriter().u8(TOKEN_VERSION)
    for (const byte of storeId) writer.u8(byte)
    writer.varint(regions.length)
    for (const { position, lastKey } of regions) {
      writer.varint(position).u8(lastKey ? 1 : 0)
      if (lastKey) writer.bytes(lastKey)
    }
    const view = writer.view()
    this.#crc = crc32(view, 0, view.length)
    this.#head = asBuffer(writer.u32(this.#crc).view()).toString('base64url')
  }

  at(position: Position): string {
    return `${this.#head}.${position.toString(36)}.${checkOf(this.#crc, position).toString(36)}`
  }
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` for what no bootstrap of this store gave. */
export function readToken(token: string, storeId: Bytes): ResumePoint {
  if (typeof token !== 'string') throw invalid('resume is a string that bootstrap gave')
  const [head, positionText, checkText, ...rest] = token.split('.')
  if (!head || !positionText || !checkText || rest.length > 0)
    throw invalid('resume is none that bootstrap gave')
  const bytes = Buffer.from(head, 'base64url')
  const position = Number.parseInt(positionText, 36)
  const end = bytes.length - 4
  const isWhole =
    end > STORE_ID_BYTES &&
    bytes.toString('base64url') === head &&
    readU32(bytes, end) === crc32(bytes, 0, end) &&
    Number.isSafeInteger(position) &&
    position.toString(36) === positionText &&
    checkText === checkOf(readU32(bytes, end), position).toString(36)
  if (!isWhole) throw invalid('resume is damaged, or none that bootstrap gave')
  if (bytes[0] !== TOKEN_VERSION) throw invalid(`resume is of version ${bytes[0]}`)
  if (compareBytes(bytes.subarray(1, 1 + STORE_ID_BYTES), storeId) !== 0)
    throw invalid('resume is of another store')
  try {
    return { position, regions: readRegions(bytes.subarray(1 + STORE_ID_BYTES, end)) }
  } catch (error) {
    // The checksums are right: somebody made it who knows how.
    throw invalid(`resume is none that bootstrap gave: ${(error as Error).message}`)
  }
}

function readRegions(bytes: Bytes): Region[] {
  const reader = new ByteReader(bytes, 'resume')
  const regions: Region[] = []
  for (let left = reader.varint(); left > 0; left--) {
    const position = reader.varint()
    if (regions.at(-1)?.lastKey === undefined && regions.length > 0) throw reader.fail('keys after the last')
    regions.push({ position, lastKey: reader.u8() === 1 ? reader.bytes() : undefined })
  }
  return regions
}

function checkOf(crc: number, position: Position): number {
  const mixed =
    Math.imul(position >>> 0, 0x9e37_79b1) ^ Math.imul(Math.floor(position / 2 ** 32), 0x85eb_ca6b)
  return (crc ^ mixed ^ (mixed >>> 15)) >>> 0
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
