import { Writable } from 'node:stream'
import { sizeMaxOf } from './access/codec.js'
import { Database } from './database.js'
import { VarveError } from './errors.js'
import type { Position } from './key/position.js'
import type { BatchOp, Durability } from './store/contract.js'
import { checkDurability } from './store/options.js'
import { checkOptionNames } from './util/option-names.js'

/** A batch is begun anew after so many operations, whatever their size. */
const BATCH_OPS_MAX = 10_000
const BATCH_BYTES = 1024 * 1024
const BATCH_BYTES_MAX = 512 * 1024 * 1024

/** What a `WriteStream` takes. */
export type WriteStreamOp<K, V> = BatchOp<K, V> | readonly [key: K, value: V]

/** How a `WriteStream` writes. */
export interface WriteStreamOptions {
  /**
   * A batch is committed once keys and values take about so many bytes, and whenever nothing more has come within a
   * turn of the event loop. Default 1 MiB. At most two batches are in memory.
   */
  readonly batchBytes?: number
  /** What each batch waits for; default: the store's. */
  readonly durability?: Durability
  /** Destroys the stream: what is not committed by then is not written. */
  readonly signal?: AbortSignal | undefined
}

/**
 * A stream to write much into a store, with backpressure: of `[key, value]`, as `entries()` gives, or of operations,
 * as `batch` takes, in the store's encodings. In order; each batch is atomic, the whole is not. `finish` means that
 * all of it is committed as durably as was asked, `position` then is the last one. An error of the store, or an
 * operation that it does not take, destroys the stream: `position` tells how far it came. `close` comes after the
 * last commit has ended. Keys and values must stay as they are once they were written to it. For a Web stream: `Writable.toWeb(writeStream(db))`.
 *
 * Reading needs no function of its own: `Readable.from(db.entries(range))` and `ReadableStream.from(db.changes())`
 * read at the pace of whoever takes from them, and close the iterator, and with it what it pins, when they end, are
 * destroyed or cancelled.
 *
 * @throws VarveError `VARVE_INVALID_ARGUMENT`.
 */
export function writeStream<K, V>(db: Database<K, V>, options: WriteStreamOptions = {}): WriteStream<K, V> {
  return new WriteStream(db, options)
}

/** See `writeStream`. */
export class WriteStream<K, V> extends Writable {
  readonly #db: Database<K, V>
  readonly #batchBytes: number
  readonly #durability: Durability | undefined
  #ops: BatchOp<K, V>[] = []
  #bytes = 0
  #position: Position = 0
  #opsWritten = 0
  #isFlushDue = false
  /** The batch that is being committed; never rejects. */
  #committing: Promise<void> | undefined

  /** Use `writeStream`. */
  constructor(db: Database<K, V>, options: WriteStreamOptions) {
    if (!(db instanceof Database)) throw invalid('writeStream takes an open store')
    checkOptionNames('writeStream', options, { batchBytes: true, durability: true, signal: true })
    const { batchBytes = BATCH_BYTES, durability, signal } = options
    if (!(Number.isInteger(batchBytes) && batchBytes >= 1 && batchBytes <= BATCH_BYTES_MAX))
      throw invalid(`batchBytes is a whole number from 1 to ${BATCH_BYTES_MAX}`)
    if (durability !== undefined) checkDurability(durability)
    super({ objectMode: true, ...(signal && { signal }) })
    this.#db = db
    this.#batchBytes = batchBytes
    this.#durability = durability
  }

  /** The position of the last batch that was committed; 0 before the first. */
  get position(): Position {
    return this.#position
  }

  /** How many operations were committed. */
  get opsWritten(): number {
    return this.#opsWritten
  }

  override _write(chunk: unknown, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    try {
      const op = toOp<K, V>(chunk)
      this.#bytes += this.#sizeOf(op)
      this.#ops.push(op)
    } catch (error) {
      callback(error as Error)
      return
    }
    if (this.#bytes < this.#batchBytes && this.#ops.length < BATCH_OPS_MAX) {
      this.#flushSoon()
      callback()
      return
    }
    // One batch is being committed while the next one is gathered; more wait.
    void this.#settled().then(() => {
      this.#commit()
      callback()
    })
  }

  override _final(callback: (error?: Error | null) => void): void {
    void this.#settled()
      .then(() => {
        this.#commit()
        return this.#settled()
      })
      // What failed has destroyed the stream.
      .then(() => callback(this.errored))
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#ops = []
    void this.#settled().then(() => callback(error))
  }

  /** A producer that pauses must not keep back what it has written. */
  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    void this.#flush()
  }

  async #flush(): Promise<void> {
    await Database.typedStoreOf(this.#db).store.env.clock.sleep(0)
    do {
      await this.#settled()
      // Whoever waited for the same may have begun the next one.
      this.#commit()
    } while (this.#ops.length > 0 && !this.destroyed)
    this.#isFlushDue = false
  }

  /** Until no batch is being committed, at the moment it resolves. */
  async #settled(): Promise<void> {
    while (this.#committing) await this.#committing
  }

  #commit(): void {
    if (this.#ops.length === 0 || this.destroyed || this.#committing) return
    const ops = this.#ops
    this.#ops = []
    this.#bytes = 0
    const options = this.#durability === undefined ? {} : { durability: this.#durability }
    this.#committing = this.#db
      .batch(ops, options)
      .then(
        (position) => {
          this.#position = position
          this.#opsWritten += ops.length
        },
        (error: Error) => {
          this.destroy(error)
        },
      )
      .finally(() => {
        this.#committing = undefined
      })
  }

  #sizeOf(op: BatchOp<K, V>): number {
    const { keys, values } = Database.typedStoreOf(this.#db)
    const keyBytes = sizeMaxOf(keys.prepare(op.key))
    return op.type === 'put' ? keyBytes + sizeMaxOf(values.prepare(op.value)) : keyBytes
  }
}

function toOp<K, V>(chunk: unknown): BatchOp<K, V> {
  if (Array.isArray(chunk) && chunk.length === 2)
    return { type: 'put', key: chunk[0] as K, value: chunk[1] as V }
  const op = chunk as BatchOp<K, V>
  if (op.type === 'put' || op.type === 'del') return op
  throw invalid("a write stream takes [key, value] or operations of type 'put' and 'del'")
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
