import { VarveError } from '../errors.js'
import { POSITION_MAX, type Position } from '../key/position.js'
import type { Bytes } from '../util/bytes.js'

/** Batches of another store's log that were committed together, with the positions that they have there. */
export interface ForeignFrame {
  readonly firstPosition: Position
  readonly batchCount: number
  readonly timestampMs: number
  /** The batches stand in [start, end). Borrowed. */
  readonly bytes: Bytes
  readonly start: number
  readonly end: number
}

/** @throws VarveError where the frames do not follow `position`, and one another, without a gap. */
export function throwIfNotNext(frames: readonly ForeignFrame[], position: Position): void {
  let last = position
  for (const { firstPosition, batchCount } of frames) {
    if (firstPosition !== last + 1) {
      const message = `position ${firstPosition} came where ${last + 1} follows`
      throw new VarveError('VARVE_CORRUPTION', message, { position: firstPosition })
    }
    last += batchCount
  }
  if (last > POSITION_MAX) throw new VarveError('VARVE_POSITION_EXHAUSTED', 'no positions are left')
}
