import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { Store } from '../store/store.js'
import { logNumberOf } from './log-place.js'
import type { ViewRecord } from './record.js'

/**
 * What a version's record is worth for the store as it is now.
 *
 * - `'good'`: it can go on.
 * - `'stale'`: what it holds is right, but the log no longer reaches back to it.
 * - `'wrong'`: it holds changes that this store does not have: another store's, or what a crash took back.
 */
export type Standing = 'good' | 'stale' | 'wrong'

export function standingOf(record: ViewRecord, store: Store, storeId: string): Standing {
  if (record.storeId !== storeId) return 'wrong'
  const reached = Math.max(record.position, record.parts[record.parts.length - 1]?.at ?? 0)
  if (reached > store.position) return 'wrong'
  const logNumber = logNumberOf(store, reached)
  const isKnown = logNumber === 0 ? reached <= record.durable : logNumber === record.logNumber
  if (reached > 0 && !isKnown) return 'wrong'
  return record.position < store.oldestPosition - 1 ? 'stale' : 'good'
}

/** The record of a version that is built from nothing. @throws VarveError `VARVE_POSITION_LOST`. */
export function freshRecord(
  store: Store,
  storeId: string,
  from: 'start' | 'snapshot' | undefined,
  encodings: readonly [string, string],
): ViewRecord {
  const oldest = store.oldestPosition
  if (from === 'start' && oldest > 1) {
    const message = `a view from the start needs the whole log, which starts at ${oldest}`
    throw new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
  }
  const isSnapshot = from === 'snapshot' || oldest > 1
  const position: Position = isSnapshot ? store.position : 0
  return {
    storeId,
    lineage: lineageOf(store),
    position,
    logNumber: logNumberOf(store, position),
    durable: store.durablePosition,
    serving: 0,
    parts: isSnapshot ? [{ at: position, isDone: false }] : [],
    encodings,
  }
}

/** The record of a checkpoint of a view, as it is for the store that it is installed in. @throws VarveError. */
export function installedRecord(
  record: ViewRecord | undefined,
  store: Store,
  storeId: string,
  encodings: readonly [string, string],
): ViewRecord {
  if (!record || record.parts.length > 0)
    throw invalid('what is installed is a checkpoint of a view that was built')
  checkEncodings(record, encodings)
  if (record.lineage !== lineageOf(store))
    throw invalid('what is installed is of a store that is no copy of this one')
  const { position } = record
  if (position > store.position) {
    throw invalid(`what is installed is at position ${position}, but the store is at ${store.position}`)
  }
  if (position < store.oldestPosition - 1) {
    const message = `what is installed is at position ${position}, but the log starts at ${store.oldestPosition}`
    throw new VarveError('VARVE_POSITION_LOST', message, { position: store.oldestPosition })
  }
  return { ...record, storeId, logNumber: logNumberOf(store, position), durable: position, serving: 0 }
}

function lineageOf(store: Store): string {
  return Buffer.from(store.lineage).toString('hex')
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function checkEncodings(record: ViewRecord, [keys, values]: readonly [string, string]): void {
  if (record.encodings[0] === keys && record.encodings[1] === values) return
  throw invalid(
    `this version was built with the encodings ${record.encodings.join(' and ')}: use a new version`,
  )
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
