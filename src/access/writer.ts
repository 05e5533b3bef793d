import { VarveError } from '../errors.js'
import { isEmptyRange, type KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { CommitPipeline } from '../store/commit-pipeline.js'
import type {
  BatchOp,
  Check,
  Durability,
  Expiry,
  PutOptions,
  Updated,
  WriteOptions,
} from '../store/contract.js'
import type { CursorState } from '../store/cursor-state.js'
import { BATCH_NAMES, CHECK_NAMES, PUT_NAMES, WRITE_NAMES } from '../store/option-names.js'
import { checkDurability } from '../store/options.js'
import type { Store } from '../store/store.js'
import { checkOptionNames } from '../util/option-names.js'
import {
  checkKey,
  type EncodedOp,
  PreparedBatch,
  writeClearRange,
  writeDel,
  writeEncoded,
  writePut,
} from './batch-encoder.js'
import type { Codec } from './codec.js'
import { addToCounter, numberOf } from './counter.js'
import { EXPIRY_MARK, type ExpiryNotes, expiryFrom, expiryNotesOf } from './expiry.js'
import type { PointReader } from './reader.js'
import { KeyUpdater } from './updater.js'

/**
 * Writes to one store: checks arguments and conditions, then hands one batch to the pipeline. Every method throws
 * what was wrong with the call and rejects with what went wrong with the write.
 */
export class StoreWriter<K, V> {
  readonly #store: Store
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  readonly #reader: PointReader<K, V>
  readonly #updater: KeyUpdater<K, V>

  constructor(store: Store, keys: Codec<K>, values: Codec<V>, reader: PointReader<K, V>) {
    this.#store = store
    this.#keys = keys
    this.#values = values
    this.#reader = reader
    this.#updater = new KeyUpdater(store, keys, values, reader)
  }

  put(key: K, value: V, options: PutOptions | undefined): Promise<Position> {
    const preparedKey = this.#keys.prepare(key)
    const preparedValue = this.#values.prepare(value)
    if (options === undefined) return writePut(this.#store.pipeline, preparedKey, preparedValue, undefined)
    const expiresAt = expiryFrom(options, this.#store)
    const pipeline = this.#pipelineFor(key, options, PUT_NAMES)
    if (expiresAt === undefined) return writePut(pipeline, preparedKey, preparedValue, options.durability)
    const op: EncodedOp = { type: 'put', key: preparedKey, value: preparedValue, expiresAt }
    return this.commit([op], [], options.durability)
  }

  del(key: K, options: WriteOptions | undefined): Promise<Position> {
    const prepared = this.#keys.prepare(key)
    return writeDel(this.#pipelineFor(key, options, WRITE_NAMES), prepared, options?.durability)
  }

  update(
    key: K,
    change: (value: V | undefined) => V | undefined,
    options: PutOptions | undefined,
  ): Promise<Updated<V | undefined>> {
    if (typeof change !== 'function') throw invalid('an update has a function')
    checkKey(this.#keys.prepare(key))
    const expiresAt = options && expiryFrom(options, this.#store)
    const pipeline = this.#pipelineFor(key, options, PUT_NAMES)
    return this.#updater.update(pipeline, key, change, expiresAt, options?.durability)
  }

  increment(key: K, by: number, options: PutOptions | undefined): Promise<Updated<number>> {
    if (typeof by !== 'number' || !Number.isFinite(by)) throw invalid('a counter is incremented by a number')
    const updated = this.update(key, (value) => addToCounter(value, by, this.#values), options)
    return updated.then(({ position, value }) => ({ position, value: numberOf(value) }))
  }

  /** @param cursor the state of a consumer that commits with the operations. */
  batch(
    ops: readonly BatchOp<K, V>[],
    options: (WriteOptions & { check?: readonly Check<K>[] }) | undefined,
    cursor?: CursorState,
  ): Promise<Position> {
    checkOptionNames('batch', options, BATCH_NAMES)
    const expiryOf = (op: Expiry) => expiryFrom(op, this.#store)
    const prepared = new PreparedBatch(ops, this.#keys, this.#values, expiryOf)
    if (options?.ifPosition !== undefined)
      throw invalid('a batch has no single key for ifPosition: use check')
    const pipeline = this.#checkedPipeline(options?.check, options?.durability)
    return this.#noting(prepared.firstExpiry, cursor ? [cursor] : undefined, (cursors) =>
      prepared.write(pipeline, options?.durability, cursors),
    )
  }

  /** One batch of operations that are encoded and conditions that are checked already, with states of consumers. */
  commit(
    ops: readonly EncodedOp[],
    cursors: readonly CursorState[],
    durability: Durability | undefined,
  ): Promise<Position> {
    const { pipeline } = this.#store
    return this.#noting(firstExpiryOf(ops), cursors, (states) =>
      writeEncoded(pipeline, ops, states ?? [], durability),
    )
  }

  clear(range: KeyRange): Promise<Position> {
    return writeClearRange(this.#store.pipeline, range, isEmptyRange(range))
  }

  /** Writes a batch; one in which something expires is marked as such if it is the first, and swept in time. */
  #noting(
    firstExpiry: number | undefined,
    cursors: readonly CursorState[] | undefined,
    write: (cursors: readonly CursorState[] | undefined) => Promise<Position>,
  ): Promise<Position> {
    if (firstExpiry === undefined) return write(cursors)
    const notes = expiryNotesOf(this.#store)
    const written = write([...(cursors ?? []), ...marks(notes)])
    notes.note(firstExpiry)
    return written
  }

  /** The pipeline, once the conditions of a write to one key hold. */
  #pipelineFor(
    key: K,
    options: WriteOptions | undefined,
    names: { readonly [name: string]: true },
  ): CommitPipeline {
    if (options === undefined) return this.#store.pipeline
    checkOptionNames('a write', options, names)
    const { ifPosition } = options
    const checks = ifPosition === undefined ? undefined : [{ key, position: ifPosition }]
    return this.#checkedPipeline(checks, options.durability)
  }

  #checkedPipeline(
    checks: readonly Check<K>[] | undefined,
    durability: Durability | undefined,
  ): CommitPipeline {
    const { pipeline } = this.#store
    if (durability !== undefined) checkDurability(durability)
    if (checks === undefined) return pipeline
    for (const check of checks) {
      checkOptionNames('a check', check, CHECK_NAMES)
      const { key, position } = check
      checkKey(this.#keys.prepare(key))
      const isPosition = position === null || (Number.isSafeInteger(position) && position >= 0)
      if (!isPosition) throw invalid('a condition is a position, or null')
    }
    // Conditions see every write that was called before.
    pipeline.commitNow()
    for (const [i, check] of checks.entries()) {
      const position = this.#reader.currentPosition(check.key)
      if (position === check.position) continue
      const which = checks.length > 1 ? ` of check ${i}` : ''
      const message = `the key${which} is at position ${position ?? 'none'}, not ${check.position ?? 'none'}`
      throw new VarveError('VARVE_CONFLICT', message, position === null ? {} : { position })
    }
    return pipeline
  }
}

/** What is written with the first thing that expires. */
function marks(notes: ExpiryNotes): readonly CursorState[] {
  return notes.isMarked ? [] : [EXPIRY_MARK]
}

function firstExpiryOf(ops: readonly EncodedOp[]): number | undefined {
  let first: number | undefined
  for (const op of ops) {
    if (op.type === 'put' && op.expiresAt !== undefined && (first === undefined || op.expiresAt < first))
      first = op.expiresAt
  }
  return first
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
