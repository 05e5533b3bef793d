import type { Position } from '../key/position.js'
import type { Epoch } from '../store/epochs.js'

/**
 * The first position that two logs cannot share, by their epochs: where one of them began an epoch that the other
 * does not have. `position` is how far `ours` goes. Undefined where ours is a part of theirs, as far as epochs tell.
 */
export function divergedAt(
  ours: readonly Epoch[],
  position: Position,
  theirs: readonly Epoch[],
): Position | undefined {
  let shared = 0
  while (shared < ours.length && isSame(ours[shared], theirs[shared])) shared++
  // Where theirs goes on with an epoch that ours lacks, ours must end before it.
  const forks = [ours[shared], theirs[shared]].flatMap((epoch) => (epoch ? [epoch.firstPosition] : []))
  const first = forks.length === 0 ? undefined : Math.min(...forks)
  return first !== undefined && position >= first ? first : undefined
}

function isSame(a: Epoch | undefined, b: Epoch | undefined): boolean {
  return a !== undefined && b !== undefined && a.epoch === b.epoch && a.firstPosition === b.firstPosition
}

/** The index of the first checksum that differs; -1 if none does. */
export function firstDifference(ours: readonly number[], theirs: readonly number[]): number {
  const count = Math.min(ours.length, theirs.length)
  for (let i = 0; i < count; i++) if (ours[i] !== theirs[i]) return i
  return -1
}
