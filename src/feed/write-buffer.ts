import type { EncodedOp } from '../access/batch-encoder.js'
import { type Prepared, toBytes } from '../access/codec.js'
import { VarveError } from '../errors.js'
import { BATCH_BYTES_MAX, BATCH_OPS_MAX, OP_HEADER_BYTES } from '../key/batch-format.js'
import { isEmptyRange, type KeyRange, rangeHolds } from '../key/key-range.js'
import { type Bytes, compareBytes } from '../util/bytes.js'

/** What a transaction will write to one key; without a value it is deleted. */
export interface BufferedWrite {
  readonly key: Prepared
  readonly value: Prepared | undefined
  readonly expiresAt?: number | undefined
}

/** The writes of a transaction before they commit: of each key the last one, and the ranges that were cleared. */
export class WriteBuffer {
  readonly #writes = new Map<string, BufferedWrite>()
  readonly #clears: KeyRange[] = []
  #sizeBytes = 0

  get isEmpty(): boolean {
    return this.#writes.size === 0 && this.#clears.length === 0
  }

  /** Key and value are kept: they must not change. @throws VarveError `VARVE_LIMIT`. */
  set(key: Prepared, value: Prepared | undefined, expiresAt?: number): void {
    const id = idOf(key)
    this.#grow(OP_HEADER_BYTES + key.length + (value?.length ?? 0) - sizeOf(this.#writes.get(id)))
    this.#writes.set(id, { key, value, expiresAt })
  }

  /** @throws VarveError `VARVE_LIMIT`. */
  clear(range: KeyRange): void {
    if (isEmptyRange(range)) return
    for (const [id, write] of this.#writes) {
      if (!rangeHolds(range, toBytes(write.key))) continue
      this.#sizeBytes -= sizeOf(write)
      this.#writes.delete(id)
    }
    this.#grow(OP_HEADER_BYTES + range.start.length + (range.end?.length ?? 0))
    this.#clears.push(range)
  }

  /** What reads of the key see of this; undefined: what the store holds. */
  find(key: Prepared): BufferedWrite | undefined {
    const write = this.#writes.get(idOf(key))
    if (write || this.#clears.length === 0) return write
    return this.isCleared(toBytes(key)) ? { key, value: undefined } : undefined
  }

  isCleared(key: Bytes): boolean {
    return this.#clears.some((range) => rangeHolds(range, key))
  }

  /** The writes to keys of the range, in order. */
  inRange(range: KeyRange, isReverse: boolean): { readonly bytes: Bytes; readonly write: BufferedWrite }[] {
    const found: { bytes: Bytes; write: BufferedWrite }[] = []
    for (const write of this.#writes.values()) {
      const bytes = toBytes(write.key)
      if (rangeHolds(range, bytes)) found.push({ bytes, write })
    }
    found.sort((a, b) => (isReverse ? compareBytes(b.bytes, a.bytes) : compareBytes(a.bytes, b.bytes)))
    return found
  }

  /** Clears first: in a batch they hide only what is older than all of it. */
  ops(): EncodedOp[] {
    const ops: EncodedOp[] = this.#clears.map((range) => ({ type: 'clear', range }))
    for (const { key, value, expiresAt } of this.#writes.values()) {
      ops.push(value === undefined ? { type: 'del', key } : { type: 'put', key, value, expiresAt })
    }
    return ops
  }

  /** Bytes at the least: the batch itself is checked exactly. */
  #grow(bytes: number): void {
    const count = this.#writes.size + this.#clears.length
    if (count >= BATCH_OPS_MAX) throw limit(`a transaction has at most ${BATCH_OPS_MAX} operations`)
    if (this.#sizeBytes + bytes > BATCH_BYTES_MAX)
      throw limit(`a transaction has at most ${BATCH_BYTES_MAX} bytes`)
    this.#sizeBytes += bytes
  }
}

function sizeOf(write: BufferedWrite | undefined): number {
  return write ? OP_HEADER_BYTES + write.key.length + (write.value?.length ?? 0) : 0
}

/** One codec gives either strings or bytes: they don't mix. */
function idOf(key: Prepared): string {
  return typeof key === 'string' ? key : toBytes(key).toString('latin1')
}

function limit(message: string): VarveError {
  return new VarveError('VARVE_LIMIT', message)
}
