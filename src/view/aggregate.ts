import { VarveError } from '../errors.js'
import type { Change, ClearOp } from '../feed/change.js'
import type { BatchOp } from '../store/contract.js'
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
  entryRange,
  type IndexKey,
  noteClear,
  type PendingClears,
  readClears,
  replaceDerived,
  stampOf,
  sweepCleared,
} from './derived-entries.js'
import { addExactly, roundedSum } from './exact-sum.js'
import { type Sight, ViewAccess } from './reads.js'
import type { Versions } from './versions.js'

const TAG_GROUP = 'g'
const NUMBER_BYTES = 8

/** What an aggregate keeps of a group. */
export type AggregateKind = 'count' | 'sum' | 'min' | 'max' | 'avg'

/** What is counted and summed, and by what it is grouped. */
export interface AggregateOptions<K, V, G extends IndexKey = IndexKey> {
  /** As in `ViewDefinition`: another one builds the aggregate anew. */
  readonly version: number | string
  /** The group of an entry; undefined: in none. Left out: all entries are one group, `''`. */
  group?(entryKey: K, value: V): G | undefined
  /** The number of an entry, finite; undefined: the entry does not count. Left out: 1. */
  value?(entryKey: K, value: V): number | undefined
  /** What is kept of each group. `'min'` and `'max'` cost an entry more for each entry. */
  readonly kinds: readonly AggregateKind[]
  /** As in `ViewDefinition`. */
  readonly from?: 'start' | 'snapshot' | undefined
  /** As in `ViewDefinition`. */
  readonly memory?: number | undefined
  /** As in `ViewDefinition`. */
  readonly keepPrevious?: boolean | undefined
}

const OPTION_NAMES: OptionNames<AggregateOptions<unknown, unknown>> = {
  version: true,
  group: true,
  value: true,
  kinds: true,
  from: true,
  memory: true,
  keepPrevious: true,
}

/** What was asked for of one group. The sum is the nearest number to the exact one, whatever came and went. */
export interface Totals {
  /** Entries of the group. */
  readonly count: number
  /** Of the values. */
  readonly sum?: number
  /** The smallest value. */
  readonly min?: number
  /** The largest value. */
  readonly max?: number
  /** The sum over the count. */
  readonly avg?: number
}

/** What an aggregate adds to its view. */
export interface AggregateReads<G> {
  /** Of a group, by default of the one without a name; undefined for a group without entries. */
  totals(group?: G, options?: ViewReadOptions): Promise<Totals | undefined>
  /** All groups in order, at one position. Pins what it reads until it ends or `return`. */
  groups(options?: ViewReadOptions): AsyncIterableIterator<[G, Totals]>
}

const READ_NAMES: OptionNames<ViewReadOptions> = { atLeast: true, timeoutMs: true, signal: true }

type AggregateState<K, G> = BytesState<K> & { readonly reads?: AggregateReads<G> }

interface Setup {
  group(key: unknown, value: unknown): IndexKey | undefined
  value(key: unknown, value: unknown): number | undefined
  readonly kinds: ReadonlySet<AggregateKind>
  readonly isOrdered: boolean
}

interface Delta {
  count: number
  parts: number[]
}

/**
 * Counts, sums, smallest and largest values of groups of entries, right after overwrites, deletes and clears. A clear
 * reads what it covers of the view's own data, in steps; it holds no more than one sum for each group.
 */
export function aggregate<K = string, V = string, G extends IndexKey = IndexKey>(
  options: AggregateOptions<K, V, G>,
): ViewDefinition<K, V, AggregateState<K, G>> {
  checkOptionNames('aggregate', options, OPTION_NAMES)
  const { version, from, memory, keepPrevious } = options
  const setup = setupOf(options as unknown as AggregateOptions<unknown, unknown>)
  return {
    ...{ version, from, memory, keepPrevious },
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    apply: (change, state) => applyFrom(change as Change<unknown, unknown>, state, 0, setup),
    hooks: {
      ...(setup.isOrdered ? { tidy: (state: never) => sweepCleared(state) } : {}),
      reads: (versions: never) => aggregateReads<G>(versions, setup),
    },
  }
}

function setupOf({ group, value, kinds }: AggregateOptions<unknown, unknown>): Setup {
  const known: readonly unknown[] = ['count', 'sum', 'min', 'max', 'avg']
  const isList = Array.isArray(kinds) && kinds.length > 0 && kinds.every((kind) => known.includes(kind))
  if (!isList) throw invalid(`kinds is a list of ${known.join(', ')}`)
  if (group !== undefined && typeof group !== 'function') throw invalid('group is a function')
  if (value !== undefined && typeof value !== 'function') throw invalid('value is a function')
  return {
    group: group ?? (() => ''),
    value: value ?? (() => 1),
    kinds: new Set(kinds),
    isOrdered: kinds.includes('min') || kinds.includes('max'),
  }
}

// Hot: every change (bench/view.bench.js). Without an await where nothing has to be waited for.
function applyFrom(
  change: Change<unknown, unknown>,
  state: BytesState,
  from: number,
  setup: Setup,
): void | Promise<void> {
  const { ops, position } = change
  // Only a clear changes them, and after one this begins again.
  const clears = setup.isOrdered ? readClears(state) : undefined
  if (clears instanceof Promise) return clears.then(() => applyFrom(change, state, from, setup))
  for (let i = from; i < ops.length; i++) {
    const op = ops[i]!
    const done =
      op.type === 'clear' ? clear(state, op, position, setup) : applyOp(state, op, position, setup, clears)
    if (done) return done.then(() => applyFrom(change, state, i + 1, setup))
  }
}

function applyOp(
  state: BytesState,
  op: BatchOp<unknown, unknown>,
  position: number,
  setup: Setup,
  clears: PendingClears | undefined,
): Promise<void> | undefined {
  const mainKey = state.encodeKey(op.key)
  const after = op.type === 'put' ? derivedOf(op.key, op.value, mainKey, position, setup) : undefined
  const found = state.read(entryKey(mainKey))
  if (found instanceof Promise) return found.then((bytes) => replace(state, mainKey, bytes, after, clears))
  return replace(state, mainKey, found, after, clears)
}

function replace(
  state: BytesState,
  mainKey: Buffer,
  bytes: Buffer | undefined,
  after: Derived | undefined,
  clears: PendingClears | undefined,
): Promise<void> | undefined {
  const before = bytes && decodeDerived(bytes)
  replaceDerived(state, mainKey, before, after, (clears?.all.length ?? 0) > 0)
  const isCounted = before !== undefined && !clears?.hide(mainKey, before.stamp)
  const taken = isCounted ? before : undefined
  if (taken && after && taken.payload.equals(after.payload)) return undefined
  const removed = taken ? addTo(state, groupOf(taken), delta(taken, -1)) : undefined
  if (removed) return removed.then(() => (after ? addTo(state, groupOf(after), delta(after, 1)) : undefined))
  return after ? addTo(state, groupOf(after), delta(after, 1)) : undefined
}

/** Takes away what the range holds, of each group once. */
async function clear(state: BytesState, op: ClearOp<unknown>, position: number, setup: Setup): Promise<void> {
  const pending = setup.isOrdered ? await readClears(state) : undefined
  const deltas = new Map<string, Delta>()
  const range = entryRange(op.start, op.end)
  for await (const [key, value] of state.entries(range)) {
    const derived = decodeDerived(value)
    if (pending?.hide(key.subarray(1), derived.stamp)) continue
    const name = groupOf(derived).toString('latin1')
    const sum = deltas.get(name) ?? { count: 0, parts: [] }
    sum.count--
    sum.parts = addExactly(sum.parts, -numberOf(derived))
    deltas.set(name, sum)
  }
  for (const [name, sum] of deltas) await addTo(state, Buffer.from(name, 'latin1'), sum)
  if (setup.isOrdered) await noteClear(state, op, position)
  else state.clear(range)
}

function derivedOf(
  key: unknown,
  value: unknown,
  mainKey: Buffer,
  stamp: number,
  setup: Setup,
): Derived | undefined {
  const group = setup.group(key, value)
  const number = group === undefined ? undefined : setup.value(key, value)
  if (group === undefined || number === undefined) return undefined
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    throw invalid(`the value of an aggregate is a finite number, not ${String(number)}`)
  }
  const encoded = encodeIndexKey(group)
  const payload = Buffer.allocUnsafe(NUMBER_BYTES + encoded.length)
  payload.writeDoubleBE(number, 0)
  encoded.copy(payload, NUMBER_BYTES)
  const parts = setup.isOrdered ? [Buffer.concat([encoded, orderedNumber(number), mainKey])] : []
  return { stamp, payload, parts }
}

function numberOf({ payload }: Derived): number {
  return payload.readDoubleBE(0)
}

function groupOf({ payload }: Derived): Buffer {
  return payload.subarray(NUMBER_BYTES)
}

function delta(derived: Derived, sign: 1 | -1): Delta {
  return { count: sign, parts: [sign * numberOf(derived)] }
}

function addTo(state: BytesState, group: Buffer, change: Delta): Promise<void> | undefined {
  const key = Buffer.concat([Buffer.from(TAG_GROUP), group])
  const add = (bytes: Buffer | undefined) => {
    const totals = decodeTotals(bytes)
    const count = totals.count + change.count
    const parts = change.parts.reduce<readonly number[]>(addExactly, totals.parts)
    if (count === 0) state.del(key)
    else state.put(key, encodeTotals({ count, parts }))
  }
  const found = state.read(key)
  if (found instanceof Promise) return found.then(add)
  add(found)
  return undefined
}

interface StoredTotals {
  readonly count: number
  readonly parts: readonly number[]
}

function encodeTotals({ count, parts }: StoredTotals): Buffer {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES * (1 + parts.length))
  bytes.writeDoubleBE(count, 0)
  for (const [i, part] of parts.entries()) bytes.writeDoubleBE(part, NUMBER_BYTES * (1 + i))
  return bytes
}

function decodeTotals(bytes: Buffer | undefined): StoredTotals {
  if (!bytes) return { count: 0, parts: [] }
  const parts: number[] = []
  for (let at = NUMBER_BYTES; at < bytes.length; at += NUMBER_BYTES) parts.push(bytes.readDoubleBE(at))
  return { count: bytes.readDoubleBE(0), parts }
}

/** Bytes that sort as the numbers do: the sign bit turned, and all others of a negative number. */
function orderedNumber(number: number): Buffer {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES)
  // Both zeros are one.
  bytes.writeDoubleBE(number + 0, 0)
  if (bytes[0]! < 0x80) bytes[0]! ^= 0x80
  else for (let i = 0; i < NUMBER_BYTES; i++) bytes[i]! ^= 0xff
  return bytes
}

function aggregateReads<G>(versions: Versions, setup: Setup): AggregateReads<G> {
  const access = new ViewAccess(versions)
  async function* groups(options?: ViewReadOptions): AsyncGenerator<[G, Totals]> {
    checkOptionNames('groups', options, READ_NAMES)
    const { sight, close } = await access.open(options)
    const entries = sight.entries({ prefix: Buffer.from(TAG_GROUP) })
    try {
      for (;;) {
        const { value: entry, done } = await entries.next()
        if (done) return
        const [key, bytes] = entry as [Buffer, Buffer]
        const totals = await shown(sight, key.subarray(1), decodeTotals(bytes), setup)
        yield [decodeIndexKey(key, 1).key as G, totals]
      }
    } finally {
      await entries.close()
      close()
    }
  }
  const totals = async (group: G = '' as G, options?: ViewReadOptions) => {
    checkOptionNames('totals', options, READ_NAMES)
    const encoded = encodeIndexKey(group as IndexKey)
    return access.read(options, async (sight) => {
      const { reader } = sight.typed
      const key = Buffer.concat([Buffer.from(TAG_GROUP), encoded])
      const bytes = await reader.get(key, sight.snapshot, reader.decodeValue)
      return bytes && shown(sight, encoded, decodeTotals(bytes), setup)
    })
  }
  return { groups, totals }
}

async function shown(
  sight: Sight,
  group: Buffer,
  { count, parts }: StoredTotals,
  setup: Setup,
): Promise<Totals> {
  const { kinds } = setup
  const sum = roundedSum(parts)
  return {
    count,
    ...(kinds.has('sum') ? { sum } : {}),
    ...(kinds.has('avg') ? { avg: sum / count } : {}),
    ...(kinds.has('min') ? { min: await extreme(sight, group, false) } : {}),
    ...(kinds.has('max') ? { max: await extreme(sight, group, true) } : {}),
  }
}

/** The first entry of a group, or the last, that no clear has taken. */
async function extreme(sight: Sight, group: Buffer, isLast: boolean): Promise<number> {
  const start = derivedKey(group)
  const entries = sight.entries({ gte: start, lt: afterIndexKey(start), reverse: isLast })
  try {
    for (;;) {
      const { value: entry, done } = await entries.next()
      if (done) throw new VarveError('VARVE_CORRUPTION', 'a group of an aggregate without its entries')
      const [key, stamp] = entry as [Buffer, Buffer]
      const at = start.length
      if (sight.clears.hide(key.subarray(at + NUMBER_BYTES), stampOf(stamp))) continue
      return numberAt(key, at)
    }
  } finally {
    await entries.close()
  }
}

function numberAt(bytes: Buffer, at: number): number {
  const copy = Buffer.from(bytes.subarray(at, at + NUMBER_BYTES))
  if (copy[0]! >= 0x80) copy[0]! ^= 0x80
  else for (let i = 0; i < NUMBER_BYTES; i++) copy[i]! ^= 0xff
  return copy.readDoubleBE(0)
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
