import type { Position } from '../key/position.js'
import type { Store } from '../store/store.js'

/** The log file that holds a position; 0 where it is gone. */
export function logNumberOf(store: Store, position: Position): number {
  for (const { logNumber, basePosition, lastPosition } of store.tree.view.memtables) {
    if (basePosition < position && position <= lastPosition) return logNumber
  }
  const file = store.archive.files.find(
    (info) => info.basePosition < position && position <= info.lastPosition,
  )
  return file?.number ?? 0
}

/**
 * From where to keep the log for whoever has everything up to `position`: the file with that change is kept too, as
 * by its number a later open knows that the change is still the same.
 */
export function pinFor({ oldestPosition }: Store, position: Position): Position {
  return Math.min(position, Math.max(position - 1, oldestPosition - 1))
}
