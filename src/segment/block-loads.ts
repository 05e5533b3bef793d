import type { BlockNeeded, BlockSource, ReadContext } from './read-context.js'

/** Blocks that are waited for at once: more would fill Node's thread pool for everybody else. */
const LOADS_MAX = 16

/** Blocks that are loaded for one operation beside each other, each once. */
export class BlockLoads {
  readonly #context: ReadContext
  readonly #running: Promise<void>[] = []
  readonly #asked = new Map<BlockSource, Set<number>>()

  constructor(context: ReadContext) {
    this.#context = context
  }

  /** Whether what runs should be waited for before more is added. */
  get isFull(): boolean {
    return this.#running.length >= LOADS_MAX
  }

  /** Starts at once: a file that is being read stays open, whatever becomes of its segment. */
  add(needed: BlockNeeded): void {
    const numbers = this.#asked.get(needed.source) ?? new Set()
    this.#asked.set(needed.source, numbers)
    if (numbers.has(needed.first)) return
    numbers.add(needed.first)
    const load = this.#context.load(needed)
    // Whoever waits is told; nobody may wait where the operation has failed.
    load.catch(() => undefined)
    this.#running.push(load)
  }

  /** Until all that was added is there. */
  async done(): Promise<void> {
    await Promise.all(this.#running)
    this.#running.length = 0
    this.#asked.clear()
  }
}
