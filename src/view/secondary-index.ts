import { VarveError } from '../errors.js'
import type { Change } from '../feed/change.js'
import type { Position } from '../key/position.js'
import { copyBytes } from '../util/bytes.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import type { ViewDefinition, ViewReadOptions } from './contract.js'
import {
  afterIndexKey,
  type BytesState,
  type Derived,
  decodeDerived,
  decodeIndexKey,
  derivedKey,
  encodeIndexKey,
  entryKey,
  type IndexKey,
  noteClear,
  readClears,
  replaceDerived,
  stampOf,
  sweepCleared,
} from './derived-entries.js'
import { ViewAccess } from './reads.js'
import type { Versions } from './versions.js'

const NO_PAYLOAD = Buffer.alloc(0)

/** How entries are found by something in them. */
export interface SecondaryIndexOptions<K, V, I extends IndexKey = IndexKey> {
  /** As in `ViewDefinition`: another one builds the index anew. */
  readonly version: number | string
  /**
   * What an entry is found by: one key, a list of keys, or undefined for an entry that is in the index not at all.
   * A key that is made of parts stands in a list: `[[country, city]]`. Must depend on nothing but its arguments.
   * `expiresAt`: when the entry expires, in milliseconds since the epoch, if it does.
   */
  key(entryKey: K, value: V, expiresAt?: number): I | readonly I[] | undefined
  /** As in `ViewDefinition`. */
  readonly from?: 'start' | 'snapshot' | undefined
  /** As in `ViewDefinition`. */
  readonly memory?: number | undefined
  /** As in `ViewDefinition`. */
  readonly keepPrevious?: boolean | undefined
}

const OPTION_NAMES: OptionNames<SecondaryIndexOptions<unknown, unknown>> = {
  version: true,
  key: true,
  from: true,
  memory: true,
  keepPrevious: true,
}

/** How `find` goes about it. */
export interface FindOptions extends ViewReadOptions {
  /** At most so many; default: all. */
  readonly limit?: number | undefined
}

/** A range of index keys; of keys made of parts too. */
export interface IndexRange<I> extends FindOptions {
  /** Above this index key. */
  readonly gt?: I | undefined
  /** From this index key on. */
  readonly gte?: I | undefined
  /** Below this index key. */
  readonly lt?: I | undefined
  /** Up to this index key. */
  readonly lte?: I | undefined
  /** Last one first; default false. */
  readonly reverse?: boolean | undefined
}

const FIND_NAMES: OptionNames<FindOptions> = { limit: true, atLeast: true, timeoutMs: true, signal: true }
const RANGE_NAMES: OptionNames<IndexRange<unknown>> = {
  ...FIND_NAMES,
  gt: true,
  gte: true,
  lt: true,
  lte: true,
  reverse: true,
}

/** What an index adds to its view. */
export interface IndexReads<K, I> {
  /** The keys of the entries with this index key, in their own order, as they are at one position. */
  find(indexKey: I, options?: FindOptions): Promise<K[]>
  /** Index keys with keys of entries, in order of the index keys. Pins what it reads until it ends or `return`. */
  range(range?: IndexRange<I>): AsyncIterableIterator<[I, K]>
}

type IndexState<K, I> = BytesState<K> & { readonly reads?: IndexReads<K, I> }

/**
 * An index over what `key` gives: `db.view('byCity', secondaryIndex({ version: 1, key: (_, user) => user.city }))`.
 * Right after overwrites, deletes and clears of any size; a clear costs the same however much it covers.
 */
export function secondaryIndex<K = string, V = string, I extends IndexKey = IndexKey>(
  options: SecondaryIndexOptions<K, V, I>,
): ViewDefinition<K, V, IndexState<K, I>> {
  checkOptionNames('secondaryIndex', options, OPTION_NAMES)
  const { version, key, from, memory, keepPrevious } = options
  if (typeof key !== 'function') throw new VarveError('VARVE_INVALID_ARGUMENT', 'an index has a function key')
  return {
    ...{ version, from, memory, keepPrevious },
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    apply: (change, state) => applyFrom(change, state, 0, key.bind(options) as KeyFunction),
    hooks: {
      tidy: (state: never) => sweepCleared(state),
      reads: (versions: never) => indexReads<K, I>(versions),
    },
  }
}

type KeyFunction = (
  key: unknown,
  value: unknown,
  expiresAt: number | undefined,
) => IndexKey | readonly IndexKey[] | undefined

// Hot: every change (bench/view.bench.js). Without an await where nothing has to be waited for.
function applyFrom(
  change: Change<unknown, unknown>,
  state: BytesState,
  from: number,
  key: KeyFunction,
): void | Promise<void> {
  const { ops, position } = change
  // Only a clear changes them, and after one this begins again.
  const clears = readClears(state)
  if (clears instanceof Promise) return clears.then(() => applyFrom(change, state, from, key))
  const hasClears = clears.all.length > 0
  for (let i = from; i < ops.length; i++) {
    const op = ops[i]!
    if (op.type === 'clear') {
      return noteClear(state, op, position).then(() => applyFrom(change, state, i + 1, key))
    }
    const mainKey = state.encodeKey(op.key)
    const parts = op.type === 'put' ? partsOf(key(op.key, op.value, op.expiresAt), mainKey) : undefined
    const before = state.read(entryKey(mainKey))
    if (before instanceof Promise) {
      return before.then((bytes) => {
        write(state, mainKey, bytes, parts, position, hasClears)
        return applyFrom(change, state, i + 1, key)
      })
    }
    write(state, mainKey, before, parts, position, hasClears)
  }
}

function write(
  state: BytesState,
  mainKey: Buffer,
  before: Buffer | undefined,
  parts: readonly Buffer[] | undefined,
  position: Position,
  hasClears: boolean,
): void {
  const after: Derived | undefined =
    parts && parts.length > 0 ? { stamp: position, payload: NO_PAYLOAD, parts } : undefined
  replaceDerived(state, mainKey, before && decodeDerived(before), after, hasClears)
}

function partsOf(keys: ReturnType<KeyFunction>, mainKey: Buffer): Buffer[] {
  if (keys === undefined) return []
  if (!Array.isArray(keys)) return [partOf(keys as IndexKey, mainKey)]
  const parts = new Map<string, Buffer>()
  for (const key of keys as readonly IndexKey[]) {
    const part = partOf(key, mainKey)
    parts.set(part.toString('latin1'), part)
  }
  return [...parts.values()]
}

function partOf(key: IndexKey, mainKey: Buffer): Buffer {
  const encoded = encodeIndexKey(key)
  const part = Buffer.allocUnsafe(encoded.length + mainKey.length)
  copyBytes(encoded, 0, encoded.length, part, 0)
  copyBytes(mainKey, 0, mainKey.length, part, encoded.length)
  return part
}

function indexReads<K, I>(versions: Versions): IndexReads<K, I> {
  const access = new ViewAccess<K>(versions)
  async function* range(given: IndexRange<I> = {}): AsyncGenerator<[I, K]> {
    checkOptionNames('a range', given, RANGE_NAMES)
    const { limit = Number.POSITIVE_INFINITY, reverse = false } = given
    const bounds = boundsOf(given)
    const { sight, close } = await access.open(given)
    const entries = sight.entries({ ...bounds, reverse })
    try {
      for (let left = limit; left > 0; ) {
        const { value: entry, done } = await entries.next()
        if (done) return
        const [bytes, stamp] = entry as [Buffer, Buffer]
        const { key, end } = decodeIndexKey(bytes, 1)
        if (sight.clears.hide(bytes.subarray(end), stampOf(stamp))) continue
        left--
        yield [key as I, access.decodeMainKey(bytes, end, bytes.length)]
      }
    } finally {
      await entries.close()
      close()
    }
  }
  const find = async (indexKey: I, options: FindOptions = {}): Promise<K[]> => {
    checkOptionNames('find', options, FIND_NAMES)
    const found: K[] = []
    for await (const [, key] of range({ ...options, gte: indexKey, lte: indexKey })) found.push(key)
    return found
  }
  return { find, range }
}

function boundsOf<I>({ gt, gte, lt, lte }: IndexRange<I>): { gte: Buffer; lt: Buffer } {
  if ((gt !== undefined && gte !== undefined) || (lt !== undefined && lte !== undefined)) {
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a range takes only one of gt and gte, and of lt and lte')
  }
  const encoded = (key: I) => derivedKey(encodeIndexKey(key as IndexKey))
  const all = derivedKey(Buffer.alloc(0))
  return {
    gte: gt !== undefined ? afterIndexKey(encoded(gt)) : gte !== undefined ? encoded(gte) : all,
    lt: lte !== undefined ? afterIndexKey(encoded(lte)) : lt !== undefined ? encoded(lt) : afterIndexKey(all),
  }
}
