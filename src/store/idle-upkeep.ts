import type { Position } from '../key/position.js'
import type { Scheduler } from '../tree/scheduler.js'
import type { Tree } from '../tree/tree.js'

/** Without any write for so long the background thread is not about to be needed. */
const IDLE_MS = 1000
/** Memtables that are less full stay: segments of a few entries each would be merged again and again. */
const FLUSHED_SHARE = 1 / 4
/** What finding the first entry of a read counts beside those that it walks over. */
const SEEK_ENTRIES = 16
/**
 * Entries that may be written for each that reads went over, a flush and a merge by itself: one costs a thread that has
 * nothing to do a microsecond; one read out of one source more costs who waits for it a fifth of that, each time.
 */
const WRITTEN_FOR_READ = 4
/** Entries between two looks at what there is to do: short reads cost an addition. */
const LOOK_ENTRIES = 1024

export interface IdleHooks {
  position(): Position
  /** When something was written last, by the wall clock; undefined: not since the store was opened. */
  lastWriteMs(): number | undefined
  wallMs(): number
  /** Whether something is being written, or nothing can be: the store is closed, closes, has failed or is read only. */
  isTaken(): boolean
  /** Completes the memtable that is written to, which flushes it. */
  flush(): void
}

/**
 * Makes a store that is read and not written to quicker for range reads, while the background thread has nothing else
 * to do: the memtable becomes a segment, level 0 is merged before it is full. Each source less is one less that a range
 * read looks into, and what is flushed no recovery has to replay.
 *
 * Each is done only once range reads went over, or sorted, a share of the entries that it writes, and leaves nothing of
 * its kind to do until something is written. Nothing happens by itself: no reads, no work, no timer.
 * Source: the compactions that seeks bring about, LevelDB's doc/impl.md; these are brought about by what reads cost.
 */
export class IdleUpkeep {
  readonly #tree: Tree
  readonly #scheduler: Scheduler
  readonly #hooks: IdleHooks
  /** Since the last look. */
  #unseen = 0
  /** Since something was written, or since the last work. */
  #walked = 0
  #position: Position = -1

  constructor(tree: Tree, scheduler: Scheduler, hooks: IdleHooks) {
    this.#tree = tree
    this.#scheduler = scheduler
    this.#hooks = hooks
  }

  /** A range read has ended that went over so many entries since it last said so. */
  noteEnd(entries: number): void {
    this.noteEntries(entries + SEEK_ENTRIES)
  }

  /** A range read went over so many entries, and goes on; or is about to sort so many. */
  noteEntries(entries: number): void {
    this.#unseen += entries
    if (this.#unseen >= LOOK_ENTRIES) this.#look()
  }

  #look(): void {
    const entries = this.#unseen
    this.#unseen = 0
    const hooks = this.#hooks
    // Without a thread of its own the work would hold up the reads that it is for.
    if (this.#tree.options.workers === 0 || hooks.isTaken()) return
    const position = hooks.position()
    if (position !== this.#position) {
      this.#position = position
      this.#walked = 0
    }
    this.#walked += entries
    if (hooks.wallMs() - (hooks.lastWriteMs() ?? 0) < IDLE_MS || this.#scheduler.isBusy) return
    const isBegun = this.#flushIfWorthIt() || this.#scheduler.mergeForReads(this.#walked * WRITTEN_FOR_READ)
    if (isBegun) this.#walked = 0
  }

  #flushIfWorthIt(): boolean {
    const { active, options } = this.#tree
    const isLittle = active.endOffset < options.memtableBytes * FLUSHED_SHARE
    if (isLittle || this.#walked * WRITTEN_FOR_READ < active.count) return false
    this.#hooks.flush()
    return true
  }
}
