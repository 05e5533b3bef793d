import type { RangeCursor } from '../access/range-cursor.js'
import { StoreRangeIterator } from '../access/range-iterator.js'
import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import { batchSizeBytes } from '../key/batch-format.js'
import { ALL_KEYS } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import type { Store } from '../store/store.js'
import type { Bytes } from '../util/bytes.js'
import { Hash128 } from '../util/hash128.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import { CommitWait } from './commit-wait.js'
import { LogCursor } from './log-cursor.js'

/** How the digests are made: digests of different versions cannot be compared. */
const DIGEST_VERSION = 1
/** Parts of the log's history that a digest tells apart by default, at most. */
const RANGES_DEFAULT = 64
export const RANGES_MAX = 65_536
/** Bytes hashed at once: well under a millisecond. */
const HASH_BYTES = 256 * 1024

/** Positions above `after`, up to `upTo`. */
export interface PositionRange {
  /** Excluded. */
  readonly after: Position
  /** Included. */
  readonly upTo: Position
}

/** What is in one range: how many, and 128 bits of hash in hexadecimal. */
export interface RangeDigest extends PositionRange {
  /** How many entries or batches. */
  readonly count: number
  /** Hexadecimal. */
  readonly hash: string
}

/**
 * What a store holds at one position, so short that it can be sent. Plain JSON. Two stores with equal digests hold
 * the same, but for one chance in 2^128; nothing is promised where somebody wants them to be equal.
 */
export interface Digest {
  /** Of this format. */
  readonly version: number
  /** What it was made at. */
  readonly position: Position
  /** For each range the live entries that were written in it: the sum of their hashes, whatever their order. */
  readonly state: readonly RangeDigest[]
  /** For each range that the log still holds whole: a hash chain over the bytes of its batches, in order. */
  readonly log: readonly RangeDigest[]
}

/** What `digest` is to cover. */
export interface DigestOptions {
  /** Left out: where the store is. One that is not there yet is waited for; see `timeoutMs`. */
  readonly at?: Position
  /** How long to wait for `at` before `VARVE_TIMEOUT`; default: for ever. */
  readonly timeoutMs?: number
  /** Ascending, not overlapping; left out: up to 64 that cover everything, the same in every store at a position. */
  readonly ranges?: readonly PositionRange[] | undefined
  /** Ends it with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

const DIGEST_NAMES: OptionNames<DigestOptions> = {
  at: true,
  timeoutMs: true,
  ranges: true,
  signal: true,
}

export interface DigestRequest {
  /** The store must have reached it, and must not have flushed what is above it. */
  readonly at: Position
  /** Ascending, not overlapping; left out: up to 64 that cover everything. */
  readonly ranges: readonly PositionRange[] | undefined
  readonly signal: AbortSignal | undefined
}

/** One live entry; the bytes are borrowed until the next step. Key and value stand together. */
export interface LiveEntry {
  readonly bytes: Bytes
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueEnd: number
  readonly position: Position
}

/**
 * The live entries as they were at a position, in the order of their keys.
 * @throws VarveError `VARVE_POSITION_LOST` with the oldest position of which all is still known.
 */
export function stateAt(store: Store, at: Position): StoreRangeIterator<LiveEntry> {
  const { flushedPosition } = store.tree.view.version
  if (at < flushedPosition) {
    const message = `the state at position ${at} is gone: versions are merged up to ${flushedPosition}`
    throw new VarveError('VARVE_POSITION_LOST', message, { position: flushedPosition })
  }
  return new StoreRangeIterator({
    store,
    range: ALL_KEYS,
    isReverse: false,
    limit: Number.POSITIVE_INFINITY,
    position: at,
    decode: ({ bytes, keyStart, keyEnd, valueEnd, position }: RangeCursor) => ({
      bytes,
      keyStart,
      keyEnd,
      valueEnd,
      position,
    }),
    encodeKey: (key) => key as Bytes,
  })
}

/** The digest of a position that is waited for. */
export async function digestOnceReached<K, V>(
  { store, reader }: TypedStore<K, V>,
  options: DigestOptions,
): Promise<Digest> {
  checkOptionNames('digest', options, DIGEST_NAMES)
  const { at, timeoutMs, ranges, signal } = options
  if (at !== undefined) await reader.reach({ atLeast: at, ...(timeoutMs !== undefined && { timeoutMs }) })
  return digestStore(store, { at: at ?? store.position, ranges, signal })
}

/** Reads everything once, in slices. */
export async function digestStore(store: Store, { at, ranges, signal }: DigestRequest): Promise<Digest> {
  const wait = new CommitWait(store, signal)
  wait.check()
  const parts = ranges ? checkRanges(ranges, at) : defaultRanges(at)
  // Taken before anything is waited for: a flush forgets what is between.
  const entries = stateAt(store, at)
  const pin = store.archive.pin(Math.max(store.oldestPosition - 1, parts[0]?.after ?? 0))
  try {
    await wait.promised(at)
    const state = await digestState(store, entries, parts, wait)
    const log: RangeDigest[] = []
    for (const part of parts) {
      if (part.after < store.oldestPosition - 1) continue
      log.push(await digestLog(store, part, wait))
    }
    return { version: DIGEST_VERSION, position: at, state, log }
  } finally {
    pin.release()
    await entries.close()
  }
}

async function digestState(
  store: Store,
  entries: StoreRangeIterator<LiveEntry>,
  parts: readonly PositionRange[],
  wait: CommitWait,
): Promise<RangeDigest[]> {
  const sums = parts.map(() => ({ count: 0, hash: new Hash128() }))
  const hash = new Hash128()
  for (let step = await entries.next(); !step.done; step = await entries.next()) {
    const { bytes, keyStart, keyEnd, valueEnd, position } = step.value
    const sum = sums[indexOfRange(parts, position)]
    if (!sum) continue
    hash.set(position, Math.floor(position / 2 ** 32), keyEnd - keyStart, valueEnd - keyEnd)
    await mixAll(store, hash, bytes, keyStart, valueEnd)
    const { a, b, c, d } = sum.hash
    // Each word is a sum of its own: what is added twice does not cancel itself, as it would by xor.
    sum.hash.set(a + hash.a, b + hash.b, c + hash.c, d + hash.d)
    sum.count++
    wait.check()
  }
  return parts.map((part, i) => ({ ...part, count: sums[i]!.count, hash: sums[i]!.hash.toString() }))
}

async function digestLog(store: Store, part: PositionRange, wait: CommitWait): Promise<RangeDigest> {
  const chain = new Hash128()
  const cursor = new LogCursor(store, part.after)
  try {
    while (cursor.position < part.upTo) {
      await cursor.step(part.upTo, (position, _, bytes, batchOffset) => {
        const end = batchOffset + batchSizeBytes(bytes, batchOffset)
        chain.set(chain.a ^ position, chain.b ^ Math.floor(position / 2 ** 32), chain.c, chain.d)
        return mixAll(store, chain, bytes, batchOffset, end)
      })
      await store.fairTurn.due()
      wait.check()
    }
  } finally {
    cursor.close()
  }
  return { ...part, count: part.upTo - part.after, hash: chain.toString() }
}

/** At once, but for what is too long for that. */
function mixAll(
  store: Store,
  hash: Hash128,
  bytes: Bytes,
  start: number,
  end: number,
): Promise<void> | undefined {
  if (end - start > HASH_BYTES) return mixSlowly(store, hash, bytes, start, end)
  hash.mix(bytes, start, end)
  return undefined
}

async function mixSlowly(
  store: Store,
  hash: Hash128,
  bytes: Bytes,
  start: number,
  end: number,
): Promise<void> {
  for (let at = start; at < end; at += HASH_BYTES) {
    hash.mix(bytes, at, Math.min(end, at + HASH_BYTES))
    await store.fairTurn.due()
  }
}

/** The same for everybody at this position: parts of one size, a power of two. */
export function defaultRanges(position: Position): PositionRange[] {
  let size = 1
  while (size * RANGES_DEFAULT < position) size *= 2
  const ranges: PositionRange[] = []
  for (let after = 0; after < position; after += size)
    ranges.push({ after, upTo: Math.min(position, after + size) })
  return ranges
}

/** Which of the ranges holds the position; -1: none. */
export function indexOfRange(ranges: readonly PositionRange[], position: Position): number {
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ranges[middle]!.upTo < position) low = middle + 1
    else high = middle
  }
  return low < ranges.length && ranges[low]!.after < position ? low : -1
}

function checkRanges(ranges: readonly PositionRange[], at: Position): readonly PositionRange[] {
  const isList = Array.isArray(ranges) && ranges.length > 0 && ranges.length <= RANGES_MAX
  let last = 0
  const isSound =
    isList &&
    ranges.every((range) => {
      const { after, upTo } = range ?? {}
      const isRange =
        Number.isSafeInteger(after) && Number.isSafeInteger(upTo) && after >= last && upTo > after
      last = upTo
      return isRange && upTo <= at
    })
  if (isSound) return ranges.map(({ after, upTo }) => ({ after, upTo }))
  const message = `ranges are 1 to ${RANGES_MAX} of { after, upTo }, ascending, not overlapping, up to ${at}`
  throw new VarveError('VARVE_INVALID_ARGUMENT', message)
}
