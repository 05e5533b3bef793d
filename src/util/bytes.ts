/**
 * Bytes of the engine are `Buffer`s, everywhere: one hidden class keeps the hot loops monomorphic, also over
 * shared memory. Order is unsigned bytes, never JavaScript's order of UTF-16 units.
 */
export type Bytes = Uint8Array

export const EMPTY_BYTES: Bytes = Buffer.alloc(0)

/** A `Buffer` over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A copy with memory of its own: neither a view of the source nor a piece of Node's pool. */
export function cloneBytes(bytes: Uint8Array, start = 0, end: number = bytes.length): Buffer<ArrayBuffer> {
  const copy = Buffer.allocUnsafeSlow(end - start)
  copyBytes(bytes, start, end, copy, 0)
  return copy
}

// A native copy of a part costs about 60 ns before its first byte, a loop 1 ns a byte.
export const COPY_LOOP_MAX = 48
/** From here on a copy between places that are not aligned alike is quicker by `fill`, where memory is shared. */
const FILL_MIN = 512
/** A plain Uint8Array has another `fill`. */
const bufferFill = Buffer.prototype.fill

// Hot: every key and value that is written or read.
export function copyBytes(from: Bytes, start: number, end: number, into: Bytes, at: number): void {
  const length = end - start
  if (length <= COPY_LOOP_MAX) {
    for (let i = start, j = at; i < end; i++, j++) into[j] = from[i]!
    return
  }
  const part = start === 0 && end === from.length ? from : from.subarray(start, end)
  // `set` goes byte by byte into and out of shared memory unless both sides stand alike in their words: 385 ns for
  // 1,000 bytes; `fill` by what is as long as the place is one memcpy, 190 ns.
  if (length >= FILL_MIN && (part.byteOffset ^ (into.byteOffset + at)) & 7)
    bufferFill.call(into, part, at, at + length)
  else into.set(part, at)
}

// Hot: every seek and merge lands here (bench/scan.bench.js).
export function compareRanges(
  a: Bytes,
  aStart: number,
  aEnd: number,
  b: Bytes,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart
  const bLength = bEnd - bStart
  const shared = Math.min(aLength, bLength)
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!
    if (difference !== 0) return difference
  }
  return aLength - bLength
}

export function compareBytes(a: Bytes, b: Bytes): number {
  return compareRanges(a, 0, a.length, b, 0, b.length)
}

// Hot: every point lookup ends here.
export function equalRange(
  bytes: Bytes,
  start: number,
  key: Bytes,
  keyStart: number,
  length: number,
): boolean {
  for (let i = 0; i < length; i++) if (bytes[start + i] !== key[keyStart + i]) return false
  return true
}

export function isZero(bytes: Bytes, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false
  return true
}

/** The first four bytes of [start, end) as a number that sorts as they do; zeros stand for what is missing. */
export function readWord(bytes: Bytes, start: number, end: number): number {
  const length = end - start
  if (length >= 4) {
    return (
      ((bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!) >>> 0
    )
  }
  if (length <= 0) return 0
  const second = length > 1 ? bytes[start + 1]! << 16 : 0
  const third = length > 2 ? bytes[start + 2]! << 8 : 0
  return ((bytes[start]! << 24) | second | third) >>> 0
}

export function readU16(bytes: Bytes, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

export function readU32(bytes: Bytes, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

/** 48 bits: positions, offsets and times fit for millennia. */
export function readU48(bytes: Bytes, at: number): number {
  return readU32(bytes, at) + readU16(bytes, at + 4) * 2 ** 32
}

/** As a double: exact up to 2^53; the caller checks the range. */
export function readU64(bytes: Bytes, at: number): number {
  return readU32(bytes, at) + readU32(bytes, at + 4) * 2 ** 32
}

export function writeU16(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}

export function writeU32(bytes: Bytes, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

export function writeU48(bytes: Bytes, at: number, value: number): void {
  writeU32(bytes, at, value >>> 0)
  writeU16(bytes, at + 4, Math.floor(value / 2 ** 32))
}

export function writeU64(bytes: Bytes, at: number, value: number): void {
  writeU32(bytes, at, value >>> 0)
  writeU32(bytes, at + 4, Math.floor(value / 2 ** 32))
}

/** The smallest key that sorts after every key with this prefix; undefined when there is none (all 0xff). */
export function prefixEnd(prefix: Bytes): Buffer | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const end = cloneBytes(prefix, 0, length)
  end[length - 1]!++
  return end
}

/** The key right after this one. */
export function successor(key: Bytes): Buffer {
  const next = Buffer.alloc(key.length + 1)
  next.set(key)
  return next
}

/** For messages: at most 32 bytes, in hexadecimal. */
export function describeKey(key: Bytes): string {
  const shown = Buffer.from(key.subarray(0, 32)).toString('hex')
  return key.length > 32 ? `${shown}… (${key.length} bytes)` : shown
}
