import type { Position } from '../key/position.js'
import type { Tree } from '../tree/tree.js'
import type { Bytes } from '../util/bytes.js'
import { mergeCursors } from '../version/version.js'
import { decodePlace, parseCursorKey } from './cursor-state.js'

/** How a consumer, open or not, holds the log. */
export interface HeldCursor {
  readonly name: string
  /** Everything up to here is dealt with; undefined: it is dropped, though that is not on disk yet. */
  readonly position: Position | undefined
  /** As `position`, at the lowest that a power loss now could leave it at: the log is kept from there. */
  readonly heldPosition: Position
}

/** What consumers and their parked changes still need of the log. */
export function heldCursors(tree: Tree, durablePosition: Position): HeldCursor[] {
  const { waiting, active } = tree
  const memtables = [...waiting, active]
  const durableCount = memtables.findIndex(({ lastPosition }) => lastPosition > durablePosition)
  const durable = durableCount < 0 ? memtables : memtables.slice(0, durableCount)
  const newer = memtables.slice(durable.length)
  const merged = durable.reduce((older, { cursors }) => mergeCursors(older, cursors), tree.version.cursors)
  const found = new Map<string, { position: Position | undefined; heldPosition: Position }>()
  for (const [key, state] of merged) {
    const position = neededAfter(key, state)
    if (position !== undefined) found.set(key, { position, heldPosition: position })
  }
  for (const [key, state] of newer.flatMap(({ cursors }) => [...cursors])) {
    const position = neededAfter(key, state)
    const older = found.get(key)
    if (older) {
      older.position = position
      if (position !== undefined) older.heldPosition = Math.min(older.heldPosition, position)
    } else if (position !== undefined) {
      found.set(key, { position, heldPosition: position })
    }
  }
  return [...found].map(([key, places]) => ({ name: parseCursorKey(key).name, ...places }))
}

/** The log is needed after this position; undefined where it is not needed at all. */
function neededAfter(key: string, state: Bytes): Position | undefined {
  // A name that starts with a zero is the engine's own.
  if (state.length === 0 || key.startsWith('\0')) return undefined
  const { parked } = parseCursorKey(key)
  return parked === undefined ? decodePlace(state)?.seen : parked - 1
}
