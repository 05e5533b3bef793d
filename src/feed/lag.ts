import type { Position } from '../key/position.js'
import type { Store } from '../store/store.js'

/** How far behind the log somebody is who has dealt with everything up to a position. */
export interface Lag {
  /** Positions. */
  readonly lag: number
  /** Bytes of log, to the grain of a share of a log file. */
  readonly lagBytes: number
  /** How long ago the first change that is not dealt with was committed; coarse for what is long ago. */
  readonly lagMs: number
}

export function lagBehind(store: Store, seen: Position): Lag {
  const lag = Math.max(0, store.position - seen)
  if (lag === 0) return { lag: 0, lagBytes: 0, lagMs: 0 }
  const committedMs = store.times.of(seen + 1)
  const lagMs = committedMs === undefined ? 0 : Math.max(0, store.env.clock.wallMs() - committedMs)
  return { lag, lagBytes: logBytesAfter(store, seen), lagMs }
}

/** Bytes of the log after a position, as if all batches of a file were equally large. */
function logBytesAfter(store: Store, position: Position): number {
  const { archive, tree } = store
  const known = new Set(archive.files.map(({ number }) => number))
  const open = [...tree.waiting, tree.active]
    .filter(({ logNumber, isEmpty }) => !known.has(logNumber) && !isEmpty)
    .map(({ basePosition, lastPosition, endOffset }) => ({
      basePosition,
      lastPosition,
      sizeBytes: endOffset,
    }))
  let bytes = 0
  for (const { basePosition, lastPosition, sizeBytes } of [...archive.files, ...open]) {
    const missing = lastPosition - Math.max(position, basePosition)
    if (missing > 0) bytes += (sizeBytes * missing) / (lastPosition - basePosition)
  }
  return Math.round(bytes)
}
