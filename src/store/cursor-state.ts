/**
 * What the log keeps of a consumer, as values of cursor operations.
 *
 *   name            -> 1:u8 | position:u48 | seen:u48                                                  a place
 *   name 0 position -> 2:u8 | position:u48 | timestampMs:u48 | parkedMs:u48 | attempts:u32 | error     a parked change
 *
 *   0 epochs        -> the history of epochs (`epochs.ts`)
 *
 * Names are UTF-8 without a zero, the position after the zero is in decimal digits. `seen` is at or after `position`:
 * between them lies nothing that the consumer has not dealt with.
 */
import type { Position } from '../key/position.js'
import { asBuffer, type Bytes, readU32, readU48, writeU32, writeU48 } from '../util/bytes.js'

const PLACE = 1
const PLACE_BYTES = 13
const PARKED = 2
const PARKED_BYTES = 23
/** Enough to tell what went wrong; each parked change stays in memory and in every manifest. */
const ERROR_BYTES_MAX = 400

/** What a cursor operation sets; an empty state drops it. */
export interface CursorState {
  readonly name: Bytes
  readonly state: Bytes
}

export interface CursorPlace {
  /** The last change that was dealt with. */
  readonly position: Position
  readonly seen: Position
}

/** A change that a consumer put aside because its handler failed on it. */
export interface ParkedChange {
  /** Of the change that was put aside. */
  readonly position: Position
  /** When the change was committed, in milliseconds since the epoch. */
  readonly timestamp: number
  /** When it was put aside, in milliseconds since the epoch. */
  readonly parkedMs: number
  /** How often the handler was tried on it. */
  readonly attempts: number
  /** What the handler threw, cut to a few hundred bytes. */
  readonly error: string
}

/** Whose state a cursor operation sets: a consumer's place, or one of its parked changes. */
export interface CursorKey {
  readonly name: string
  readonly parked: Position | undefined
}

export function parseCursorKey(text: string): CursorKey {
  const zero = text.indexOf('\0')
  if (zero < 0) return { name: text, parked: undefined }
  return { name: text.slice(0, zero), parked: Number(text.slice(zero + 1)) }
}

export function parkedKey(name: string, position: Position): string {
  return `${name}\0${position}`
}

export function encodePlace({ position, seen }: CursorPlace): Buffer {
  const bytes = Buffer.allocUnsafe(PLACE_BYTES)
  bytes[0] = PLACE
  writeU48(bytes, 1, position)
  writeU48(bytes, 7, seen)
  return bytes
}

/** Undefined for a state that is no place. */
export function decodePlace(state: Bytes): CursorPlace | undefined {
  if (state.length !== PLACE_BYTES || state[0] !== PLACE) return undefined
  return { position: readU48(state, 1), seen: readU48(state, 7) }
}

export function encodeParked({ position, timestamp, parkedMs, attempts, error }: ParkedChange): Buffer {
  const text = cutText(error)
  const bytes = Buffer.alloc(PARKED_BYTES + text.length)
  bytes[0] = PARKED
  writeU48(bytes, 1, position)
  writeU48(bytes, 7, timestamp)
  writeU48(bytes, 13, parkedMs)
  writeU32(bytes, 19, attempts)
  bytes.set(text, PARKED_BYTES)
  return bytes
}

/** Undefined for a state that is no parked change. */
export function decodeParked(state: Bytes): ParkedChange | undefined {
  if (state.length < PARKED_BYTES || state[0] !== PARKED) return undefined
  return {
    position: readU48(state, 1),
    timestamp: readU48(state, 7),
    parkedMs: readU48(state, 13),
    attempts: readU32(state, 19),
    error: asBuffer(state).toString('utf8', PARKED_BYTES),
  }
}

/** Whole characters. */
function cutText(text: string): Buffer {
  const bytes = Buffer.from(text.slice(0, ERROR_BYTES_MAX))
  let end = Math.min(bytes.length, ERROR_BYTES_MAX)
  while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
