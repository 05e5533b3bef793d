import type { Block } from './block.js'

/** What is loaded: a block of a segment, or the bytes of a value that stands apart. */
type Loadable = Block | Buffer

/** Whoever can load blocks, or values, without blocking the thread. */
export interface BlockSource<T extends Loadable = Loadable> {
  loadAsync(first: number, last: number): Promise<Map<number, T>>
}

/** Thrown where a read must not block: load the blocks, then do the whole operation again. */
export class BlockNeeded extends Error {
  readonly source: BlockSource
  readonly first: number
  readonly last: number

  constructor(source: BlockSource, first: number, last: number) {
    super('varve: a block must be loaded first')
    this.source = source
    this.first = first
    this.last = last
  }
}

/**
 * How one operation reads blocks that are not in memory. `mayBlock` operations read them at once, always; the
 * others do so only while the disk is quick, and else throw `BlockNeeded`. What was loaded for an operation stays
 * with it until its end, whatever the cache does: it makes progress with any cache size.
 */
export class ReadContext {
  readonly mayBlock: boolean
  readonly #loaded = new Map<BlockSource, Map<number, Loadable>>()

  constructor(mayBlock: boolean) {
    this.mayBlock = mayBlock
  }

  loaded<T extends Loadable>(source: BlockSource<T>, number: number): T | undefined {
    // A source gives what it is a source of.
    return this.#loaded.size === 0 ? undefined : (this.#loaded.get(source)?.get(number) as T | undefined)
  }

  /** As `loaded`, once: it is the caller's then. */
  take<T extends Loadable>(source: BlockSource<T>, number: number): T | undefined {
    const item = this.loaded(source, number)
    if (item) this.#loaded.get(source)!.delete(number)
    return item
  }

  async load(needed: BlockNeeded): Promise<void> {
    const blocks = await needed.source.loadAsync(needed.first, needed.last)
    let loaded = this.#loaded.get(needed.source)
    if (!loaded) {
      loaded = new Map()
      this.#loaded.set(needed.source, loaded)
    }
    for (const [number, block] of blocks) loaded.set(number, block)
  }

  /** Lets go of what was loaded: the operation came through. */
  release(): void {
    if (this.#loaded.size > 0) this.#loaded.clear()
  }
}

/** For operations that must answer at once. */
export const BLOCKING = new ReadContext(true)
