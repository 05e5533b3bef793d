import { codecOf, toBytes } from '../access/codec.js'
import { VarveError } from '../errors.js'
import type { ClearOp } from '../feed/change.js'
import type { Position } from '../key/position.js'
import { copyBytes, prefixEnd, readU32, readU48, successor, writeU32, writeU48 } from '../util/bytes.js'
import type { ViewState } from './contract.js'

/**
 * How the helpers lay out what they derive from the entries of the main store.
 *
 *   'p' main key                         -> stamp:u48 | payload | (length:u32 | part)*     what the entry gave
 *   'i' part, which ends with main key   -> stamp:u48                                      derived entries, in order
 *   's'                                  -> JSON: clears whose entries are not swept yet
 *   'g' group                            -> totals (aggregate.ts)
 *
 * A clear writes down its range and position, whatever it covers: entries in it with an older stamp are gone from
 * that moment for every read, and are removed some at a time after that.
 */
export type BytesState<K = unknown> = ViewState<Buffer, Buffer, K>

const TAG_ENTRY = 0x70
const TAG_DERIVED = 0x69
const CLEARS_KEY = Buffer.from('s')
export const STAMP_BYTES = 6
/** Entries that one group removes of what was cleared. */
const SWEEP_MAX = 256

/** What one entry of the main store gave. */
export interface Derived {
  readonly stamp: Position
  readonly payload: Buffer
  readonly parts: readonly Buffer[]
}

interface PendingClear {
  readonly start: Buffer
  readonly end: Buffer | undefined
  readonly at: Position
}

/** Clears that reads must heed still. */
export class PendingClears {
  readonly all: readonly PendingClear[]

  constructor(all: readonly PendingClear[]) {
    this.all = all
  }

  static decode(bytes: Buffer | undefined): PendingClears {
    if (bytes === undefined) return NONE
    const raw = JSON.parse(bytes.toString()) as { start: string; end?: string; at: Position }[]
    return new PendingClears(
      raw.map(({ start, end, at }) => ({
        start: Buffer.from(start, 'hex'),
        end: end === undefined ? undefined : Buffer.from(end, 'hex'),
        at,
      })),
    )
  }

  encode(): Buffer {
    const raw = this.all.map(({ start, end, at }) => ({
      start: start.toString('hex'),
      ...(end ? { end: end.toString('hex') } : {}),
      at,
    }))
    return Buffer.from(JSON.stringify(raw))
  }

  /** Whether an entry of this stamp is gone. */
  hide(mainKey: Buffer, stamp: Position): boolean {
    for (const { start, end, at } of this.all) {
      if (stamp < at && start.compare(mainKey) <= 0 && (!end || end.compare(mainKey) > 0)) return true
    }
    return false
  }
}

const NONE = new PendingClears([])

export function entryKey(mainKey: Buffer): Buffer {
  return tagged(TAG_ENTRY, mainKey)
}

export function derivedKey(part: Buffer): Buffer {
  return tagged(TAG_DERIVED, part)
}

export const clearsKey = CLEARS_KEY

// Hot: once for every change (bench/view.bench.js).
export function readClears(state: BytesState): PendingClears | Promise<PendingClears> {
  const found = state.read(CLEARS_KEY)
  return found instanceof Promise ? found.then(PendingClears.decode) : PendingClears.decode(found)
}

/** Everything that the range covered is gone, as far as reads tell. */
export async function noteClear<K>(
  state: BytesState,
  { start, end }: ClearOp<K>,
  at: Position,
): Promise<PendingClears> {
  const { all } = await readClears(state)
  const next = new PendingClears([...all, { start, end, at }])
  state.put(CLEARS_KEY, next.encode())
  return next
}

// Hot: every entry of an index (bench/view.bench.js).
/** Writes what an entry gives, and removes what it gave before; undefined: the entry is deleted. */
export function replaceDerived(
  state: BytesState,
  mainKey: Buffer,
  before: Derived | undefined,
  after: Derived | undefined,
  hasClears: boolean,
): void {
  if (before) {
    for (const part of before.parts) {
      if (!after?.parts.some((kept) => kept.equals(part))) state.del(derivedKey(part))
    }
  }
  if (!after) {
    if (before) state.del(entryKey(mainKey))
    return
  }
  state.put(entryKey(mainKey), encodeDerived(after))
  if (after.parts.length === 0) return
  const stamp = Buffer.allocUnsafe(STAMP_BYTES)
  writeU48(stamp, 0, after.stamp)
  for (const part of after.parts) {
    // The old stamp is as good while no clear lies between the two.
    const isThere = !hasClears && before?.parts.some((known) => known.equals(part))
    if (!isThere) state.put(derivedKey(part), stamp)
  }
}

function encodeDerived({ stamp, payload, parts }: Derived): Buffer {
  let size = STAMP_BYTES + 4 + payload.length
  for (const part of parts) size += 4 + part.length
  const bytes = Buffer.allocUnsafe(size)
  writeU48(bytes, 0, stamp)
  let at = STAMP_BYTES
  for (let i = -1; i < parts.length; i++) {
    const piece = i < 0 ? payload : parts[i]!
    writeU32(bytes, at, piece.length)
    copyBytes(piece, 0, piece.length, bytes, at + 4)
    at += 4 + piece.length
  }
  return bytes
}

export function decodeDerived(bytes: Buffer): Derived {
  const pieces: Buffer[] = []
  for (let at = STAMP_BYTES; at < bytes.length; ) {
    const end = at + 4 + readU32(bytes, at)
    pieces.push(bytes.subarray(at + 4, end))
    at = end
  }
  const [payload, ...parts] = pieces
  return { stamp: stampOf(bytes), payload: payload!, parts }
}

export function stampOf(bytes: Buffer): Position {
  return readU48(bytes, 0)
}

/** The range of what entries gave, for a range of main keys. */
export function entryRange(start: Buffer, end: Buffer | undefined): { gte: Buffer; lt: Buffer } {
  return { gte: entryKey(start), lt: end ? entryKey(end) : Buffer.from([TAG_ENTRY + 1]) }
}

/** Removes some of what was cleared; true if more is left. */
export async function sweepCleared(state: BytesState): Promise<boolean> {
  const pending = readClears(state)
  const { all } = pending instanceof Promise ? await pending : pending
  const [first, ...others] = all
  if (!first) return false
  const { start, end, at } = first
  let count = 0
  let last: Buffer | undefined
  for await (const [key, value] of state.entries({ ...entryRange(start, end), limit: SWEEP_MAX })) {
    count++
    last = key.subarray(1)
    const derived = decodeDerived(value)
    if (derived.stamp < at) replaceDerived(state, last, derived, undefined, true)
  }
  const rest = count < SWEEP_MAX ? others : [{ start: successor(last!), end, at }, ...others]
  if (rest.length === 0) state.del(CLEARS_KEY)
  else state.put(CLEARS_KEY, new PendingClears(rest).encode())
  return rest.length > 0
}

/** What can be the key of an index, or a group: order is by type, then by value. */
export type IndexKey = string | number | boolean | bigint | readonly IndexKey[]

const tuples = codecOf<unknown>('key', 'tuple')

/** In order, and so that no encoded key is the start of another: more can follow it. */
export function encodeIndexKey(key: IndexKey): Buffer {
  const bytes = toBytes(tuples.prepare(Array.isArray(key) ? key : [key]))
  let zeros = 0
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 0) zeros++
  const escaped = Buffer.allocUnsafe(bytes.length + zeros + 2)
  let at = 0
  for (let i = 0; i < bytes.length; i++) {
    escaped[at++] = bytes[i]!
    if (bytes[i] === 0) escaped[at++] = 0xff
  }
  escaped[at] = 0
  escaped[at + 1] = 1
  return escaped
}

/** The key that `bytes` starts with, and where it ends. */
export function decodeIndexKey(
  bytes: Buffer,
  start: number,
): { readonly key: IndexKey; readonly end: number } {
  const plain: number[] = []
  for (let at = start; at < bytes.length; at++) {
    if (bytes[at] !== 0) plain.push(bytes[at]!)
    else if (bytes[at + 1] === 0xff) plain.push(bytes[at++]!)
    else {
      const tuple = tuples.decode(Buffer.from(plain), 0, plain.length) as IndexKey[]
      return { key: tuple.length === 1 ? tuple[0]! : tuple, end: at + 2 }
    }
  }
  throw new VarveError('VARVE_CORRUPTION', 'a key of an index without its end')
}

/** What sorts right after everything that starts with an encoded key. */
export function afterIndexKey(encoded: Buffer): Buffer {
  return prefixEnd(encoded)!
}

function tagged(tag: number, bytes: Buffer): Buffer {
  const key = Buffer.allocUnsafe(bytes.length + 1)
  key[0] = tag
  copyBytes(bytes, 0, bytes.length, key, 1)
  return key
}
