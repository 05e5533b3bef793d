/** Something that takes memory and can be loaded again. */
export interface CacheItem {
  /** Bytes; constant. */
  readonly weight: number
  /** Set by whoever uses the item; cleared by the cache when it passes. */
  isTouched: boolean
  /** Owned by the cache: the item's place in it, or -1. */
  slot: number
  /** The owner forgets the item. */
  drop(): void
}

/**
 * Keeps items up to a total weight and drops those not touched lately: the CLOCK algorithm, so that a hit costs
 * one store. New items start untouched: a long scan passes through without pushing out what is used again.
 * Source: Corbató, "A paging experiment with the Multics system", 1968.
 */
export class WeightedCache {
  readonly #items: CacheItem[] = []
  #capacity: number
  #weight = 0
  #hand = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get weight(): number {
    return this.#weight
  }

  get count(): number {
    return this.#items.length
  }

  /** Whether one more, as heavy as they are on average, would push nothing out. */
  get hasRoom(): boolean {
    const { length } = this.#items
    return length === 0 ? this.#capacity > 0 : this.#weight + this.#weight / length <= this.#capacity
  }

  setCapacity(capacity: number): void {
    this.#capacity = capacity
    this.#shrink(undefined)
  }

  /** False if the item alone is too large; it was not kept then. */
  add(item: CacheItem): boolean {
    if (item.weight > this.#capacity) return false
    item.slot = this.#items.length
    this.#items.push(item)
    this.#weight += item.weight
    this.#shrink(item)
    return true
  }

  remove(item: CacheItem): void {
    if (item.slot < 0) return
    const last = this.#items.pop()!
    if (last !== item) {
      this.#items[item.slot] = last
      last.slot = item.slot
    }
    item.slot = -1
    this.#weight -= item.weight
  }

  #shrink(newcomer: CacheItem | undefined): void {
    while (this.#weight > this.#capacity && this.#items.length > 0) {
      if (this.#hand >= this.#items.length) this.#hand = 0
      const item = this.#items[this.#hand]!
      if (item.isTouched || (item === newcomer && this.#items.length > 1)) {
        item.isTouched = false
        this.#hand++
        continue
      }
      this.remove(item)
      item.drop()
    }
  }
}
