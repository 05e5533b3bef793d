import { VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  batchSizeBytes,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { ReadOptions } from '../store/contract.js'
import type { Store } from '../store/store.js'
import { asBuffer, cloneBytes, compareBytes, compareRanges } from '../util/bytes.js'
import { Hash128 } from '../util/hash128.js'
import { CommitWait } from './commit-wait.js'
import {
  type Digest,
  defaultRanges,
  digestStore,
  indexOfRange,
  type LiveEntry,
  type PositionRange,
  type RangeDigest,
  stateAt,
} from './digest.js'
import { LogCursor } from './log-cursor.js'

/** Keys that a difference names at most. */
const KEYS_MAX = 16
/** Batches hashed on one side before the other one is. */
const LOG_STEP = 1024

/** Where two stores differ. */
export interface Divergence {
  /** `log`: other batches were committed; `state`: the logs that are left are equal, but not what is live. */
  readonly in: 'log' | 'state'
  /** The position at which both were compared. */
  readonly comparedAt: Position
  /** The first range of positions that differs. */
  readonly range: PositionRange
  /** The first position that differs; undefined where only a digest was there. */
  readonly position: Position | undefined
  /** Encoded keys that differ, at most 16, those of the lowest positions first; none where only a digest was there. */
  readonly keys: readonly Buffer[]
}

/** How long `compare` waits for the one that is behind, and what ends it. */
export interface CompareOptions {
  /**
   * How long a store may take to reach the position at which they are compared, in milliseconds; default 10,000.
   * After that: `VARVE_TIMEOUT`.
   */
  readonly timeoutMs?: number
  /** Ends it with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** An open store to be compared. */
export interface Side {
  readonly store: Store
  /** Waits for a position. @throws VarveError `VARVE_TIMEOUT`. */
  reach(options: ReadOptions): Promise<void>
}

interface Difference {
  readonly position: Position
  readonly keys: readonly Buffer[]
}

/** Reads both once, in slices; at the lower of their positions where what is above it was not flushed yet. */
export async function compareStores(
  a: Side,
  b: Side,
  { timeoutMs = 10_000, signal }: CompareOptions,
): Promise<Divergence | undefined> {
  const waits = [new CommitWait(a.store, signal), new CommitWait(b.store, signal)]
  for (;;) {
    for (const wait of waits) wait.check()
    const at = Math.min(a.store.position, b.store.position)
    const states = statesAt(a.store, b.store, at)
    try {
      for (const wait of waits) await wait.promised(at)
      const inLog = await findInLogs(a.store, b.store, at, waits)
      if (inLog) return divergence('log', at, inLog)
      if (states) {
        const inState = await findInStates(states, waits)
        return inState && divergence('state', at, inState)
      }
    } finally {
      for (const state of states ?? []) await state.close()
    }
    const [behind, ahead] = a.store.position < b.store.position ? [a, b] : [b, a]
    await behind.reach({ atLeast: ahead.store.tree.version.flushedPosition, timeoutMs })
  }
}

export async function compareWithDigest(
  side: Side,
  digest: Digest,
  { timeoutMs = 10_000, signal }: CompareOptions,
): Promise<Divergence | undefined> {
  checkDigest(digest)
  await side.reach({ atLeast: digest.position, timeoutMs })
  const own = await digestStore(side.store, { at: digest.position, ranges: rangesOf(digest.state), signal })
  return compareDigests(own, digest)
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` unless they are of the same position and ranges. */
export function compareDigests(a: Digest, b: Digest): Divergence | undefined {
  checkDigest(a)
  checkDigest(b)
  if (a.version !== b.version) throw invalid(`digests of versions ${a.version} and ${b.version}`)
  if (a.position !== b.position) throw invalid(`digests of positions ${a.position} and ${b.position}`)
  const isAligned =
    a.state.length === b.state.length && a.state.every((range, i) => isSameRange(range, b.state[i]!))
  if (!isAligned) throw invalid('digests of different ranges')
  const inLog = a.log.find((range) =>
    b.log.some((other) => isSameRange(range, other) && !isEqual(range, other)),
  )
  const inState = a.state.find((range, i) => !isEqual(range, b.state[i]!))
  const found = inLog ?? inState
  if (!found) return undefined
  const { after, upTo } = found
  const part = found === inLog ? 'log' : 'state'
  return { in: part, comparedAt: a.position, range: { after, upTo }, position: undefined, keys: [] }
}

function isSameRange(a: PositionRange, b: PositionRange): boolean {
  return a.after === b.after && a.upTo === b.upTo
}

function isEqual(a: RangeDigest, b: RangeDigest): boolean {
  return a.count === b.count && a.hash === b.hash
}

function rangesOf(digests: readonly RangeDigest[]): PositionRange[] | undefined {
  return digests.length === 0 ? undefined : digests.map(({ after, upTo }) => ({ after, upTo }))
}

function divergence(part: 'log' | 'state', at: Position, { position, keys }: Difference): Divergence {
  const ranges = defaultRanges(at)
  const range = ranges[indexOfRange(ranges, position)] ?? { after: position - 1, upTo: position }
  return { in: part, comparedAt: at, range, position, keys }
}

type States = readonly [ReturnType<typeof stateAt>, ReturnType<typeof stateAt>]

/** Undefined where the one that is ahead has merged what the other one does not have yet. */
function statesAt(a: Store, b: Store, at: Position): States | undefined {
  const flushed = Math.max(a.tree.view.version.flushedPosition, b.tree.view.version.flushedPosition)
  return at < flushed ? undefined : [stateAt(a, at), stateAt(b, at)]
}

/** Walks the batches that both logs still hold. */
async function findInLogs(
  a: Store,
  b: Store,
  at: Position,
  waits: readonly CommitWait[],
): Promise<Difference | undefined> {
  const start = Math.max(a.oldestPosition, b.oldestPosition) - 1
  const pins = [a, b].map((store) => store.archive.pin(start))
  const cursors = [new LogCursor(a, start), new LogCursor(b, start)] as const
  try {
    for (let from = start; from < at; from += LOG_STEP) {
      const upTo = Math.min(at, from + LOG_STEP)
      const ofA = await hashesOf(a, cursors[0], upTo, waits[0]!)
      const ofB = await hashesOf(b, cursors[1], upTo, waits[1]!)
      const found = ofA.findIndex((hash, i) => hash !== ofB[i])
      if (found < 0) continue
      const position = from + 1 + found
      const keys = [...(await keysAt(a, position)), ...(await keysAt(b, position))]
      const unique = keys.filter((key, i) => keys.findIndex((other) => compareBytes(other, key) === 0) === i)
      return { position, keys: unique.slice(0, KEYS_MAX) }
    }
    return undefined
  } finally {
    for (const cursor of cursors) cursor.close()
    for (const pin of pins) pin.release()
  }
}

async function hashesOf(
  store: Store,
  cursor: LogCursor,
  upTo: Position,
  wait: CommitWait,
): Promise<string[]> {
  const hashes: string[] = []
  const hash = new Hash128()
  while (cursor.position < upTo) {
    await cursor.step(upTo, (_position, _time, bytes, batchOffset) => {
      hash.set(0, 0, 0, 0)
      hash.mix(bytes, batchOffset, batchOffset + batchSizeBytes(bytes, batchOffset))
      hashes.push(hash.toString())
      return undefined
    })
    await store.fairTurn.due()
    wait.check()
  }
  return hashes
}

async function keysAt(store: Store, position: Position): Promise<Buffer[]> {
  const keys: Buffer[] = []
  const cursor = new LogCursor(store, position - 1)
  try {
    while (cursor.position < position) {
      await cursor.step(position, (_position, _time, bytes, batchOffset) => {
        let at = batchOffset + BATCH_HEADER_BYTES
        for (let i = 0; i < batchOpCount(bytes, batchOffset) && keys.length < KEYS_MAX; i++) {
          const keyStart = at + OP_HEADER_BYTES
          keys.push(cloneBytes(bytes, keyStart, keyStart + opKeyLength(bytes, at)))
          at += opSizeBytes(bytes, at)
        }
        return undefined
      })
    }
    return keys
  } finally {
    cursor.close()
  }
}

/** Walks both in the order of keys, side by side. */
async function findInStates([a, b]: States, waits: readonly CommitWait[]): Promise<Difference | undefined> {
  const found: { position: Position; key: Buffer }[] = []
  const note = (entry: LiveEntry, position: Position) => {
    if (found.length === KEYS_MAX && position >= found[KEYS_MAX - 1]!.position) return
    found.push({ position, key: cloneBytes(entry.bytes, entry.keyStart, entry.keyEnd) })
    found.sort((left, right) => left.position - right.position)
    found.length = Math.min(found.length, KEYS_MAX)
  }
  let left = await a.next()
  let right = await b.next()
  while (!left.done || !right.done) {
    for (const wait of waits) wait.check()
    const order = left.done ? 1 : right.done ? -1 : compareKeys(left.value, right.value)
    if (order < 0) note(left.value, left.value.position)
    else if (order > 0) note(right.value, right.value.position)
    else if (!isEqualEntry(left.value, right.value))
      note(left.value, Math.min(left.value.position, right.value.position))
    if (order <= 0) left = await a.next()
    if (order >= 0) right = await b.next()
  }
  const first = found[0]
  return first && { position: first.position, keys: found.map(({ key }) => key) }
}

function compareKeys(a: LiveEntry, b: LiveEntry): number {
  return compareRanges(a.bytes, a.keyStart, a.keyEnd, b.bytes, b.keyStart, b.keyEnd)
}

function isEqualEntry(a: LiveEntry, b: LiveEntry): boolean {
  if (a.position !== b.position || a.valueEnd - a.keyEnd !== b.valueEnd - b.keyEnd) return false
  return asBuffer(a.bytes).compare(b.bytes, b.keyEnd, b.valueEnd, a.keyEnd, a.valueEnd) === 0
}

/** A digest that came from elsewhere may be anything. */
function checkDigest(digest: Digest): void {
  const isNumber = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
  const isList = (list: unknown) =>
    Array.isArray(list) &&
    list.every(
      (range: Partial<RangeDigest> | null) =>
        typeof range === 'object' &&
        range !== null &&
        [range.after, range.upTo, range.count].every(isNumber) &&
        typeof range.hash === 'string',
    )
  const isSound =
    typeof digest === 'object' &&
    digest !== null &&
    isNumber(digest.version) &&
    isNumber(digest.position) &&
    isList(digest.state) &&
    isList(digest.log)
  if (!isSound) throw invalid('a digest is what digest() gave')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
