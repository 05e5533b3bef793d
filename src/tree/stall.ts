/** What the tree still owes, as the stall rule sees it. */
export interface Debt {
  /** Memtables that wait to be flushed. */
  readonly waitingMemtables: number
  readonly l0Segments: number
}

/** What the rule goes by. */
export interface StallState extends Debt {
  /** How full the memtable is that is being written, from 0 to 1: between two rotations the debt grows with it. */
  readonly activeShare: number
  /** How many memtables memory has room for beside what the cache holds, the active one and the next included. */
  readonly memtableRoom: number
}

export interface StallOptions {
  readonly l0SegmentsMax: number
}

/**
 * Writes run free up to so many memtables that wait, the share of the active one included: the half of the memory
 * that is theirs takes up a burst, and more of it where the cache has no use for it, up to what recovery may have to
 * replay, and less of that with each segment of level 0 until they are merged. What is merged later than it comes is no
 * burst: the more of level 0 waits for its merge the fewer memtables may, since a flush goes before a merge, and the
 * merge would never have its turn.
 */
const FREE_MEMTABLES = 3
const FREE_MEMTABLES_MAX = 6
const FREE_MEMTABLES_BEHIND = 1.5
/** Level 0 at this multiple of its trigger is behind. */
const L0_BEHIND = 2
/** Of the background thread, once level 0 is behind and merges make much smaller what they read. */
const MERGE_SHARE_MAX = 1 / 2
/** Of two memtables that are flushed together; all of level 0, merged, has several times as much. */
const DEAD_SHARE_MUCH = 1 / 4
/** At so many memtables writes are slowest, and where memory has room for more, at one more than run free. */
const SLOWEST_MEMTABLES = 4
/** Level 0 at this multiple of its trigger starts to slow writes; at the next one they are slowest. */
const L0_SLOWDOWN = 3
const L0_SLOWEST = 9
/** Bytes a millisecond at the first sign of debt and at the worst: 200 MB/s and 1 MB/s. */
const FASTEST_BYTES_PER_MS = 200_000
const SLOWEST_BYTES_PER_MS = 1_000

/**
 * At how many bytes a millisecond writes may go on; undefined: as fast as they come. Falls steadily with the
 * debt, so that writers are slowed long before memory or level 0 is out of hand, and never stopped.
 */
export function writeRate(debt: StallState, options: StallOptions): number | undefined {
  const waiting = debt.waitingMemtables + debt.activeShare
  const l0Share = debt.l0Segments / options.l0SegmentsMax
  const more = Math.min(FREE_MEMTABLES_MAX, Math.max(FREE_MEMTABLES, debt.memtableRoom - 1)) - FREE_MEMTABLES
  const fewer = FREE_MEMTABLES - FREE_MEMTABLES_BEHIND
  const free = FREE_MEMTABLES + more * Math.max(0, 1 - l0Share) - fewer * behindShare(debt, options)
  const slowest = Math.max(SLOWEST_MEMTABLES, free + 1)
  const memtables = (waiting - free) / (slowest - free)
  const l0 = (l0Share - L0_SLOWDOWN) / (L0_SLOWEST - L0_SLOWDOWN)
  const severity = Math.min(1, Math.max(memtables, l0))
  if (severity <= 0) return undefined
  return FASTEST_BYTES_PER_MS * (SLOWEST_BYTES_PER_MS / FASTEST_BYTES_PER_MS) ** severity
}

/**
 * What of the background thread a merge gets while a flush runs, which goes first otherwise. Writes that come as fast as
 * they are flushed leave merges nothing, and where they overwrite what is there, level 0 is many times what is alive.
 * @param deadShare what jobs lately found dead of the entries that they read; 0: merges would make nothing smaller.
 */
export function mergeShare(l0Segments: number, deadShare: number, options: StallOptions): number {
  const gain = Math.min(1, deadShare / DEAD_SHARE_MUCH)
  return behindShare({ l0Segments }, options) * gain * MERGE_SHARE_MAX
}

/** From 0, where level 0 is merged as it comes, to 1, where writes are no burst but a long load. */
function behindShare({ l0Segments }: Pick<Debt, 'l0Segments'>, options: StallOptions): number {
  const behind = (l0Segments / options.l0SegmentsMax - 1) / (L0_BEHIND - 1)
  return Math.min(1, Math.max(0, behind))
}
