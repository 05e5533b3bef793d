/**
 * Maps a key's 32-bit hash to where the key's newest operation stands: open addressing, cut in tables by the hash's
 * top bits so that growing one is a short pause. A slot is a pair (hash, offset) in one cache line; no operation
 * stands at 0. Not the number of an entry: its offset would be one more line to wait for in every read.
 */
const TABLE_BITS = 8
const TABLE_SHIFT = 32 - TABLE_BITS
const FIRST_SLOTS = 16

export class HashIndex {
  readonly #tables: Uint32Array[] = []
  readonly #counts = new Uint32Array(1 << TABLE_BITS)
  #sizeBytes = 0

  constructor() {
    const empty = new Uint32Array(0)
    for (let i = 0; i < 1 << TABLE_BITS; i++) this.#tables.push(empty)
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Forgets every key; the tables keep their size. */
  clear(): void {
    this.#counts.fill(0)
    for (const table of this.#tables) table.fill(0)
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
    const grown = new Uint32Array(old.length === 0 ? FIRST_SLOTS * 2 : old.length * 2)
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
