import { VarveError } from '../errors.js'
import type { Digest } from '../feed/digest.js'
import { POSITION_MAX, type Position } from '../key/position.js'
import { type Epoch, isHistory } from '../store/epochs.js'

/** What leader and follower tell each other beside the stream. Everything that comes in is checked here. */
export interface LeaderStatus {
  /** Lineage, in hexadecimal. */
  readonly lineage: string
  readonly epochs: readonly Epoch[]
  readonly position: Position
  readonly oldestPosition: Position
  /** The store that this one follows itself; undefined: it takes writes. */
  readonly leader?: string
  readonly wallMs: number
}

/** Where a follower stands when it asks for the log. */
export interface LogRequest {
  /** Chosen by the follower for as long as it is open; undefined for a reader that leaves no trace. */
  readonly followerId: string | undefined
  readonly after: Position
  /** Of the batch at `after`; undefined: not known. */
  readonly checksum: number | undefined
  readonly epochs: readonly Epoch[]
  /** Undefined: the follower is new. */
  readonly lineage: string | undefined
}

/** A copy of a leader's segments, held for one follower. */
export interface CopyOffer {
  readonly session: string
  /** A version edit (`version/edit-format.ts`) that describes it. */
  readonly edit: Buffer
}

/** The follower's side of the transport. Every method rejects with a `VarveError`. */
export interface LeaderConnection {
  readonly url: string
  /** Tells what the follower knows: a leader of the same history and an older epoch stops its writes. */
  status(own: { epoch: number; lineage: string }, signal: AbortSignal): Promise<LeaderStatus>
  log(request: LogRequest, signal: AbortSignal): Promise<AsyncIterable<Buffer>>
  checksums(after: Position, count: number, signal: AbortSignal): Promise<number[]>
  /** What the leader holds at its last position. Reads all of it. */
  digest(signal: AbortSignal): Promise<Digest>
  copy(followerId: string, signal: AbortSignal): Promise<CopyOffer>
  /** The bytes of one file of the copy, by its name. */
  file(session: string, name: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>>
  /** The follower has everything up to `position`, as durable as it makes it. */
  ack(followerId: string, position: Position, signal: AbortSignal): Promise<void>
  /** The follower needs its copy no longer; the log after it is still kept. */
  fetched(followerId: string, signal: AbortSignal): Promise<void>
  close(): void
}

export const FOLLOWER_ID_PATTERN = /^[0-9a-f]{32}$/
export const CHECKSUMS_MAX = 65_536

export function parseStatus(value: unknown): LeaderStatus {
  const { lineage, epochs, position, oldestPosition, leader, wallMs } = asRecord(value)
  const isWhole =
    typeof lineage === 'string' &&
    /^[0-9a-f]{32}$/.test(lineage) &&
    isPosition(position) &&
    isPosition(oldestPosition) &&
    typeof wallMs === 'number' &&
    (leader === undefined || typeof leader === 'string')
  if (!isWhole) throw strange('a status')
  const status = { lineage, epochs: parseEpochs(epochs), position, oldestPosition, wallMs }
  return typeof leader === 'string' ? { ...status, leader } : status
}

/** Epochs as text: `1:1,2:101`, each with its first position. */
export function formatEpochs(epochs: readonly Epoch[]): string {
  return epochs.map(({ epoch, firstPosition }) => `${epoch}:${firstPosition}`).join(',')
}

export function parseEpochs(value: unknown): readonly Epoch[] {
  if (typeof value !== 'string' || !/^\d{1,16}:\d{1,16}(,\d{1,16}:\d{1,16})*$/.test(value))
    throw strange('a history of epochs')
  const epochs = value.split(',').map((text) => {
    const [epoch, firstPosition] = text.split(':').map(Number) as [number, number]
    return { epoch, firstPosition }
  })
  if (!isHistory(epochs)) throw strange('a history of epochs')
  return epochs
}

export function isPosition(value: unknown): value is Position {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= POSITION_MAX
}

export function asRecord(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw strange('a message')
  return value as Record<string, unknown>
}

/** As far as `compare` relies on it. @throws VarveError what the peer could not do, `VARVE_CORRUPTION`. */
export function parseDigest(value: unknown): Digest {
  const { version, position, state, log, code, message } = asRecord(value)
  if (typeof code === 'string')
    throw new VarveError('VARVE_IO', `the leader made no digest: ${String(message)}`)
  const isWhole = typeof version === 'number' && isPosition(position) && isRanges(state) && isRanges(log)
  if (!isWhole) throw strange('a digest')
  return { version, position, state, log }
}

function isRanges(value: unknown): value is Digest['state'] {
  if (!Array.isArray(value)) return false
  return value.every((range: unknown) => {
    const { after, upTo, count, hash } = asRecord(range)
    return isPosition(after) && isPosition(upTo) && isPosition(count) && typeof hash === 'string'
  })
}

function strange(what: string): VarveError {
  return new VarveError('VARVE_CORRUPTION', `the peer sent ${what} that is none`)
}
