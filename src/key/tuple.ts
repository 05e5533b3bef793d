/**
 * Tuples as bytes that sort as the tuples do: part by part, a shorter tuple before those that begin with it.
 *
 *   tuple  := part (00 part)*                      the empty tuple is no byte at all
 *   part   := 00                                   null
 *           | 03 byte*                             bytes, 00 to 04 among them written 04 and the byte
 *           | 06 | 07                              false, true
 *           | 08…0f, 10…17 and 8 bytes             a number: the bits of the double, shifted by the four of the sign
 *           | the same, and bytes from 80 up       a bigint that is no double: what is left of it
 *           | [1b] byte*                           text in UTF-8, escaped as bytes are; 1b where it is empty or begins below 1c
 *
 * So kinds sort as they stand here, negative numbers before others. The layout is that of `ordered-binary`, which the
 * bigints come from; it was rejected for the rest: it escapes nothing in text of 64 characters and more and in bytes,
 * takes a null at the end of three parts for text, knows no -0, and ends at 8 KiB.
 */
import { fromBufferKey, toBufferKey } from 'ordered-binary'
import { VarveError } from '../errors.js'

/** What a tuple is made of. */
export type TuplePart = string | number | bigint | boolean | null | Uint8Array

const SEPARATOR = 0
const BYTES = 3
/** Before a byte up to its own value. */
const ESCAPE = 4
const FALSE = 6
const TRUE = 7
const NUMBER_FIRST = 8
const NUMBER_LAST = 0x17
const NUMBER_BYTES = 9
/** Bytes from here on carry on a bigint. */
const MORE_DIGITS = 0x80
const TEXT = 0x1b
/** Bigints of more bits than a double's exponent reaches have no place among numbers. */
const BIGINT_MAX = 2n ** 1000n
/** Text up to this is written by a loop: the native call costs more. */
const LOOP_MAX = 64

const SIGN = 0x7fff_ffff
/** Above the bits of numbers that are not negative. */
const POSITIVE = 0x1000_0000
const double = new DataView(new ArrayBuffer(8))

/**
 * @param parts checked: text is well-formed, no number is NaN.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` for a bigint out of reach.
 */
export function encodeTuple(parts: readonly TuplePart[]): Buffer {
  let size = 0
  for (const part of parts) size += sizeMaxOf(part) + 1
  const target = Buffer.allocUnsafe(size)
  let at = 0
  for (let i = 0; i < parts.length; i++) {
    if (i > 0) target[at++] = SEPARATOR
    at = writePart(parts[i]!, target, at)
  }
  return target.subarray(0, at)
}

function sizeMaxOf(part: TuplePart): number {
  if (typeof part === 'string') return 1 + part.length * 3
  if (typeof part === 'bigint') return digitsMaxOf(part)
  return part instanceof Uint8Array ? 1 + part.length * 2 : NUMBER_BYTES
}

function digitsMaxOf(part: bigint): number {
  if (part > BIGINT_MAX || part < -BIGINT_MAX)
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a bigint in a key has at most 1000 bits')
  return 256
}

// Hot: every key of a store of tuples that is written or read.
function writePart(part: TuplePart, target: Buffer, at: number): number {
  switch (typeof part) {
    case 'string':
      return writeText(part, target, at)
    case 'number':
      return writeNumber(part, target, at)
    case 'bigint': {
      const bytes = toBufferKey([part] as never)
      target.set(bytes, at)
      return at + bytes.length
    }
    case 'boolean':
      target[at] = part ? TRUE : FALSE
      return at + 1
    default:
      if (part !== null) {
        target[at] = BYTES
        return writeEscaped(part, target, at + 1)
      }
      target[at] = SEPARATOR
      return at + 1
  }
}

function writeText(text: string, target: Buffer, start: number): number {
  const from = text.charCodeAt(0) > TEXT ? start : start + 1
  if (from > start) target[start] = TEXT
  if (text.length > LOOP_MAX) return writeUtf8(text, target, from)
  let at = from
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 128) return writeUtf8(text, target, from)
    if (unit <= ESCAPE) target[at++] = ESCAPE
    target[at++] = unit
  }
  return at
}

function writeUtf8(text: string, target: Buffer, start: number): number {
  const end = start + target.write(text, start)
  for (let at = start; at < end; at++)
    if (target[at]! <= ESCAPE) return writeEscaped(Buffer.from(text), target, start)
  return end
}

function writeEscaped(bytes: Uint8Array, target: Buffer, start: number): number {
  let at = start
  for (const byte of bytes) {
    if (byte <= ESCAPE) target[at++] = ESCAPE
    target[at++] = byte
  }
  return at
}

function writeNumber(number: number, target: Buffer, at: number): number {
  // There is one zero.
  double.setFloat64(0, number + 0)
  let high = double.getInt32(0)
  let low = double.getInt32(4)
  const isNegative = high < 0
  if (isNegative) {
    high ^= SIGN
    low = ~low
  }
  target.writeInt32BE((high >>> 4) | (isNegative ? 0 : POSITIVE), at)
  target.writeInt32BE((low >>> 4) | (high << 28), at + 4)
  target[at + 8] = (low & 15) << 4
  return at + NUMBER_BYTES
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` for bytes that `encodeTuple` did not make. */
export function decodeTuple(bytes: Buffer, start: number, end: number): TuplePart[] {
  const parts: TuplePart[] = []
  if (start === end) return parts
  for (let at = start; ; at++) {
    const partEnd = endOfPart(bytes, at, end)
    parts.push(readPart(bytes, at, partEnd))
    at = partEnd
    if (at === end) return parts
    if (bytes[at] !== SEPARATOR) throw noTuple()
  }
}

function endOfPart(bytes: Buffer, start: number, end: number): number {
  if (start >= end) throw noTuple()
  const kind = bytes[start]!
  if (kind === SEPARATOR || kind === FALSE || kind === TRUE) return start + 1
  if (kind >= NUMBER_FIRST && kind <= NUMBER_LAST) {
    let at = start + NUMBER_BYTES
    if (at > end) throw noTuple()
    while (at < end && bytes[at]! >= MORE_DIGITS) at++
    return at
  }
  if (kind !== BYTES && kind < TEXT) throw noTuple()
  let at = kind === BYTES ? start + 1 : start
  while (at < end && bytes[at] !== SEPARATOR) at += bytes[at] === ESCAPE ? 2 : 1
  if (at > end) throw noTuple()
  return at
}

function readPart(bytes: Buffer, start: number, end: number): TuplePart {
  const kind = bytes[start]!
  if (kind === SEPARATOR) return null
  if (kind === FALSE || kind === TRUE) return kind === TRUE
  if (kind === BYTES) return unescaped(bytes, start + 1, end)
  if (kind > NUMBER_LAST) return readText(bytes, kind === TEXT ? start + 1 : start, end)
  if (end - start > NUMBER_BYTES) return fromBufferKey(Buffer.from(bytes.subarray(start, end))) as bigint
  return readNumber(bytes, start)
}

function readNumber(bytes: Buffer, at: number): number {
  const first = bytes.readInt32BE(at)
  const second = bytes.readInt32BE(at + 4)
  const rest = bytes[at + 8]!
  const isNegative = (first & POSITIVE) === 0
  const high = (first << 4) | (second >>> 28)
  const low = (second << 4) | (rest >>> 4)
  double.setInt32(0, isNegative ? high ^ SIGN : high)
  double.setInt32(4, isNegative ? ~low : low)
  return double.getFloat64(0)
}

function readText(bytes: Buffer, start: number, end: number): string {
  for (let at = start; at < end; at++)
    if (bytes[at] === ESCAPE) return unescaped(bytes, start, end).toString('utf8')
  return bytes.toString('utf8', start, end)
}

/** A copy. */
function unescaped(bytes: Buffer, start: number, end: number): Buffer {
  const target = Buffer.allocUnsafe(end - start)
  let size = 0
  for (let at = start; at < end; at++) {
    if (bytes[at] === ESCAPE) at++
    target[size++] = bytes[at]!
  }
  return target.subarray(0, size)
}

function noTuple(): VarveError {
  const message =
    "a key that was read is no tuple: it was written through another encoding, and 'buffer' shows it"
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
