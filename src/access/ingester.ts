import { VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  BATCH_OPS_MAX,
  KIND_PUT,
  OP_HEADER_BYTES,
  writeBatchHeader,
  writeOpHeader,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { Durability } from '../store/contract.js'
import { cloneBytes, compareRanges, copyBytes } from '../util/bytes.js'
import { checkKey, checkValue } from './batch-encoder.js'
import { sizeMaxOf, writePrepared } from './codec.js'
import type { TypedStore } from './typed-store.js'

/** Batches that are on their way at once: the next is filled while the last is written. */
const IN_FLIGHT_MAX = 4
/** Entries between two looks at the clock. */
const CHECK_EVERY = 128

export interface IngesterOptions<K> {
  readonly isSorted: boolean
  readonly batchBytes: number
  readonly durability: Durability | undefined
  /** After each batch that was committed; what it throws ends the work. */
  readonly onCommitted: (entries: number, bytes: number, position: Position, lastKey: () => K) => void
}

interface Written {
  readonly promise: Promise<Position>
  readonly entries: number
  readonly bytes: number
  readonly lastKey: Buffer
}

/** Puts of many entries as batches of bounded size: each is encoded once, checked where it stands, and copied into the log. */
export class Ingester<K, V> {
  readonly #typed: TypedStore<K, V>
  readonly #options: IngesterOptions<K>
  #memory: Buffer
  #end = 0
  #count = 0
  /** The key before the one that comes next stands here. */
  #keyMemory: Buffer
  #keyStart = 0
  #keyEnd = 0
  #hasKey = false
  /** Counted from the start. */
  #entries = 0
  #bytes = 0
  readonly #inFlight: Written[] = []

  constructor(typed: TypedStore<K, V>, options: IngesterOptions<K>) {
    this.#typed = typed
    this.#options = options
    this.#memory = Buffer.allocUnsafeSlow(options.batchBytes)
    this.#keyMemory = this.#memory
  }

  // Hot: every entry. What it is given may be reused once it returns.
  /** A wait before the next entry; undefined: none. @throws VarveError `VARVE_INVALID_ARGUMENT`, `VARVE_LIMIT`. */
  add(key: K, value: V): Promise<void> | undefined {
    const preparedKey = checkKey(this.#typed.keys.prepare(key))
    const preparedValue = checkValue(this.#typed.values.prepare(value))
    const sizeMax = OP_HEADER_BYTES + sizeMaxOf(preparedKey) + sizeMaxOf(preparedValue)
    const isFull = this.#end + sizeMax > this.#memory.length || this.#count === BATCH_OPS_MAX
    const wait = isFull ? this.#commit(sizeMax) : undefined
    const memory = this.#memory
    const at = this.#end
    const keyStart = at + OP_HEADER_BYTES
    const keyEnd = writePrepared(preparedKey, memory, keyStart)
    const end = writePrepared(preparedValue, memory, keyEnd)
    writeOpHeader(memory, at, KIND_PUT, keyEnd - keyStart, end - keyEnd)
    if (this.#options.isSorted) this.#checkOrder(memory, keyStart, keyEnd)
    this.#keyMemory = memory
    this.#keyStart = keyStart
    this.#keyEnd = keyEnd
    this.#hasKey = true
    this.#end = end
    this.#count++
    this.#entries++
    return wait ?? (this.#entries % CHECK_EVERY === 0 ? this.#typed.store.fairTurn.due() : undefined)
  }

  /** Commits what is left and waits for all of it. */
  async finish(): Promise<void> {
    if (this.#count > 0) await this.#commit(0)
    while (this.#inFlight.length > 0) await this.#settleOne()
  }

  #checkOrder(memory: Buffer, keyStart: number, keyEnd: number): void {
    if (!this.#hasKey) return
    const order = compareRanges(this.#keyMemory, this.#keyStart, this.#keyEnd, memory, keyStart, keyEnd)
    if (order < 0) return
    const what = order === 0 ? 'has the same key as' : 'sorts before'
    throw new VarveError('VARVE_INVALID_ARGUMENT', `entry ${this.#entries} ${what} the one before it`)
  }

  /** Hands what was gathered to the log, at once, and makes room for `sizeMax` bytes. */
  #commit(sizeMax: number): Promise<void> | undefined {
    if (this.#count > 0) this.#append()
    const { batchBytes } = this.#options
    if (sizeMax > this.#memory.length || (this.#memory.length > batchBytes && sizeMax <= batchBytes))
      this.#memory = Buffer.allocUnsafeSlow(Math.max(batchBytes, sizeMax))
    if (this.#inFlight.length === 0) return undefined
    const wait = this.#pace()
    // The caller may fail before it comes to wait.
    wait.catch(() => {})
    return wait
  }

  #append(): void {
    const { pipeline } = this.#typed.store
    const size = BATCH_HEADER_BYTES + this.#end
    const start = pipeline.begin(size)
    copyBytes(this.#memory, 0, this.#end, pipeline.memory, start + BATCH_HEADER_BYTES)
    writeBatchHeader(pipeline.memory, start, this.#count, this.#end)
    const promise = pipeline.append(start, start + size, this.#options.durability)
    // Awaited later; a failure of one is a failure of all that follow.
    promise.catch(() => {})
    this.#bytes += this.#end
    const lastKey = cloneBytes(this.#keyMemory, this.#keyStart, this.#keyEnd)
    this.#inFlight.push({ promise, entries: this.#entries, bytes: this.#bytes, lastKey })
    this.#keyMemory = lastKey
    this.#keyStart = 0
    this.#keyEnd = lastKey.length
    this.#end = 0
    this.#count = 0
  }

  async #pace(): Promise<void> {
    while (this.#inFlight.length >= IN_FLIGHT_MAX) await this.#settleOne()
    await this.#typed.store.fairTurn.due()
  }

  async #settleOne(): Promise<void> {
    const { promise, entries, bytes, lastKey } = this.#inFlight.shift()!
    const position = await promise
    const decode = () => this.#typed.keys.decode(lastKey, 0, lastKey.length)
    this.#options.onCommitted(entries, bytes, position, decode)
  }
}
