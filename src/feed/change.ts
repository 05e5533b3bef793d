import type { Codec } from '../access/codec.js'
import { VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  batchSizeBytes,
  expiryBetween,
  KIND_CLEAR,
  KIND_CLEAR_AFTER,
  KIND_CURSOR,
  KIND_DEL,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
  opValueStart,
} from '../key/batch-format.js'
import { type KeyRange, rangeHolds, rangesOverlap } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { BatchOp, Range } from '../store/contract.js'
import type { FairTurn } from '../store/fair-turn.js'
import { asBuffer, type Bytes, cloneBytes, compareBytes, prefixEnd as endOfPrefix } from '../util/bytes.js'

/** Every key of a range removed at once. `start` and `end` are the range in bytes, whatever the encoding. */
export interface ClearOp<K> {
  /** Tells it from a put and a del. */
  readonly type: 'clear'
  /** What was cleared, as a range of keys. */
  readonly range: Range<K>
  /** The first encoded key that was cleared. */
  readonly start: Buffer
  /** The first key that stays; undefined: everything from `start` on goes. */
  readonly end: Buffer | undefined
}

/** One committed batch, whole, as the log holds it. */
export interface Change<K, V> {
  /** Where the batch stands in the log. */
  readonly position: Position
  /** When it was committed, in milliseconds since the epoch. For people: order is by position. */
  readonly timestamp: number
  /** What the batch did, in its order. */
  readonly ops: readonly (BatchOp<K, V> | ClearOp<K>)[]
}

/** Operations decoded between two looks at the clock. */
const OPS_PER_STEP = 256

/** Reads batches as changes through the encodings of one store. */
export class ChangeDecoder<K, V> {
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  readonly #range: KeyRange | undefined
  readonly #isClipping: boolean
  /** What is decoded as a view must not be a view of memory that the log uses again. */
  readonly #needsOwnBytes: boolean

  /**
   * With a range only the operations that touch it, and only changes that hold any.
   * @param isClipping whether a clear is shown only as far as the range goes.
   */
  constructor(keys: Codec<K>, values: Codec<V>, range: KeyRange | undefined, isClipping = false) {
    this.#isClipping = isClipping
    this.#keys = keys
    this.#values = values
    this.#range = range
    this.#needsOwnBytes = (keys.givesViews ?? false) || (values.givesViews ?? false)
  }

  // Hot: every change that is read (bench/feed.bench.js).
  /** The batch at `batchOffset`, at once; for one of up to a few thousand operations. */
  decode(position: Position, timestamp: number, from: Buffer, fromOffset: number): Change<K, V> | undefined {
    const isOwn = this.#needsOwnBytes
    const bytes = isOwn ? ownBatch(from, fromOffset) : from
    const batchOffset = isOwn ? 0 : fromOffset
    const count = batchOpCount(bytes, batchOffset)
    const ops: (BatchOp<K, V> | ClearOp<K>)[] = []
    let at = batchOffset + BATCH_HEADER_BYTES
    for (let i = 0; i < count; i++) {
      if (this.#isShown(bytes, at)) ops.push(this.#decodeOp(bytes, at))
      at += opSizeBytes(bytes, at)
    }
    return this.#range !== undefined && ops.length === 0 ? undefined : { position, timestamp, ops }
  }

  /** As `decode`, for a batch of any size, in slices; the bytes stay as they are until it is done. */
  async decodeLarge(
    position: Position,
    timestamp: number,
    from: Buffer,
    fromOffset: number,
    turn: FairTurn,
  ): Promise<Change<K, V> | undefined> {
    const isOwn = this.#needsOwnBytes
    const bytes = isOwn ? ownBatch(from, fromOffset) : from
    const batchOffset = isOwn ? 0 : fromOffset
    const count = batchOpCount(bytes, batchOffset)
    const end = batchOffset + batchSizeBytes(bytes, batchOffset)
    const ops: (BatchOp<K, V> | ClearOp<K>)[] = []
    let at = batchOffset + BATCH_HEADER_BYTES
    for (let i = 0; i < count; i++) {
      if (at + OP_HEADER_BYTES > end || at + opSizeBytes(bytes, at) > end) {
        const message = `position ${position}: an operation longer than its batch`
        throw new VarveError('VARVE_CORRUPTION', message, { position })
      }
      if (this.#isShown(bytes, at)) ops.push(this.#decodeOp(bytes, at))
      at += opSizeBytes(bytes, at)
      if (i % OPS_PER_STEP === 0) await turn.due()
    }
    return this.#range !== undefined && ops.length === 0 ? undefined : { position, timestamp, ops }
  }

  #decodeOp(bytes: Buffer, at: number): BatchOp<K, V> | ClearOp<K> {
    const kind = bytes[at]
    const keyStart = at + OP_HEADER_BYTES
    const keyEnd = keyStart + opKeyLength(bytes, at)
    if (kind === KIND_CLEAR || kind === KIND_CLEAR_AFTER) {
      const range = { start: bytes.subarray(keyStart, keyEnd), end: clearEnd(bytes, at) }
      return clearOp(this.#isClipping ? intersection(range, this.#range!) : range, this.#keys)
    }
    const key = this.#keys.decode(bytes, keyStart, keyEnd)
    if (kind === KIND_DEL) return { type: 'del', key }
    const valueStart = opValueStart(bytes, at)
    const value = this.#values.decode(bytes, valueStart, keyEnd + opValueLength(bytes, at))
    return putOp(key, value, expiryBetween(bytes, keyEnd, valueStart))
  }

  /** What consumers write down of themselves is not data. */
  #isShown(bytes: Buffer, at: number): boolean {
    return bytes[at] !== KIND_CURSOR && (this.#range === undefined || touches(this.#range, bytes, at))
  }
}

/** A put as readers are shown it. */
export function putOp<K, V>(key: K, value: V, expiresAt: number | undefined): BatchOp<K, V> {
  return expiresAt === undefined ? { type: 'put', key, value } : { type: 'put', key, value, expiresAt }
}

function ownBatch(bytes: Buffer, batchOffset: number): Buffer {
  return cloneBytes(bytes, batchOffset, batchOffset + batchSizeBytes(bytes, batchOffset))
}

function touches(range: KeyRange, bytes: Buffer, at: number): boolean {
  const keyStart = at + OP_HEADER_BYTES
  const key = bytes.subarray(keyStart, keyStart + opKeyLength(bytes, at))
  const kind = bytes[at]
  if (kind !== KIND_CLEAR && kind !== KIND_CLEAR_AFTER) return rangeHolds(range, key)
  return rangesOverlap(range, { start: key, end: clearEnd(bytes, at) })
}

/** A clear of the range as readers are shown it; copies its bounds. */
export function clearOp<K>(range: KeyRange, keys: Codec<K>): ClearOp<K> {
  const start = cloneBytes(range.start)
  const end = range.end && cloneBytes(range.end)
  return { type: 'clear', range: rangeOf(start, end, keys), start, end }
}

function intersection(a: KeyRange, b: KeyRange): KeyRange {
  const start = compareBytes(a.start, b.start) > 0 ? a.start : b.start
  if (!a.end || !b.end) return { start, end: a.end ?? b.end }
  return { start, end: compareBytes(a.end, b.end) < 0 ? a.end : b.end }
}

function clearEnd(bytes: Buffer, at: number): Buffer | undefined {
  if (bytes[at] === KIND_CLEAR_AFTER) return undefined
  const end = at + OP_HEADER_BYTES + opKeyLength(bytes, at)
  return bytes.subarray(end, end + opValueLength(bytes, at))
}

/** The range in the terms of `clear`, as near to what the caller gave as bytes tell: a prefix is seen as one. */
function rangeOf<K>(start: Bytes, end: Bytes | undefined, keys: Codec<K>): Range<K> {
  const decode = (bytes: Bytes) => keys.decode(asBuffer(bytes), 0, bytes.length)
  if (start.length > 0) {
    const last = (keys.prefixEnd ?? endOfPrefix)(start)
    if (last && end ? compareBytes(last, end) === 0 : last === end) return { prefix: decode(start) }
  }
  const range: { gt?: K; gte?: K; lt?: K; lte?: K } = {}
  if (start.length > 0) Object.assign(range, bound(start, 'gte', 'gt', decode))
  if (end) Object.assign(range, bound(end, 'lt', 'lte', decode))
  return range
}

/** The key after k is k and a zero: a bound on k from the other side. */
function bound<K>(
  bytes: Bytes,
  plain: string,
  after: string,
  decode: (bytes: Bytes) => K,
): Record<string, K> {
  if (bytes[bytes.length - 1] !== 0) return { [plain]: decode(bytes) }
  return { [after]: decode(bytes.subarray(0, bytes.length - 1)) }
}
