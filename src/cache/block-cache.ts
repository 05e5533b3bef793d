import { settleShape } from '../util/settle-shape.js'
import { CacheRegion, UNIT_BYTES, UNIT_WORDS } from './cache-region.js'

const REGION_BYTES_MIN = 1024
const REGION_BYTES_MAX = 512 * 1024
/** Of the memory, for each region: so that what one of them loses at once is little. */
const REGIONS_MIN = 64
/** Records that take more of a region than one of so many stand alone. */
const RECORDS_MIN = 4

/** Of a region that is used again: all of it may be hot, and there must be room in it then too. */
const KEPT_MAX = 3 / 4

/** record := owner:u32 | number:u32 | units:u32 | isTouched:u32 | payload */
export const RECORD_HEADER_BYTES = 16
const NUMBER_WORD = 1
const UNITS_WORD = 2
const TOUCHED_WORD = 3

/** Places are 32 bits, and 0 is none. */
const PLACES = 2 ** 32 - 1

/**
 * Keeps records up to a total of memory and drops those not touched lately. Records stand one after another in regions
 * of memory; when there is no room, the oldest region is taken again: what was touched in it moves up, the rest is
 * dropped. That is CLOCK (Corbató, "A paging experiment with the Multics system", 1968) in the memory of a log, as in
 * Rumble et al., "Log-structured memory for DRAM-based storage" (2014): no object, no allocation and no work for the
 * collector for each record, and a hit meets the lines of the record alone.
 *
 * An owner has a place for each of its numbers, 0 where nothing is kept; the cache writes to it. What stands at a place
 * is borrowed until the next `add`, or longer by `CacheRegion.borrow`.
 */
export class BlockCache {
  readonly #regions: (CacheRegion | undefined)[] = []
  readonly #freeSlots: number[] = []
  /** Oldest first, without the one that takes records now. */
  readonly #queue: CacheRegion[] = []
  /** Without any record. */
  readonly #spare: CacheRegion[] = []
  readonly #owners: (Uint32Array | undefined)[] = [undefined]
  readonly #freeOwners: number[] = []
  readonly #regionUnits: number
  readonly #unitBits: number
  readonly #unitMask: number
  #head: CacheRegion | undefined
  #capacity: number
  #bytes = 0
  #count = 0
  #lastUnits = 1
  /** More capacity would be used at once. Whoever shares the memory may give some, but not before the next task. */
  onLack: (() => void) | undefined

  /** @param memory bytes of the budget that the cache is a part of. */
  constructor(memory: number) {
    let bytes = REGION_BYTES_MIN
    while (bytes < REGION_BYTES_MAX && bytes * 2 * REGIONS_MIN <= memory) bytes *= 2
    this.#regionUnits = bytes / UNIT_BYTES
    this.#unitBits = Math.log2(this.#regionUnits)
    this.#unitMask = this.#regionUnits - 1
    this.#capacity = 0
    this.setCapacity(memory)
  }

  /** Bytes of memory that it takes. */
  get weight(): number {
    return this.#bytes
  }

  /** Records in it. */
  get count(): number {
    return this.#count
  }

  /** Whether one more record, as large as the last one, would push nothing out. */
  get hasRoom(): boolean {
    return this.#hasRoomFor(this.#lastUnits)
  }

  /** Whether a record of this size would push nothing out. */
  hasRoomFor(payloadBytes: number): boolean {
    return this.#hasRoomFor(unitsOf(payloadBytes))
  }

  setCapacity(capacity: number): void {
    const most = (PLACES >>> this.#unitBits) * this.#regionUnits * UNIT_BYTES
    this.#capacity = Math.min(capacity, most)
    this.#shrinkTo(this.#capacity)
  }

  /** @param places one for each number of the owner; all 0. */
  register(places: Uint32Array): number {
    const owner = this.#freeOwners.pop() ?? this.#owners.length
    this.#owners[owner] = places
    return owner
  }

  /** Nothing that the owner had is kept any more. */
  release(owner: number): void {
    const places = this.#owners[owner]
    if (!places) return
    this.#owners[owner] = undefined
    this.#freeOwners.push(owner)
    for (let number = 0; number < places.length; number++) this.#dropAt(places, number)
  }

  /** What the owner had under the number is not asked for any more. */
  drop(owner: number, number: number): void {
    this.#dropAt(this.#owners[owner]!, number)
  }

  /** Where the record of a place stands. */
  regionOf(place: number): CacheRegion {
    return this.#regions[(place - 1) >>> this.#unitBits]!
  }

  /** Where its payload starts in the region, in bytes: a multiple of 16. */
  payloadAt(place: number): number {
    return ((place - 1) & this.#unitMask) * UNIT_BYTES + RECORD_HEADER_BYTES
  }

  /** It was used: it stays for a while longer. */
  touch(region: CacheRegion, payloadAt: number): void {
    const word = ((payloadAt - RECORD_HEADER_BYTES) >>> 2) + TOUCHED_WORD
    // A line that is written has to go back to memory.
    if (region.words[word] === 0) region.words[word] = 1
  }

  /**
   * Makes room for a record, which the caller writes at once, and sets the owner's place; 0: there is none for it.
   * New records are untouched: a long scan passes through without pushing out what is used again.
   */
  add(owner: number, number: number, payloadBytes: number): number {
    const units = unitsOf(payloadBytes)
    this.#lastUnits = units
    if (!this.#hasRoomFor(units)) this.onLack?.()
    const region = this.#standsAlone(units) ? this.#dedicated(units) : this.#headFor(units)
    if (!region) return 0
    const unit = region.end
    const place = this.#placeOf(region, unit)
    const word = unit * UNIT_WORDS
    region.words[word] = owner
    region.words[word + NUMBER_WORD] = number
    region.words[word + UNITS_WORD] = units
    region.words[word + TOUCHED_WORD] = 0
    region.end += units
    region.records++
    region.live++
    this.#count++
    this.#owners[owner]![number] = place
    return place
  }

  #hasRoomFor(units: number): boolean {
    const head = this.#head
    if (this.#standsAlone(units)) return this.#bytes + units * UNIT_BYTES <= this.#capacity
    if (this.#spare.length > 0) return true
    // What there is in a region that is used again, others were pushed out for.
    if (head && !head.isUsedAgain && head.end + units <= head.units) return true
    return this.#bytes + this.#regionUnits * UNIT_BYTES <= this.#capacity
  }

  #dropAt(places: Uint32Array, number: number): void {
    const place = places[number]!
    if (place === 0) return
    places[number] = 0
    this.#count--
    const region = this.regionOf(place)
    region.live--
    if (region.live === 0 && region !== this.#head) this.#retire(region)
  }

  #standsAlone(units: number): boolean {
    return units * RECORDS_MIN > this.#regionUnits
  }

  #placeOf(region: CacheRegion, unit: number): number {
    return region.slot * this.#regionUnits + unit + 1
  }

  #dedicated(units: number): CacheRegion | undefined {
    const sizeBytes = units * UNIT_BYTES
    if (sizeBytes > this.#capacity) return undefined
    this.#shrinkTo(this.#capacity - sizeBytes)
    const region = this.#allocate(units, true)
    this.#queue.push(region)
    return region
  }

  /** The region that takes a record of so many units. */
  #headFor(units: number): CacheRegion | undefined {
    const head = this.#head
    if (head && head.end + units <= head.units) return head
    if (head) this.#queue.push(head)
    this.#head = this.#spare.pop() ?? this.#freshRegion() ?? this.#usedRegion(units)
    return this.#head
  }

  #freshRegion(): CacheRegion | undefined {
    if (this.#bytes + this.#regionUnits * UNIT_BYTES > this.#capacity) return undefined
    return this.#allocate(this.#regionUnits, false)
  }

  /** The oldest region, with what was touched in it, and room for so many units. */
  #usedRegion(units: number): CacheRegion | undefined {
    const keptMax = Math.min(this.#regionUnits * KEPT_MAX, this.#regionUnits - units)
    for (let victim = this.#victim(); victim; victim = this.#victim()) {
      if (victim.isDedicated) {
        this.#passDedicated(victim)
        const fresh = this.#freshRegion()
        if (fresh) return fresh
        continue
      }
      if (!victim.isLent) {
        this.#moveTouched(victim, victim, keptMax)
        victim.isUsedAgain = true
        return victim
      }
      // Somebody may still look at it: it goes to the collector.
      const fresh = this.#allocate(this.#regionUnits, false)
      this.#moveTouched(victim, fresh, keptMax)
      fresh.isUsedAgain = true
      this.#free(victim)
      return fresh
    }
    return undefined
  }

  /** The one whose records most are dead of, if that is half of them or more; else the oldest. */
  #victim(): CacheRegion | undefined {
    const queue = this.#queue
    let chosen = 0
    let least = 0.5
    for (let i = 0; i < queue.length; i++) {
      const share = queue[i]!.live / queue[i]!.records
      if (share >= least) continue
      least = share
      chosen = i
    }
    return queue.splice(chosen, 1)[0]
  }

  /** Drops it, but for the first time after it was touched. */
  #passDedicated(region: CacheRegion): void {
    const { words } = region
    if (region.live > 0 && words[TOUCHED_WORD] === 1) {
      words[TOUCHED_WORD] = 0
      this.#queue.push(region)
      return
    }
    this.#dropRecords(region)
    this.#free(region)
  }

  #shrinkTo(bytes: number): void {
    while (this.#bytes > bytes && this.#spare.length > 0) this.#free(this.#spare.pop()!)
    while (this.#bytes > bytes) {
      const victim = this.#victim()
      if (!victim) break
      if (victim.isDedicated) {
        this.#passDedicated(victim)
        continue
      }
      const head = this.#head
      if (head) this.#moveTouched(victim, head, head.units)
      else this.#dropRecords(victim)
      this.#free(victim)
    }
    const head = this.#head
    if (this.#bytes <= bytes || !head) return
    this.#head = undefined
    this.#dropRecords(head)
    this.#free(head)
  }

  /**
   * Moves the records of `from` that were touched to the end of `into`, as far as `unitsMax` of it, and drops the rest.
   * @param into may be `from` itself, which is then packed.
   */
  #moveTouched(from: CacheRegion, into: CacheRegion, unitsMax: number): void {
    const { words, end } = from
    const isPacked = from === into
    if (isPacked) from.clear()
    for (let unit = 0, units = 0; unit < end; unit += units) {
      const word = unit * UNIT_WORDS
      units = words[word + UNITS_WORD]!
      const number = words[word + NUMBER_WORD]!
      const places = this.#owners[words[word]!]
      // A place of its owner points elsewhere where it was dropped, and its owner may be another by now.
      if (places?.[number] !== this.#placeOf(from, unit)) continue
      if (words[word + TOUCHED_WORD] === 0 || into.end + units > unitsMax) {
        places[number] = 0
        this.#count--
        continue
      }
      const at = into.end
      if (!isPacked || at !== unit)
        into.words.set(words.subarray(word, word + units * UNIT_WORDS), at * UNIT_WORDS)
      into.words[at * UNIT_WORDS + TOUCHED_WORD] = 0
      places[number] = this.#placeOf(into, at)
      into.end += units
      into.records++
      into.live++
    }
    if (!isPacked) from.clear()
  }

  #dropRecords(region: CacheRegion): void {
    this.#moveTouched(region, region, 0)
  }

  /** Nothing in it is asked for any more. */
  #retire(region: CacheRegion): void {
    this.#queue.splice(this.#queue.indexOf(region), 1)
    if (region.isDedicated || region.isLent) {
      this.#free(region)
      return
    }
    region.clear()
    this.#spare.push(region)
  }

  #allocate(units: number, isDedicated: boolean): CacheRegion {
    const slot = this.#freeSlots.pop() ?? this.#regions.length
    const region = new CacheRegion(units, slot, isDedicated)
    this.#regions[slot] = region
    this.#bytes += units * UNIT_BYTES
    return region
  }

  #free(region: CacheRegion): void {
    this.#regions[region.slot] = undefined
    this.#freeSlots.push(region.slot)
    this.#bytes -= region.units * UNIT_BYTES
  }
}

settleShape(() => new BlockCache(0))

function unitsOf(payloadBytes: number): number {
  return Math.ceil((RECORD_HEADER_BYTES + payloadBytes) / UNIT_BYTES)
}
