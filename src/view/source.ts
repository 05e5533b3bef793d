import type { StoreRangeIterator } from '../access/range-iterator.js'
import { StoreSnapshot } from '../access/snapshot.js'
import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import { type Change, ChangeDecoder, type ClearOp, putOp } from '../feed/change.js'
import { LogCursor } from '../feed/log-cursor.js'
import { batchSizeBytes } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { BatchOp, Range } from '../store/contract.js'
import { successor } from '../util/bytes.js'
import type { RawEntry } from './merged-range.js'
import { rangeAfter, rawEntries } from './raw-range.js'
import type { SnapshotPart } from './record.js'

/** Entries and bytes of one change that a snapshot is made into. */
const CHANGE_OPS_MAX = 256
const CHANGE_BYTES_MAX = 64 * 1024
/** Batches larger than this are decoded in slices: less takes about a millisecond. */
const BATCH_BYTES_AT_ONCE = 128 * 1024

/** Where a source stands: what is to be written down with the output. */
export interface SourcePlace {
  readonly position: Position
  readonly parts: readonly SnapshotPart[]
}

/**
 * The changes that a view is made of: the log from a position on, or first a snapshot as changes made of puts. A
 * snapshot that was left in the middle is gone after a restart. What was read of it stays, the rest is read from a
 * new one, and of the changes between the two only what touches keys of the first is shown: each key is shown as
 * it was at one position and then with every later change, once.
 */
export class ChangeSource<K, V> {
  readonly #main: TypedStore<K, V>
  readonly #decoder: ChangeDecoder<K, V>
  #position: Position
  #parts: SnapshotPart[]
  #cursor: LogCursor
  #snapshot: { readonly pin: StoreSnapshot; readonly entries: StoreRangeIterator<RawEntry> } | undefined
  #ready: Change<K, V>[] = []
  #next = 0

  constructor(main: TypedStore<K, V>, place: SourcePlace) {
    this.#main = main
    this.#decoder = new ChangeDecoder(main.keys, main.values, undefined)
    this.#position = place.position
    this.#parts = [...place.parts]
    this.#cursor = new LogCursor(main.store, place.position)
  }

  get isSnapshot(): boolean {
    const last = this.#parts[this.#parts.length - 1]
    return last !== undefined && !last.isDone
  }

  /** After the changes that were given so far. */
  get place(): SourcePlace {
    return { position: this.#position, parts: this.#parts }
  }

  /** The next change, if it is there without waiting. */
  peek(): Change<K, V> | undefined {
    return this.#ready[this.#next]
  }

  /** The change that `peek` gave was taken in. */
  take(): void {
    const change = this.#ready[this.#next++]!
    this.#position = change.position
    const last = this.#parts[this.#parts.length - 1]
    if (last && change.position >= last.at) this.#parts = []
  }

  /** Makes `peek` give some of the changes up to `limit`, if there are any. */
  async load(limit: Position): Promise<void> {
    this.#ready = []
    this.#next = 0
    if (this.#position >= limit) return
    const { store } = this.#main
    await this.#cursor.step(limit, (position, timestamp, bytes, batchOffset) => {
      const upTo = this.#coveredAt(position)
      const decoder = upTo ? this.#decoderUpTo(upTo) : this.#decoder
      if (batchSizeBytes(bytes, batchOffset) > BATCH_BYTES_AT_ONCE) {
        const decoding = decoder.decodeLarge(position, timestamp, bytes, batchOffset, store.fairTurn)
        return decoding.then((change) => this.#add(position, timestamp, change, upTo))
      }
      this.#add(position, timestamp, decoder.decode(position, timestamp, bytes, batchOffset), upTo)
      return undefined
    })
  }

  /** The next piece of the snapshot as a change; undefined once it is read. */
  async nextOfSnapshot(): Promise<Change<K, V> | undefined> {
    const { entries, pin } = this.#snapshot ?? (await this.#openSnapshot())
    const { keys, values, store } = this.#main
    const ops: BatchOp<K, V>[] = []
    let bytes = 0
    let last: Buffer | undefined
    while (ops.length < CHANGE_OPS_MAX && bytes < CHANGE_BYTES_MAX) {
      const { value: entry, done } = await entries.next()
      if (done) break
      const { key, value, expiresAt } = entry as RawEntry & { readonly key: Buffer; readonly value: Buffer }
      const decoded = values.decode(value, 0, value.length)
      ops.push(putOp(keys.decode(key, 0, key.length), decoded, expiresAt))
      bytes += key.length + value.length
      last = key
    }
    const isDone = last === undefined
    const upTo = isDone ? undefined : last!.toString('hex')
    this.#parts[this.#parts.length - 1] = { at: pin.position, isDone, ...(isDone ? {} : { upTo }) }
    if (isDone) {
      await this.#closeSnapshot()
      // One part is the whole: the log goes on from there.
      if (this.#parts.length === 1) this.#parts = []
      return undefined
    }
    return { position: pin.position, timestamp: store.env.clock.wallMs(), ops }
  }

  #add(
    position: Position,
    timestamp: number,
    change: Change<K, V> | undefined,
    upTo: Buffer | undefined,
  ): void {
    if (!upTo && change) {
      this.#ready.push(change)
      return
    }
    const ops = change?.ops.map((op) => (op.type === 'clear' ? this.#clip(op, upTo!) : op)) ?? []
    this.#ready.push({ position, timestamp, ops })
  }

  #decoderUpTo(upTo: Buffer): ChangeDecoder<K, V> {
    const { keys, values } = this.#main
    return new ChangeDecoder(keys, values, { start: Buffer.alloc(0), end: successor(upTo) })
  }

  async close(): Promise<void> {
    this.#cursor.close()
    await this.#closeSnapshot()
  }

  async #openSnapshot() {
    const { store } = this.#main
    store.throwIfClosed()
    const pin = new StoreSnapshot(store)
    const last = this.#parts[this.#parts.length - 1]
    const after = last?.upTo === undefined ? undefined : Buffer.from(last.upTo, 'hex')
    const entries = rawEntries(store, rangeAfter(after), false, pin.position)
    this.#snapshot = { pin, entries }
    if (after) {
      this.#parts[this.#parts.length - 1] = { ...last!, isDone: true }
      this.#parts.push({ at: pin.position, upTo: last!.upTo, isDone: false })
    } else {
      this.#parts = [{ at: pin.position, isDone: false }]
      this.#position = pin.position
      this.#cursor.close()
      this.#cursor = new LogCursor(store, pin.position)
    }
    return this.#snapshot
  }

  async #closeSnapshot(): Promise<void> {
    const snapshot = this.#snapshot
    this.#snapshot = undefined
    await snapshot?.entries.close()
    snapshot?.pin.close()
  }

  /** The last key of the parts that do not hold the change at `position` yet; undefined: it is all new. */
  #coveredAt(position: Position): Buffer | undefined {
    const last = this.#parts[this.#parts.length - 1]
    if (!last || position > last.at) return undefined
    const older = this.#parts.filter((part) => part.at < position)
    const upTo = older[older.length - 1]?.upTo
    if (upTo === undefined) throw new VarveError('VARVE_CORRUPTION', 'a view whose snapshot has no start')
    return Buffer.from(upTo, 'hex')
  }

  /** Keys after `upTo` are as they were after the clear already. */
  #clip(op: ClearOp<K>, upTo: Buffer): ClearOp<K> {
    const end = successor(upTo)
    if (op.end && op.end.compare(end) <= 0) return op
    const { prefix, gt, gte } = op.range
    const lower: Range<K> =
      prefix !== undefined ? { gte: prefix } : gt !== undefined ? { gt } : gte !== undefined ? { gte } : {}
    const lte = this.#main.keys.decode(upTo, 0, upTo.length)
    return { type: 'clear', range: { ...lower, lte }, start: op.start, end }
  }
}
