import { describe, expect, it } from 'vitest'
import { BlockCache, RECORD_HEADER_BYTES } from '../../src/cache/block-cache.js'
import type { CacheRegion } from '../../src/cache/cache-region.js'
import { SeededRandom } from '../../src/env/seeded-random.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
/** Regions are a 64th of it: 4 KiB. */
const MEMORY = 2 ** 18
const REGION = MEMORY / 64
const NUMBERS = 300

/** An owner of records, with what it put into them. */
class Owner {
  readonly places = new Uint32Array(NUMBERS)
  readonly contents = new Map<number, Buffer>()
  readonly id: number
  readonly #cache: BlockCache

  constructor(cache: BlockCache) {
    this.#cache = cache
    this.id = cache.register(this.places)
  }

  /** Whether there was room. */
  add(number: number, content: Buffer): boolean {
    if (this.#cache.add(this.id, number, content.length) === 0) return false
    const { region, at } = this.at(number)
    region.bytes.set(content, at)
    this.contents.set(number, content)
    return true
  }

  has(number: number): boolean {
    return this.places[number] !== 0
  }

  at(number: number): { readonly region: CacheRegion; readonly at: number } {
    const place = this.places[number]!
    return { region: this.#cache.regionOf(place), at: this.#cache.payloadAt(place) }
  }

  touch(number: number): void {
    const { region, at } = this.at(number)
    this.#cache.touch(region, at)
  }

  read(number: number): Buffer {
    const { region, at } = this.at(number)
    return region.bytes.subarray(at, at + this.contents.get(number)!.length)
  }

  check(): void {
    for (let number = 0; number < NUMBERS; number++)
      if (this.has(number)) expect(this.read(number).equals(this.contents.get(number)!)).toBe(true)
  }

  get count(): number {
    return this.places.filter((place) => place !== 0).length
  }
}

function filled(size: number, byte: number): Buffer {
  return Buffer.alloc(size, byte)
}

/** Adds records of a sixteenth of a region until the cache has no room left. */
function fill(cache: BlockCache, owner: Owner): number {
  let number = 0
  while (cache.hasRoom) {
    owner.add(number, filled(REGION / 16 - RECORD_HEADER_BYTES, number & 255))
    number++
  }
  return number
}

describe('the block cache', () => {
  it(`holds what was put into it, whatever comes, goes and is borrowed (seed ${SEED})`, () => {
    const random = new SeededRandom(SEED)
    const cache = new BlockCache(MEMORY)
    let capacity = MEMORY / 8
    cache.setCapacity(capacity)
    let owners = [new Owner(cache), new Owner(cache), new Owner(cache)]
    const lent: { region: CacheRegion; bytes: Buffer; copy: Buffer }[] = []
    for (let step = 0; step < 20_000; step++) {
      const owner = owners[random.below(owners.length)]!
      const number = random.below(NUMBERS)
      if (owner.has(number)) {
        owner.touch(number)
        if (random.below(50) === 0) {
          const { region } = owner.at(number)
          const bytes = owner.read(number)
          if (region.borrow({})) lent.push({ region, bytes, copy: Buffer.from(bytes) })
        }
      } else {
        // Some stand alone, some hardly fit.
        const size = random.below(20) === 0 ? random.below(REGION * 3) : random.below(REGION / 5)
        owner.add(number, filled(size, random.below(256)))
      }
      if (lent.length > 5) {
        const [{ region, bytes, copy } = lent[0]!] = lent.splice(random.below(lent.length), 1)
        expect(bytes.equals(copy)).toBe(true)
        region.giveBack()
      }
      if (random.below(2000) === 0) {
        cache.release(owner.id)
        expect(owner.count).toBe(0)
        owners = owners.map((other) => (other === owner ? new Owner(cache) : other))
      }
      if (random.below(3000) === 0) {
        capacity = random.below(MEMORY / 4)
        cache.setCapacity(capacity)
        expect(cache.weight).toBeLessThanOrEqual(capacity)
      }
      if (step % 500 === 0) {
        for (const each of owners) each.check()
        expect(cache.count).toBe(owners.reduce((sum, each) => sum + each.count, 0))
        expect(cache.weight).toBeLessThanOrEqual(capacity)
      }
    }
  })

  it('keeps what is touched, and drops what is not, oldest first', () => {
    const cache = new BlockCache(MEMORY)
    cache.setCapacity(8 * REGION)
    const owner = new Owner(cache)
    const count = fill(cache, owner)
    expect(count).toBe(8 * 16)
    for (let number = count; number < 2 * count; number++) {
      for (const hot of [3, 40, 90]) owner.touch(hot)
      expect(cache.hasRoom).toBe(false)
      owner.add(number, filled(200, 1))
    }
    expect([3, 40, 90].every((hot) => owner.has(hot))).toBe(true)
    const others = Array.from({ length: count }, (_, number) => number).filter((number) => owner.has(number))
    expect(others.length).toBeLessThan(16)
    expect(owner.has(2 * count - 1)).toBe(true)
    owner.check()
  })

  it('makes room where everything is touched, for small records and for large ones', () => {
    const cache = new BlockCache(MEMORY)
    cache.setCapacity(4 * REGION)
    const owner = new Owner(cache)
    const count = fill(cache, owner)
    for (let number = count; number < NUMBERS; number++) {
      for (let other = 0; other < number; other++) if (owner.has(other)) owner.touch(other)
      const share = number % 7 === 0 ? 4 : 16
      expect(owner.add(number, filled(REGION / share - RECORD_HEADER_BYTES, 7))).toBe(true)
    }
    expect(cache.weight).toBe(4 * REGION)
    expect(owner.count).toBeGreaterThan(20)
    owner.check()
  })

  it('writes over nothing that is lent, and over it once it was given back', () => {
    const cache = new BlockCache(MEMORY)
    cache.setCapacity(REGION)
    const owner = new Owner(cache)
    owner.add(0, filled(100, 65))
    const { region } = owner.at(0)
    const bytes = owner.read(0)
    const borrower = {}
    expect(region.borrow(borrower)).toBe(true)
    expect(region.borrow(borrower)).toBe(false)
    for (let number = 1; number < 200; number++) owner.add(number, filled(100, 66))
    expect(owner.has(0)).toBe(false)
    expect(bytes.equals(filled(100, 65))).toBe(true)
    const last = owner.at(199).region
    expect(last).not.toBe(region)
    for (let number = 200; number < NUMBERS; number++) owner.add(number, filled(100, 67))
    expect(owner.at(NUMBERS - 1).region).toBe(last)
  })

  it('uses the memory of released owners first, and their numbers mean nothing to those who come after', () => {
    const cache = new BlockCache(MEMORY)
    cache.setCapacity(4 * REGION)
    const first = new Owner(cache)
    fill(cache, first)
    cache.release(first.id)
    expect([cache.count, cache.weight, cache.hasRoom]).toEqual([0, 4 * REGION, true])
    const second = new Owner(cache)
    expect(second.id).toBe(first.id)
    fill(cache, second)
    expect(cache.weight).toBe(4 * REGION)
    expect(cache.count).toBe(second.count)
    second.check()
    cache.setCapacity(0)
    expect([cache.count, cache.weight, second.count]).toEqual([0, 0, 0])
    expect(second.add(0, filled(1, 1))).toBe(false)
  })
})
