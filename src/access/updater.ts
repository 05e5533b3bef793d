import { VarveError } from '../errors.js'
import {
  expiryBetween,
  KIND_DEL,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueStart,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { CommitPipeline } from '../store/commit-pipeline.js'
import type { Durability, Updated } from '../store/contract.js'
import type { Store } from '../store/store.js'
import type { Lookup } from '../tree/tree-view.js'
import { writeUpdate } from './batch-encoder.js'
import { type Codec, type Prepared, toBytes } from './codec.js'
import { EXPIRY_MARK, expiryNotesOf } from './expiry.js'
import type { PointReader } from './reader.js'

/**
 * Writes of one key that depend on what it holds. The function is called at once, in commit order, and what it gives
 * goes into the log: whoever reads the log needs no function to know the state.
 *
 * What the running group wrote before is read out of that group, so that updates share a frame and a sync as other
 * writes do. Only while all of the group is from here: else it is committed first.
 */
export class KeyUpdater<K, V> {
  readonly #store: Store
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  readonly #reader: PointReader<K, V>
  /** Where in the pipeline's memory the running group wrote a key last. */
  readonly #written = new Map<string, number>()
  /** Before the running group, and after what it holds of ours. */
  #groupBase: Position = -1
  #groupNext: Position = -1

  constructor(store: Store, keys: Codec<K>, values: Codec<V>, reader: PointReader<K, V>) {
    this.#store = store
    this.#keys = keys
    this.#values = values
    this.#reader = reader
  }

  // Hot: every update (bench/write.bench.js).
  /**
   * @param expiresAt undefined: as it was.
   * @throws what `change` throws: nothing is written then.
   */
  update(
    pipeline: CommitPipeline,
    key: K,
    change: (value: V | undefined) => V | undefined,
    expiresAt: number | undefined,
    durability: Durability | undefined,
  ): Promise<Updated<V | undefined>> {
    const id = idOf(this.#keys.prepare(key))
    this.#settle(pipeline)
    const op = this.#written.get(id)
    const before = op === undefined ? this.#reader.findNow(key, this.#found) : this.#decode(pipeline, op)
    const next = pipeline.nextPosition
    const value = change(before?.value)
    if (pipeline.nextPosition !== next) throw invalid('the function of an update must not write')
    if (isThenable(value)) throw invalid('the function of an update gives its value at once, not a promise')
    // A reading function may have committed the group.
    this.#settle(pipeline)
    // A key that an encoding of the user's made may not have outlived the function.
    const prepared = this.#keys.prepare(key)
    const { promise, at } = writeUpdate(
      pipeline,
      prepared,
      value === undefined ? undefined : this.#values.prepare(value),
      expiresAt ?? before?.expiresAt,
      expiresAt === undefined || expiryNotesOf(this.#store).isMarked ? undefined : EXPIRY_MARK,
      durability,
    )
    if (expiresAt !== undefined && value !== undefined) expiryNotesOf(this.#store).note(expiresAt)
    this.#written.set(id, at)
    this.#groupNext = pipeline.nextPosition
    return promise.then((position) => ({ position, value }))
  }

  readonly #found = (lookup: Lookup): Found<V> => ({
    value: this.#reader.decodeValue(lookup),
    expiresAt: lookup.expiresAt,
  })

  /** Afterwards the running group is empty, or all of it is from here. */
  #settle(pipeline: CommitPipeline): void {
    const isOurs = pipeline.position === this.#groupBase && pipeline.nextPosition === this.#groupNext
    if (isOurs) return
    pipeline.commitNow()
    this.#begin(pipeline)
  }

  #begin(pipeline: CommitPipeline): void {
    this.#written.clear()
    this.#groupBase = pipeline.position
    this.#groupNext = pipeline.nextPosition
  }

  #decode({ memory }: CommitPipeline, op: number): Found<V> | undefined {
    this.#store.throwIfClosed()
    if (memory[op] === KIND_DEL) return undefined
    const keyEnd = op + OP_HEADER_BYTES + opKeyLength(memory, op)
    const valueStart = opValueStart(memory, op)
    const value = this.#values.decode(memory, valueStart, op + opSizeBytes(memory, op))
    return { value, expiresAt: expiryBetween(memory, keyEnd, valueStart) }
  }
}

interface Found<V> {
  readonly value: V
  readonly expiresAt: number | undefined
}

function idOf(key: Prepared): string {
  return typeof key === 'string' ? key : toBytes(key).toString('latin1')
}

function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
