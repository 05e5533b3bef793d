import type { Position, Range } from '../../src/index.js'
import { compareBytes } from '../../src/util/bytes.js'

export interface ModelEntry {
  readonly key: Buffer
  readonly value: Buffer
  readonly position: Position
}

/** What a store should hold: a sorted array, and copies of it for snapshots. */
export class Model {
  #entries: readonly ModelEntry[] = []
  position: Position = 0

  get entries(): readonly ModelEntry[] {
    return this.#entries
  }

  find(key: Buffer): ModelEntry | undefined {
    return this.#entries.find((entry) => entry.key.equals(key))
  }

  /** One batch: later operations on a key win. */
  apply(ops: readonly { key: Buffer; value?: Buffer | undefined }[]): void {
    this.position++
    for (const { key, value } of ops) {
      const others = this.#entries.filter((entry) => !entry.key.equals(key))
      this.#entries =
        value === undefined ? others : sorted([...others, { key, value, position: this.position }])
    }
  }

  clear(range: Range<Buffer>): void {
    this.position++
    this.#entries = this.#entries.filter((entry) => !isWithin(entry.key, range))
  }

  copy(): Model {
    const model = new Model()
    model.#entries = this.#entries
    model.position = this.position
    return model
  }

  /** What an iterator gives that is sought before each of its steps where `seeks` says so. */
  list(range: Range<Buffer>): readonly ModelEntry[] {
    const within = this.#entries.filter((entry) => isWithin(entry.key, range))
    return range.reverse ? within.reverse() : within
  }
}

function sorted(entries: ModelEntry[]): ModelEntry[] {
  return entries.sort((a, b) => compareBytes(a.key, b.key))
}

function isWithin(key: Buffer, { gt, gte, lt, lte, prefix }: Range<Buffer>): boolean {
  if (gt && compareBytes(key, gt) <= 0) return false
  if (gte && compareBytes(key, gte) < 0) return false
  if (lt && compareBytes(key, lt) >= 0) return false
  if (lte && compareBytes(key, lte) > 0) return false
  return !prefix || key.subarray(0, prefix.length).equals(prefix)
}
