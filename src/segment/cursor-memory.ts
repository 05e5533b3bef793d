import type { CacheRegion } from '../cache/cache-region.js'
import { BlockScratch } from './block.js'

/** The memory of blocks that somebody looks at. */
export interface BlockMemory {
  /** For a block that is looked into and let go, because a full cache has no place for it. */
  take(): BlockScratch
  /** A block of the region is looked at. */
  borrow(region: CacheRegion): void
}

/** Enough for the cursors that are open at once, as a rule; what more of them took is left to the collector. */
const FREE_MAX = 128

/**
 * The memory of the blocks that one cursor looks at, until it is closed: nothing writes over what it may still look at.
 * What it took goes to the next cursor, since taking new memory costs as much as reading the block.
 */
export class CursorMemory implements BlockMemory {
  static readonly #free: BlockScratch[] = []
  #taken: BlockScratch[] | undefined
  /** Most look at one only. */
  #borrowed: CacheRegion | undefined
  #borrowedToo: CacheRegion[] | undefined

  take(): BlockScratch {
    const scratch = CursorMemory.#free.pop() ?? new BlockScratch()
    this.#taken ??= []
    this.#taken.push(scratch)
    return scratch
  }

  borrow(region: CacheRegion): void {
    if (!region.borrow(this)) return
    if (!this.#borrowed) {
      this.#borrowed = region
      return
    }
    this.#borrowedToo ??= []
    this.#borrowedToo.push(region)
  }

  /** Idempotent. Nothing that stands in the blocks may be looked at any more. */
  close(): void {
    this.#borrowed?.giveBack()
    this.#borrowed = undefined
    if (this.#borrowedToo) for (const region of this.#borrowedToo) region.giveBack()
    this.#borrowedToo = undefined
    if (!this.#taken) return
    for (const scratch of this.#taken)
      if (CursorMemory.#free.length < FREE_MAX) CursorMemory.#free.push(scratch)
    this.#taken = undefined
  }
}
