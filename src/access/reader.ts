import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { BlockLoads } from '../segment/block-loads.js'
import { BLOCKING, BlockNeeded, ReadContext } from '../segment/read-context.js'
import type { Entry, ReadOptions, Snapshot } from '../store/contract.js'
import type { Store } from '../store/store.js'
import { Lookup } from '../tree/tree-view.js'
import { abortedError, onAbort, throwIfAborted } from '../util/abort.js'
import { asBuffer } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { checkKey } from './batch-encoder.js'
import { type Codec, type Prepared, sizeMaxOf, writePrepared } from './codec.js'
import { positionOf } from './snapshot.js'

/** Reads between two looks at the clock. */
const CHECK_EVERY = 64
/** Keys whose rows are fetched together. */
const FETCHED_TOGETHER = 16
/** To hash a longer key twice costs as much as that may save. */
const FETCHED_KEY_MAX = 128

/** Point reads: from memory or a quick disk without waiting, else after the blocks were loaded. */
export class PointReader<K, V> {
  readonly #store: Store
  readonly #keys: Codec<K>
  readonly #values: Codec<V>
  readonly #lookup: Lookup
  /** For what is not about the value. */
  readonly #keyLookup: Lookup
  readonly #quick = new ReadContext(false)
  #count = 0
  #scratch = Buffer.allocUnsafeSlow(1024)
  readonly #hashes = new Uint32Array(FETCHED_TOGETHER)

  constructor(store: Store, keys: Codec<K>, values: Codec<V>) {
    this.#store = store
    this.#keys = keys
    this.#values = values
    const rows = values.givesViews ? undefined : store.tree.rows
    this.#lookup = new Lookup(rows)
    this.#keyLookup = new Lookup(rows, false)
  }

  // Hot (bench/read.bench.js).
  getSync(key: K, snapshot: Snapshot | undefined): V | undefined {
    this.#store.throwIfClosed()
    const found = this.#find(this.#keys.prepare(key), positionOf(this.#store, snapshot), BLOCKING)
    return found ? this.#value() : undefined
  }

  /** The key's current entry, at once. Blocks the thread. */
  findNow<R>(key: K, decode: (lookup: Lookup) => R): R | undefined {
    this.#store.throwIfClosed()
    const found = this.#find(this.#keys.prepare(key), this.#store.position, BLOCKING)
    return found ? decode(this.#lookup) : undefined
  }

  /** As `findNow`, for what is known without the value: when the entry was written, and when it expires. */
  findKeyNow<R>(key: K, decode: (lookup: Lookup) => R): R | undefined {
    this.#store.throwIfClosed()
    const position = this.#store.position
    const found = this.#find(this.#keys.prepare(key), position, BLOCKING, this.#keyLookup)
    return found ? decode(this.#keyLookup) : undefined
  }

  /** Whether there is an entry; its value is not read where it stands apart. */
  async has(key: K, snapshot: Snapshot | undefined): Promise<boolean> {
    this.#store.throwIfClosed()
    const prepared = keptKey(this.#keys.prepare(key))
    const context = new ReadContext(false)
    for (;;) {
      try {
        const found = this.#find(prepared, positionOf(this.#store, snapshot), context, this.#keyLookup)
        if (++this.#count % CHECK_EVERY === 0) await this.#store.fairTurn.due()
        return found
      } catch (error) {
        if (!(error instanceof BlockNeeded)) throw error
        await context.load(error)
        this.#store.throwIfClosed()
      }
    }
  }

  // Hot (bench/read.bench.js).
  /** @param decode reads what was found out of `lookup`. */
  get<R>(key: K, snapshot: Snapshot | undefined, decode: (lookup: Lookup) => R): Promise<R | undefined> {
    try {
      this.#store.throwIfClosed()
      const prepared = this.#keys.prepare(key)
      const position = positionOf(this.#store, snapshot)
      try {
        const value = this.#find(prepared, position, this.#quick) ? decode(this.#lookup) : undefined
        if (++this.#count % CHECK_EVERY !== 0) return Promise.resolve(value)
        const turn = this.#store.fairTurn.due()
        return turn ? turn.then(() => value) : Promise.resolve(value)
      } catch (error) {
        if (!(error instanceof BlockNeeded)) throw error
        return this.#getSlow(keptKey(prepared), snapshot, decode, error)
      }
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The value at once where no block has to be waited for, else a promise of it. For loops that watch the clock. */
  read(key: K): V | undefined | Promise<V | undefined> {
    this.#store.throwIfClosed()
    const prepared = this.#keys.prepare(key)
    try {
      return this.#find(prepared, this.#store.position, this.#quick) ? this.#value() : undefined
    } catch (error) {
      if (!(error instanceof BlockNeeded)) throw error
      const kept = typeof prepared === 'string' ? prepared : Buffer.from(prepared)
      return this.#getSlow(kept, undefined, this.decodeValue, error)
    }
  }

  readonly decodeValue = (lookup: Lookup): V => {
    const { bytes, valueStart, valueEnd } = lookup
    // A value that stood apart has memory of its own, that nobody else has.
    if (lookup.reference && this.#values.decodeOwn)
      return this.#values.decodeOwn(bytes as Buffer, valueStart, valueEnd)
    return this.#values.decode(bytes as Buffer, valueStart, valueEnd)
  }

  readonly decodeEntry = (lookup: Lookup): Entry<V> => {
    const { position, expiresAt } = lookup
    const entry = { value: this.decodeValue(lookup), position }
    return expiresAt === undefined ? entry : { ...entry, expiresAt }
  }

  async getMany(keys: readonly K[], snapshot: Snapshot | undefined): Promise<(V | undefined)[]> {
    if (!Array.isArray(keys)) throw new VarveError('VARVE_INVALID_ARGUMENT', 'getMany takes an array of keys')
    const store = this.#store
    store.throwIfClosed()
    // The same position for all of them, whatever is written while a block is waited for.
    const position = positionOf(store, snapshot)
    const { isDirect } = this.#keys
    // What an encoding of the user's gives may be one buffer for all.
    const prepared = keys.map((key) =>
      isDirect ? this.#keys.prepare(key) : keptKey(this.#keys.prepare(key)),
    )
    // Callers may change their buffers as soon as the call returned, which it does with the first wait.
    let isKept = !isDirect
    const keepKeys = () => {
      for (let i = 0; i < prepared.length && !isKept; i++) prepared[i] = keptKey(prepared[i]!)
      isKept = true
    }
    const values: (V | undefined)[] = new Array(keys.length)
    const context = new ReadContext(false)
    const loads = new BlockLoads(context)
    store.tree.pin(position)
    try {
      // Those that a block is waited for, and then only they: a slow disk is asked for many blocks at once.
      for (let left: number[] | undefined; ; ) {
        const waiting: number[] = []
        const count = left?.length ?? prepared.length
        for (let n = 0; n < count; n++) {
          const i = left ? left[n]! : n
          if (!left && n % FETCHED_TOGETHER === 0) this.#fetchRows(prepared, n)
          try {
            values[i] = this.#find(prepared[i]!, position, context) ? this.#value() : undefined
          } catch (error) {
            if (!(error instanceof BlockNeeded)) throw error
            waiting.push(i)
            keepKeys()
            loads.add(error)
            if (!loads.isFull) continue
            await loads.done()
            store.throwIfClosed()
          }
          const isDue = (n + 1) % CHECK_EVERY === 0 || n + 1 === count
          const turn = isDue ? store.fairTurn.due() : undefined
          if (!turn) continue
          keepKeys()
          await turn
          store.throwIfClosed()
        }
        left = waiting
        if (left.length === 0) break
        await loads.done()
        store.throwIfClosed()
      }
      return values
    } finally {
      store.tree.unpin(position)
    }
  }

  /** The position of the key's current entry; null if there is none. Blocks the thread. */
  currentPosition(key: K): Position | null {
    return this.findKeyNow(key, ({ position }) => position) ?? null
  }

  /** Waits until the store has reached the position that a read asks for. */
  async reach(options: ReadOptions): Promise<void> {
    const { atLeast, timeoutMs, signal } = options
    checkReach(options)
    throwIfAborted(signal, 'the wait')
    this.#store.throwIfClosed()
    if (atLeast === undefined || this.#store.position >= atLeast) return
    // What is read only stays as it is: there is nothing to wait for.
    if (this.#store.options.readOnly) throw timeout(this.#store.position, atLeast)
    await new Promise<void>((resolve, reject) => {
      let cancelTimer: (() => void) | undefined
      const end = () => {
        stop()
        forgetSignal()
        cancelTimer?.()
      }
      const stop = this.#store.onCommit(() => {
        if (this.#store.position < atLeast && !this.#store.isClosed) return
        end()
        resolve()
      })
      const forgetSignal = onAbort(signal, () => {
        end()
        reject(abortedError(signal!, 'the wait'))
      })
      if (timeoutMs === undefined) return
      cancelTimer = this.#store.env.clock.after(timeoutMs, () => {
        end()
        reject(timeout(this.#store.position, atLeast))
      })
    })
  }

  reachNow(options: ReadOptions): void {
    checkReach(options)
    const { position } = this.#store
    if (options.atLeast !== undefined && position < options.atLeast) throw timeout(position, options.atLeast)
  }

  async #getSlow<R>(
    key: Prepared,
    snapshot: Snapshot | undefined,
    decode: (lookup: Lookup) => R,
    needed: BlockNeeded,
  ): Promise<R | undefined> {
    const context = new ReadContext(false)
    for (let next = needed; ; ) {
      await context.load(next)
      this.#store.throwIfClosed()
      try {
        const position = positionOf(this.#store, snapshot)
        return this.#find(key, position, context) ? decode(this.#lookup) : undefined
      } catch (error) {
        if (!(error instanceof BlockNeeded)) throw error
        next = error
      }
    }
  }

  /** Has the rows of the next keys come from memory together, before they are looked at one by one. */
  #fetchRows(keys: readonly Prepared[], first: number): void {
    const { rows } = this.#lookup
    const last = Math.min(first + FETCHED_TOGETHER, keys.length)
    if (!rows || rows.isUnused || last - first < 2) return
    let count = 0
    for (let i = first; i < last; i++) {
      const key = keys[i]!
      if (key.length > FETCHED_KEY_MAX) continue
      this.#hashes[count++] = this.#hashOf(key)
    }
    rows.fetch(this.#hashes, count)
  }

  #hashOf(key: Prepared): number {
    if (typeof key !== 'string') return hashKey(asBuffer(key), 0, key.length)
    const end = this.#encode(key)
    return hashKey(this.#scratch, 0, end)
  }

  #find(key: Prepared, position: Position, context: ReadContext, lookup = this.#lookup): boolean {
    checkKey(key)
    const { view } = this.#store.tree
    if (typeof key !== 'string') {
      const bytes = asBuffer(key)
      const hash = hashKey(bytes, 0, bytes.length)
      return view.find(bytes, 0, bytes.length, hash, position, context, lookup)
    }
    const end = this.#encode(key)
    return view.find(this.#scratch, 0, end, hashKey(this.#scratch, 0, end), position, context, lookup)
  }

  /** Writes it to the scratch and returns its end. */
  #encode(key: string): number {
    const sizeMax = sizeMaxOf(key)
    if (sizeMax > this.#scratch.length) this.#scratch = Buffer.allocUnsafeSlow(sizeMax * 2)
    return writePrepared(key, this.#scratch, 0)
  }

  #value(): V {
    return this.decodeValue(this.#lookup)
  }
}

function keptKey(key: Prepared): Prepared {
  return typeof key === 'string' ? key : Buffer.from(key)
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` for an `atLeast` or a `timeoutMs` that is none. */
export function checkReach({ atLeast, timeoutMs }: ReadOptions): void {
  const isPosition = atLeast === undefined || (Number.isSafeInteger(atLeast) && atLeast >= 0)
  if (!isPosition) throw new VarveError('VARVE_INVALID_ARGUMENT', 'atLeast is a position')
  const isTime = timeoutMs === undefined || (typeof timeoutMs === 'number' && timeoutMs >= 0)
  if (!isTime) throw new VarveError('VARVE_INVALID_ARGUMENT', 'timeoutMs is a number of milliseconds')
}

function timeout(position: Position, atLeast: Position): VarveError {
  return new VarveError('VARVE_TIMEOUT', `the store is at position ${position}, not yet at ${atLeast}`, {
    position,
  })
}
