import { VarveError } from '../errors.js'
import type { RangeIterator } from '../store/contract.js'

/**
 * An iterator over the version that answers when it starts, whatever answers later. It starts at once where the
 * view has what was asked for, else once it has.
 */
export class ViewIterator<T> implements RangeIterator<T> {
  readonly #open: () => Promise<RangeIterator<T>>
  readonly #onEnd: () => void
  #inner: RangeIterator<T> | undefined
  #opening: Promise<RangeIterator<T>> | undefined
  #sought: { readonly key: unknown } | undefined
  #closesAtEnd = false
  #isClosed = false
  #hasEnded = false

  constructor(inner: RangeIterator<T> | undefined, open: () => Promise<RangeIterator<T>>, onEnd: () => void) {
    this.#inner = inner
    this.#open = open
    this.#onEnd = onEnd
  }

  async next(): Promise<IteratorResult<T>> {
    const inner = this.#inner ?? (await this.#started())
    const result = await this.#guarded(inner.next())
    if (result.done && this.#closesAtEnd) await this.close()
    return result
  }

  async nextv(size: number): Promise<T[]> {
    const inner = this.#inner ?? (await this.#started())
    const values = await this.#guarded(inner.nextv(size))
    if (values.length === 0 && this.#closesAtEnd) await this.close()
    return values
  }

  async all(): Promise<T[]> {
    const inner = this.#inner ?? (await this.#started())
    try {
      return await inner.all()
    } finally {
      await this.close()
    }
  }

  seek(key: unknown): void {
    if (this.#isClosed) throw closed()
    if (this.#inner) this.#inner.seek(key)
    else this.#sought = { key }
  }

  async return(): Promise<IteratorResult<T>> {
    await this.close()
    return { value: undefined, done: true }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const inner = this.#inner ?? (await this.#opening?.catch(() => undefined))
    await inner?.close()
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#onEnd()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  [Symbol.asyncIterator](): this {
    this.#closesAtEnd = true
    return this
  }

  async #started(): Promise<RangeIterator<T>> {
    if (this.#isClosed) throw closed()
    this.#opening ??= this.#open()
    const inner = await this.#opening
    if (!this.#inner) {
      this.#inner = inner
      if (this.#sought) inner.seek(this.#sought.key)
    }
    return inner
  }

  async #guarded<R>(step: Promise<R>): Promise<R> {
    try {
      return await step
    } catch (error) {
      await this.close()
      throw error
    }
  }
}

function closed(): VarveError {
  return new VarveError('VARVE_CLOSED', 'the iterator is closed')
}
