import type { Range, RangeIterator } from '../../store/contract.js'
import type { VarveSnapshot } from './level-snapshot.js'

type Format = string | Uint8Array

/** Items between two looks at the signal. */
const STEP = 1000

export interface CursorOptions {
  readonly snapshot?: VarveSnapshot | undefined
  readonly signal?: AbortSignal | undefined
}

/** A range of the store as abstract-level's iterators walk it: ended by a signal, and empty over a closed snapshot. */
export class LevelCursor<T> {
  readonly #inner: RangeIterator<T> | undefined
  readonly #signal: AbortSignal | undefined

  constructor(
    openRange: (range: Range<Format>) => RangeIterator<T>,
    range: Range<Format>,
    options: CursorOptions,
  ) {
    // Whoever reads over a closed snapshot is told by abstract-level, not by the call that made the iterator.
    this.#inner = options.snapshot?.isClosed ? undefined : openRange(range)
    this.#signal = options.signal ?? undefined
  }

  async next(): Promise<T | undefined> {
    const result = await this.#inner?.next()
    this.#throwIfAborted()
    return result?.value
  }

  async nextv(size: number): Promise<T[]> {
    const items = (await this.#inner?.nextv(Math.min(size, STEP))) ?? []
    this.#throwIfAborted()
    while (items.length > 0 && items.length < size) {
      const more = await this.#inner!.nextv(Math.min(size - items.length, STEP))
      this.#throwIfAborted()
      if (more.length === 0) break
      for (const item of more) items.push(item)
    }
    return items
  }

  seek(target: Format): void {
    this.#inner?.seek(target)
  }

  async close(): Promise<void> {
    await this.#inner?.close()
  }

  #throwIfAborted(): void {
    if (!this.#signal?.aborted) return
    const error = new Error('Operation has been aborted')
    throw Object.assign(error, { name: 'AbortError', code: 'LEVEL_ABORTED' })
  }
}
