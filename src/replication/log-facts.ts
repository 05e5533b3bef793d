import { LogCursor } from '../feed/log-cursor.js'
import { batchSizeBytes } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { Store } from '../store/store.js'
import { crc32 } from '../util/crc.js'
import { lastChecksum } from './role.js'

/** CRC-32 of the batch at `position`; undefined where the store no longer knows it. */
export async function checksumAt(store: Store, position: Position): Promise<number | undefined> {
  if (position === store.position) return lastChecksum(store)
  if (position >= store.oldestPosition) return (await checksumsAfter(store, position - 1, 1))[0]
  const { version } = store.tree
  return position === version.flushedPosition ? version.flushedChecksum : undefined
}

/**
 * CRC-32 of each of up to `count` batches after `after`. Ends early rather than hold the thread.
 * @throws VarveError `VARVE_POSITION_LOST`.
 */
export async function checksumsAfter(store: Store, after: Position, count: number): Promise<number[]> {
  const checksums: number[] = []
  const limit = Math.min(after + count, store.position)
  const cursor = new LogCursor(store, after)
  try {
    while (cursor.position < limit) {
      store.throwIfClosed()
      await cursor.step(limit, (_position, _timestampMs, bytes, at) => {
        checksums.push(crc32(bytes, at, at + batchSizeBytes(bytes, at)))
        return undefined
      })
      await store.fairTurn.due()
    }
    return checksums
  } finally {
    cursor.close()
  }
}

/** When the first batch after `position` was committed; undefined if there is none, or it is gone. */
export async function timeAfter(store: Store, position: Position): Promise<number | undefined> {
  if (position >= store.position || position < store.oldestPosition - 1) return undefined
  const cursor = new LogCursor(store, position)
  let found: number | undefined
  try {
    while (found === undefined) {
      store.throwIfClosed()
      await cursor.step(position + 1, (_position, timestampMs) => {
        found = timestampMs
        return undefined
      })
      await store.fairTurn.due()
    }
    return found
  } finally {
    cursor.close()
  }
}

/** About how many bytes of log come after `position`: within one file they are taken as evenly spread. */
export function bytesAfter(store: Store, position: Position): number {
  const { active, waiting } = store.tree
  const kept = store.archive.files.map(({ basePosition, lastPosition, sizeBytes }) => ({
    basePosition,
    lastPosition,
    sizeBytes,
  }))
  const known = new Set(store.archive.files.map(({ number }) => number))
  for (const { logNumber, basePosition, lastPosition, endOffset } of [...waiting, active]) {
    if (!known.has(logNumber)) kept.push({ basePosition, lastPosition, sizeBytes: endOffset })
  }
  return kept.reduce((sum, { basePosition, lastPosition, sizeBytes }) => {
    if (lastPosition <= position) return sum
    const share = (lastPosition - Math.max(position, basePosition)) / (lastPosition - basePosition)
    return sum + Math.round(sizeBytes * share)
  }, 0)
}
