import { BlockScratch } from './block.js'

/** Memory for blocks that are looked into and let go, because a full cache has no place for them. */
export interface GlimpseMemory {
  take(): BlockScratch
}

/** Enough for the cursors that are open at once, as a rule; what more of them took is left to the collector. */
const FREE_MAX = 64

/**
 * The blocks that one cursor sought, until it is closed: nothing writes over what it may still look at. The memory then
 * goes to the next cursor, since taking new memory costs as much as reading the block.
 */
export class Glimpses implements GlimpseMemory {
  static readonly #free: BlockScratch[] = []
  readonly #taken: BlockScratch[] = []

  take(): BlockScratch {
    const scratch = Glimpses.#free.pop() ?? new BlockScratch()
    this.#taken.push(scratch)
    return scratch
  }

  /** Idempotent. Nothing that stands in the blocks may be looked at any more. */
  close(): void {
    for (const scratch of this.#taken) if (Glimpses.#free.length < FREE_MAX) Glimpses.#free.push(scratch)
    this.#taken.length = 0
  }
}
