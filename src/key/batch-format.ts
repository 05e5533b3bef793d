import { assert } from '../util/assert.js'
import type { Bytes } from '../util/bytes.js'
import { copyBytes, readU16, readU32, readU48, writeU16, writeU32, writeU48 } from '../util/bytes.js'

/**
 * The bytes of a batch: the same in the log, the memtable and every reader of the log.
 *
 *   batch := opCount:u32 | sizeBytes:u32 (of the ops) | op*
 *   op    := kind:u8 | keyLength:u16 | valueLength:u32 | key | value             (little-endian)
 *
 * A put that expires has when it does, in milliseconds since the epoch, before its value: u48, counted in
 * `valueLength`. It stays with the entry in memtables and segments, so that it is there as long as the entry is, in
 * checkpoints and copies too. Nothing goes by itself: the leader writes a del once the time has come. Rejected: an
 * operation beside the put and an index apart from the tree, which every copy of a store would have to carry as well.
 *
 * For `clear` the key is the first key of the range and the value its end, exclusive; `clearAfter` has no end.
 */
export const BATCH_HEADER_BYTES = 8
export const OP_HEADER_BYTES = 7

export const KIND_PUT = 1
export const KIND_DEL = 2
export const KIND_CLEAR = 3
export const KIND_CLEAR_AFTER = 4
/**
 * Not data: the state of a consumer. The key is its name in UTF-8; without a value it is dropped. Names that start
 * with a zero byte are the engine's own.
 */
export const KIND_CURSOR = 5
export const KIND_PUT_UNTIL = 6

/** When an entry expires stands between its key and its value. */
export const EXPIRY_BYTES = 6
/** One below the highest number there is room for, which marks what is no time. */
export const EXPIRY_MAX = 2 ** 48 - 2

export const KEY_BYTES_MAX = 65_535
export const VALUE_BYTES_MAX = 256 * 2 ** 20
export const BATCH_BYTES_MAX = 2 ** 30
export const BATCH_OPS_MAX = 10_000_000

export function writeBatchHeader(into: Bytes, at: number, opCount: number, sizeBytes: number): void {
  writeU32(into, at, opCount)
  writeU32(into, at + 4, sizeBytes)
}

export function batchOpCount(bytes: Bytes, at: number): number {
  return readU32(bytes, at)
}

/** Bytes of the batch at `at`, its header included. */
export function batchSizeBytes(bytes: Bytes, at: number): number {
  return BATCH_HEADER_BYTES + readU32(bytes, at + 4)
}

export function writeOpHeader(
  into: Bytes,
  at: number,
  kind: number,
  keyLength: number,
  valueLength: number,
): void {
  into[at] = kind
  writeU16(into, at + 1, keyLength)
  writeU32(into, at + 3, valueLength)
}

export function opKeyLength(bytes: Bytes, at: number): number {
  return readU16(bytes, at + 1)
}

export function opValueLength(bytes: Bytes, at: number): number {
  return readU32(bytes, at + 3)
}

export function opSizeBytes(bytes: Bytes, at: number): number {
  return OP_HEADER_BYTES + opKeyLength(bytes, at) + opValueLength(bytes, at)
}

/** Where the value of a put starts. */
export function opValueStart(bytes: Bytes, at: number): number {
  const keyEnd = at + OP_HEADER_BYTES + opKeyLength(bytes, at)
  return bytes[at] === KIND_PUT_UNTIL ? keyEnd + EXPIRY_BYTES : keyEnd
}

export function writeExpiry(into: Bytes, at: number, expiresAt: number): void {
  writeU48(into, at, expiresAt)
}

/** When the entry whose key ends at `keyEnd` expires; undefined: it does not. */
export function expiryBetween(bytes: Bytes, keyEnd: number, valueStart: number): number | undefined {
  return valueStart === keyEnd ? undefined : readU48(bytes, keyEnd)
}

/** Writes the operation that clears [start, end); returns the offset after it. */
export function writeClear(into: Bytes, at: number, start: Bytes, end: Bytes | undefined): number {
  assert(start.length <= KEY_BYTES_MAX, 'the start of a range fits into its length')
  writeOpHeader(into, at, end ? KIND_CLEAR : KIND_CLEAR_AFTER, start.length, end ? end.length : 0)
  copyBytes(start, 0, start.length, into, at + OP_HEADER_BYTES)
  if (end) copyBytes(end, 0, end.length, into, at + OP_HEADER_BYTES + start.length)
  return at + opSizeBytes(into, at)
}

/** Undefined if the batch is whole and sound within [at, end); else what is wrong with it. */
export function findBatchFault(bytes: Bytes, at: number, end: number): string | undefined {
  if (at + BATCH_HEADER_BYTES > end) return 'a batch without a whole header'
  const opCount = batchOpCount(bytes, at)
  const batchEnd = at + batchSizeBytes(bytes, at)
  if (batchEnd > end) return 'a batch longer than its frame'
  let op = at + BATCH_HEADER_BYTES
  for (let i = 0; i < opCount; i++) {
    if (op + OP_HEADER_BYTES > batchEnd) return 'an operation outside its batch'
    const kind = bytes[op]!
    if (kind < KIND_PUT || kind > KIND_PUT_UNTIL) return `an operation of kind ${kind}`
    if (kind === KIND_PUT_UNTIL) {
      if (opValueLength(bytes, op) < EXPIRY_BYTES) return 'a put without its expiry'
      const keyEnd = op + OP_HEADER_BYTES + opKeyLength(bytes, op)
      if (keyEnd + EXPIRY_BYTES <= batchEnd && readU48(bytes, keyEnd) > EXPIRY_MAX)
        return 'a put with no expiry'
    }
    op += opSizeBytes(bytes, op)
    if (op > batchEnd) return 'an operation longer than its batch'
  }
  return op === batchEnd ? undefined : 'a batch with bytes left over'
}
