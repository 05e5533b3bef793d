import { VarveError } from '../errors.js'
import {
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  BATCH_OPS_MAX,
  EXPIRY_BYTES,
  KEY_BYTES_MAX,
  KIND_CURSOR,
  KIND_DEL,
  KIND_PUT,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  VALUE_BYTES_MAX,
  writeBatchHeader,
  writeClear,
  writeExpiry,
  writeOpHeader,
} from '../key/batch-format.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { CommitPipeline } from '../store/commit-pipeline.js'
import type { BatchOp, Durability, Expiry } from '../store/contract.js'
import type { CursorState } from '../store/cursor-state.js'
import { copyBytes } from '../util/bytes.js'
import { type Codec, type Prepared, sizeMaxOf, writePrepared } from './codec.js'

/** A key as it is checked before anything is written. Exact where it could be too long. */
export function checkKey(key: Prepared): Prepared {
  const tooLong =
    key.length > KEY_BYTES_MAX || (key.length * 3 > KEY_BYTES_MAX && sizeMaxOf(key) > KEY_BYTES_MAX)
  if (tooLong) throw limit(`a key has at most ${KEY_BYTES_MAX} bytes`)
  return key
}

export function checkValue(value: Prepared): Prepared {
  if (value.length > VALUE_BYTES_MAX / 3 && sizeMaxOf(value) > VALUE_BYTES_MAX) {
    throw limit(`a value has at most ${VALUE_BYTES_MAX} bytes`)
  }
  return value
}

// Hot: every put (bench/write.bench.js).
export function writePut(
  pipeline: CommitPipeline,
  key: Prepared,
  value: Prepared,
  durability: Durability | undefined,
): Promise<Position> {
  checkKey(key)
  checkValue(value)
  const start = pipeline.begin(BATCH_HEADER_BYTES + OP_HEADER_BYTES + sizeMaxOf(key) + sizeMaxOf(value))
  const end = encodePut(pipeline.memory, start + BATCH_HEADER_BYTES, key, value)
  writeBatchHeader(pipeline.memory, start, 1, end - start - BATCH_HEADER_BYTES)
  return pipeline.append(start, end, durability)
}

/** A put, or without a value a del; `at` is where the operation stands in the pipeline's memory. */
export function writeUpdate(
  pipeline: CommitPipeline,
  key: Prepared,
  value: Prepared | undefined,
  expiresAt: number | undefined,
  cursor: CursorState | undefined,
  durability: Durability | undefined,
): { readonly promise: Promise<Position>; readonly at: number } {
  checkKey(key)
  const valueMax = value === undefined ? 0 : EXPIRY_BYTES + sizeMaxOf(checkValue(value))
  const cursorMax = cursor ? cursorSize(cursor) : 0
  const start = pipeline.begin(BATCH_HEADER_BYTES + OP_HEADER_BYTES + sizeMaxOf(key) + valueMax + cursorMax)
  const at = start + BATCH_HEADER_BYTES
  const { memory } = pipeline
  let end = value === undefined ? encodeDel(memory, at, key) : encodePutOf(memory, at, key, value, expiresAt)
  if (cursor) end = encodeCursor(memory, end, cursor)
  writeBatchHeader(memory, start, cursor ? 2 : 1, end - at)
  return { promise: pipeline.append(start, end, durability), at }
}

export function writeDel(
  pipeline: CommitPipeline,
  key: Prepared,
  durability: Durability | undefined,
): Promise<Position> {
  checkKey(key)
  const start = pipeline.begin(BATCH_HEADER_BYTES + OP_HEADER_BYTES + sizeMaxOf(key))
  const end = encodeDel(pipeline.memory, start + BATCH_HEADER_BYTES, key)
  writeBatchHeader(pipeline.memory, start, 1, end - start - BATCH_HEADER_BYTES)
  return pipeline.append(start, end, durability)
}

/** One range tombstone, or an empty batch where the range holds no key. */
export function writeClearRange(
  pipeline: CommitPipeline,
  range: KeyRange,
  isEmpty: boolean,
): Promise<Position> {
  const size = OP_HEADER_BYTES + range.start.length + (range.end?.length ?? 0)
  const start = pipeline.begin(BATCH_HEADER_BYTES + size)
  const first = start + BATCH_HEADER_BYTES
  const end = isEmpty ? first : writeClear(pipeline.memory, first, range.start, range.end)
  writeBatchHeader(pipeline.memory, start, isEmpty ? 0 : 1, end - first)
  return pipeline.append(start, end)
}

/** The operations of one batch, checked, sized and ready to be written. */
export class PreparedBatch<K, V> {
  readonly #ops: readonly BatchOp<K, V>[]
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  /** Key and value of each operation, where preparing them again would be work. */
  readonly #prepared: (Prepared | undefined)[] | undefined
  readonly #sizeMax: number
  /** When the put at that place expires; undefined: nothing does. */
  #expiries: (number | undefined)[] | undefined
  /** When the first of them expires. */
  firstExpiry: number | undefined

  /**
   * @param expiryOf when a put expires that says something about it.
   * @throws VarveError `VARVE_INVALID_ARGUMENT`, `VARVE_LIMIT`; nothing has been written then.
   */
  constructor(
    ops: readonly BatchOp<K, V>[],
    keys: Codec<K>,
    values: Codec<V>,
    expiryOf: (op: Expiry) => number | undefined,
  ) {
    if (!Array.isArray(ops)) throw invalid('a batch is an array of operations')
    if (ops.length > BATCH_OPS_MAX) throw limit(`a batch has at most ${BATCH_OPS_MAX} operations`)
    this.#ops = ops
    this.#keys = keys
    this.#values = values
    this.#prepared = keys.isDirect && values.isDirect ? undefined : []
    let sizeMax = BATCH_HEADER_BYTES
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i] as BatchOp<K, V>
      const type: unknown = (op as BatchOp<K, V> | null)?.type
      if (type !== 'put' && type !== 'del')
        throw invalid("an operation of a batch has the type 'put' or 'del'")
      const key = checkKey(keys.prepare(op.key))
      const value = op.type === 'put' ? checkValue(values.prepare(op.value)) : undefined
      sizeMax += OP_HEADER_BYTES + sizeMaxOf(key) + (value === undefined ? 0 : sizeMaxOf(value))
      this.#prepared?.push(key, value)
      if (op.type === 'put' && (op.ttlMs !== undefined || op.expiresAt !== undefined)) {
        sizeMax += EXPIRY_BYTES
        this.#noteExpiry(i, expiryOf(op)!)
      }
    }
    if (sizeMax > BATCH_BYTES_MAX) throw limit(`a batch has at most ${BATCH_BYTES_MAX} bytes`)
    this.#sizeMax = sizeMax
  }

  #noteExpiry(place: number, expiresAt: number): void {
    this.#expiries ??= []
    this.#expiries[place] = expiresAt
    if (this.firstExpiry === undefined || expiresAt < this.firstExpiry) this.firstExpiry = expiresAt
  }

  // Hot: every batch (bench/write.bench.js).
  /** @param cursors states of consumers that are written with it. */
  write(
    pipeline: CommitPipeline,
    durability: Durability | undefined,
    cursors: readonly CursorState[] = NO_CURSORS,
  ): Promise<Position> {
    let sizeMax = this.#sizeMax
    for (const cursor of cursors) sizeMax += cursorSize(cursor)
    const start = pipeline.begin(sizeMax)
    const { memory } = pipeline
    const ops = this.#ops
    const prepared = this.#prepared
    const expiries = this.#expiries
    let at = start + BATCH_HEADER_BYTES
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i]!
      const key = prepared ? prepared[2 * i]! : this.#keys.prepare(op.key)
      if (op.type === 'del') {
        at = encodeDel(memory, at, key)
      } else {
        const value = prepared ? prepared[2 * i + 1]! : this.#values.prepare(op.value)
        at = expiries ? encodePutOf(memory, at, key, value, expiries[i]) : encodePut(memory, at, key, value)
      }
    }
    for (const cursor of cursors) at = encodeCursor(memory, at, cursor)
    writeBatchHeader(memory, start, ops.length + cursors.length, at - start - BATCH_HEADER_BYTES)
    return pipeline.append(start, at, durability)
  }
}

const NO_CURSORS: readonly CursorState[] = []

/** An operation whose key and value are encoded already. */
export type EncodedOp =
  | {
      readonly type: 'put'
      readonly key: Prepared
      readonly value: Prepared
      readonly expiresAt?: number | undefined
    }
  | { readonly type: 'del'; readonly key: Prepared }
  | { readonly type: 'clear'; readonly range: KeyRange }

/**
 * One batch of operations and states of consumers. A clear hides what is older than the batch, whatever its place.
 * @throws VarveError `VARVE_LIMIT`; nothing has been written then.
 */
export function writeEncoded(
  pipeline: CommitPipeline,
  ops: readonly EncodedOp[],
  cursors: readonly CursorState[],
  durability: Durability | undefined,
): Promise<Position> {
  if (ops.length > BATCH_OPS_MAX) throw limit(`a batch has at most ${BATCH_OPS_MAX} operations`)
  let sizeMax = BATCH_HEADER_BYTES
  for (const op of ops) sizeMax += encodedSizeMax(op)
  if (sizeMax > BATCH_BYTES_MAX) throw limit(`a batch has at most ${BATCH_BYTES_MAX} bytes`)
  for (const cursor of cursors) sizeMax += cursorSize(cursor)
  const start = pipeline.begin(sizeMax)
  const { memory } = pipeline
  let at = start + BATCH_HEADER_BYTES
  for (const op of ops) {
    if (op.type === 'put') at = encodePutOf(memory, at, op.key, op.value, op.expiresAt)
    else if (op.type === 'del') at = encodeDel(memory, at, op.key)
    else at = writeClear(memory, at, op.range.start, op.range.end)
  }
  for (const cursor of cursors) at = encodeCursor(memory, at, cursor)
  writeBatchHeader(memory, start, ops.length + cursors.length, at - start - BATCH_HEADER_BYTES)
  return pipeline.append(start, at, durability)
}

function encodedSizeMax(op: EncodedOp): number {
  if (op.type === 'clear') return OP_HEADER_BYTES + op.range.start.length + (op.range.end?.length ?? 0)
  const valueSize = op.type === 'put' ? EXPIRY_BYTES + sizeMaxOf(checkValue(op.value)) : 0
  return OP_HEADER_BYTES + sizeMaxOf(checkKey(op.key)) + valueSize
}

function cursorSize({ name, state }: CursorState): number {
  return OP_HEADER_BYTES + name.length + state.length
}

function encodeCursor(memory: Buffer, at: number, { name, state }: CursorState): number {
  const nameStart = at + OP_HEADER_BYTES
  writeOpHeader(memory, at, KIND_CURSOR, name.length, state.length)
  copyBytes(name, 0, name.length, memory, nameStart)
  copyBytes(state, 0, state.length, memory, nameStart + name.length)
  return nameStart + name.length + state.length
}

function encodePut(memory: Buffer, at: number, key: Prepared, value: Prepared): number {
  const keyStart = at + OP_HEADER_BYTES
  const keyEnd = writePrepared(key, memory, keyStart)
  const end = writePrepared(value, memory, keyEnd)
  writeOpHeader(memory, at, KIND_PUT, keyEnd - keyStart, end - keyEnd)
  return end
}

function encodePutOf(
  memory: Buffer,
  at: number,
  key: Prepared,
  value: Prepared,
  expiresAt: number | undefined,
): number {
  if (expiresAt === undefined) return encodePut(memory, at, key, value)
  const keyStart = at + OP_HEADER_BYTES
  const keyEnd = writePrepared(key, memory, keyStart)
  writeExpiry(memory, keyEnd, expiresAt)
  const end = writePrepared(value, memory, keyEnd + EXPIRY_BYTES)
  writeOpHeader(memory, at, KIND_PUT_UNTIL, keyEnd - keyStart, end - keyEnd)
  return end
}

function encodeDel(memory: Buffer, at: number, key: Prepared): number {
  const keyStart = at + OP_HEADER_BYTES
  const keyEnd = writePrepared(key, memory, keyStart)
  writeOpHeader(memory, at, KIND_DEL, keyEnd - keyStart, 0)
  return keyEnd
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}

function limit(message: string): VarveError {
  return new VarveError('VARVE_LIMIT', message)
}
