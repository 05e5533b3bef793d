import type { TypedStore } from '../access/typed-store.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  batchSizeBytes,
  KIND_CURSOR,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { type BatchVisitor, SMALL_BATCH_BYTES } from '../store/frame-walk.js'
import type { Store } from '../store/store.js'
import { equalRange } from '../util/bytes.js'
import { type Change, ChangeDecoder } from './change.js'
import { LogCursor } from './log-cursor.js'

/**
 * The changes after a place, a piece of the log at a time, for a consumer: batches that hold nothing but states of
 * consumers are passed over, so that one that writes down how far it is does not give itself, or another, something
 * to do. Pins nothing: the consumer's own place does.
 */
export class ConsumerFeed<K, V> {
  readonly #typed: TypedStore<K, V>
  readonly #log: LogCursor
  readonly #decoder: ChangeDecoder<K, V>
  readonly #isLive: boolean
  /** What this consumer wrote with its place is passed over too. */
  readonly #hiddenName: Buffer | undefined
  #changes: Change<K, V>[] = []
  #isStopped = false
  #wake: (() => void) | undefined

  constructor(typed: TypedStore<K, V>, after: Position, isLive: boolean, hiddenName: string | undefined) {
    this.#typed = typed
    this.#log = new LogCursor(typed.store, after)
    this.#decoder = new ChangeDecoder(typed.keys, typed.values, undefined)
    this.#isLive = isLive
    this.#hiddenName = hiddenName === undefined ? undefined : Buffer.from(hiddenName)
  }

  /** Everything up to here was given or is nothing to be given. */
  get position(): Position {
    return this.#log.position
  }

  /**
   * The next changes, none where there were only some to pass over. Undefined at the end of a feed that is not live
   * and after `stop`.
   * @throws VarveError as `Database.changes`.
   */
  async next(): Promise<readonly Change<K, V>[] | undefined> {
    const { store } = this.#typed
    if (this.#isStopped) return undefined
    throwIfDown(store)
    if (this.#log.position >= store.promisedPosition) {
      if (!this.#isLive) return undefined
      await this.#waitForMore()
      return []
    }
    this.#changes = []
    await this.#log.step(store.promisedPosition, this.#visit)
    await store.fairTurn.due()
    return this.#isStopped ? undefined : this.#changes
  }

  /** Ends a wait, and the feed. */
  stop(): void {
    this.#isStopped = true
    this.#wake?.()
  }

  /** Not while `next` runs. */
  close(): void {
    this.#isStopped = true
    this.#log.close()
  }

  readonly #visit: BatchVisitor = (position, timestamp, bytes, batchOffset) => {
    if (batchSizeBytes(bytes, batchOffset) > SMALL_BATCH_BYTES) {
      return this.#visitLarge(position, timestamp, bytes, batchOffset)
    }
    if (!isHidden(bytes, batchOffset, this.#hiddenName)) {
      this.#changes.push(this.#decoder.decode(position, timestamp, bytes, batchOffset)!)
    }
    return undefined
  }

  async #visitLarge(
    position: Position,
    timestamp: number,
    bytes: Buffer,
    batchOffset: number,
  ): Promise<void> {
    const { fairTurn } = this.#typed.store
    const change = await this.#decoder.decodeLarge(position, timestamp, bytes, batchOffset, fairTurn)
    // Sound by now: every operation was walked over.
    if (!isHidden(bytes, batchOffset, this.#hiddenName)) this.#changes.push(change!)
  }

  async #waitForMore(): Promise<void> {
    let stop: (() => void) | undefined
    try {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        stop = this.#typed.store.onCommit(resolve)
      })
    } finally {
      stop?.()
      this.#wake = undefined
    }
    // What a busy writer commits in the same turn is taken together: following it batch by batch would slow it down.
    if (!this.#isStopped) await this.#typed.store.env.clock.sleep(0)
  }
}

/** Only states of consumers, or anything beside the state of the named one. */
function isHidden(bytes: Buffer, batchOffset: number, name: Buffer | undefined): boolean {
  const count = batchOpCount(bytes, batchOffset)
  let op = batchOffset + BATCH_HEADER_BYTES
  let hasData = count === 0
  for (let i = 0; i < count; i++) {
    if (bytes[op] !== KIND_CURSOR) hasData = true
    else if (name && isOf(name, bytes, op)) return true
    op += opSizeBytes(bytes, op)
  }
  return !hasData
}

/** The place of the consumer, or one of the changes that it put aside. */
function isOf(name: Buffer, bytes: Buffer, op: number): boolean {
  const keyStart = op + OP_HEADER_BYTES
  const length = opKeyLength(bytes, op)
  if (length < name.length || !equalRange(bytes, keyStart, name, 0, name.length)) return false
  return length === name.length || bytes[keyStart + name.length] === 0
}

/** @throws VarveError what stopped the store, or `VARVE_CLOSED`. */
export function throwIfDown(store: Store): void {
  store.throwIfClosed()
  if (store.failure) throw store.failure
}
