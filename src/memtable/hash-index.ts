import { uncountedWords } from '../util/uncounted-words.js'

/**
 * Maps a key's 32-bit hash to where the key's newest operation stands: open addressing, cut in tables by the hash's
 * top bits so that growing one is a short pause. A slot is a pair (hash, offset) in one cache line; no operation
 * stands at 0. Not the number of an entry: its offset would be one more line to wait for in every read.
 */
const TABLE_BITS = 8
const TABLE_SHIFT = 32 - TABLE_BITS
const TABLE_COUNT = 1 << TABLE_BITS
const FIRST_SLOTS = 16
const EMPTY_TABLE = new Uint32Array(0)

export class HashIndex {
  readonly #tables: Uint32Array[] = new Array<Uint32Array>(TABLE_COUNT).fill(EMPTY_TABLE)
  readonly #counts = new Uint32Array(TABLE_COUNT)
  /** Tables of forgotten keys, each cleared when its place has a key again: all at once would take a millisecond. */
  readonly #forgotten: Uint32Array[] = new Array<Uint32Array>(TABLE_COUNT).fill(EMPTY_TABLE)
  /** Numbers in a table that has its first key: two for a slot. */
  readonly #firstLength: number
  #sizeBytes = 0

  /** @param keysExpected tables have room for so many from their first key on. */
  constructor(keysExpected = 0) {
    const slots = Math.max(FIRST_SLOTS, (keysExpected / TABLE_COUNT) * 2)
    this.#firstLength = 2 ** Math.ceil(Math.log2(slots * 2))
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Forgets every key; the tables keep their size. */
  clear(): void {
    this.#counts.fill(0)
    for (const [number, table] of this.#tables.entries()) {
      if (table.length === 0) continue
      this.#forgotten[number] = table
      this.#tables[number] = EMPTY_TABLE
    }
  }

  /** The slots to search for `hash`: start at `firstSlot`, go on by 2, wrap at the end, stop at an offset of 0. */
  table(hash: number): Uint32Array {
    return this.#tables[hash >>> TABLE_SHIFT]!
  }

  /** Adds a key that is not there. */
  insert(hash: number, offset: number): void {
    const number = hash >>> TABLE_SHIFT
    const count = ++this.#counts[number]!
    if (count * 4 > this.#tables[number]!.length) this.#grow(number)
    place(this.#tables[number]!, hash, offset)
  }

  #grow(number: number): void {
    const old = this.#tables[number]!
    if (old.length === 0 && this.#forgotten[number]!.length > 0) {
      this.#tables[number] = this.#forgotten[number]!.fill(0)
      this.#forgotten[number] = EMPTY_TABLE
      return
    }
    const grown = uncountedWords(old.length === 0 ? this.#firstLength : old.length * 2)
    for (let slot = 0; slot < old.length; slot += 2) {
      if (old[slot + 1] !== 0) place(grown, old[slot]!, old[slot + 1]!)
    }
    this.#tables[number] = grown
    this.#sizeBytes += (grown.length - old.length) * 4
  }
}

/** Where the search for `hash` starts in its table. */
export function firstSlot(table: Uint32Array, hash: number): number {
  return (hash << 1) & (table.length - 1)
}

function place(table: Uint32Array, hash: number, offset: number): void {
  const mask = table.length - 1
  let slot = firstSlot(table, hash)
  while (table[slot + 1] !== 0) slot = (slot + 2) & mask
  table[slot] = hash
  table[slot + 1] = offset
}
