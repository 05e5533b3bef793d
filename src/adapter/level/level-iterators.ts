import { AbstractIterator, AbstractKeyIterator, AbstractValueIterator } from 'abstract-level'
import type { Database } from '../../database.js'
import type { Range } from '../../store/contract.js'
import { type CursorOptions, LevelCursor } from './level-cursor.js'

type Format = string | Uint8Array
type Entry = [Format | undefined, Format | undefined]

/** Entries, or only their keys or values where the other half was declined. */
export class VarveIterator<TDatabase> extends AbstractIterator<TDatabase, Format, Format> {
  readonly #cursor: LevelCursor<unknown>
  readonly #toEntry: ((item: unknown) => Entry) | undefined

  constructor(
    db: TDatabase,
    store: Database<Format, Format>,
    range: Range<Format>,
    options: CursorOptions & { readonly keys: boolean; readonly values: boolean },
  ) {
    super(db, options as never)
    if (options.keys && options.values) {
      this.#cursor = new LevelCursor<unknown>((bounds) => store.entries(bounds), range, options)
    } else if (options.keys) {
      this.#cursor = new LevelCursor<unknown>((bounds) => store.keys(bounds), range, options)
      this.#toEntry = (key) => [key as Format, undefined]
    } else {
      this.#cursor = new LevelCursor<unknown>((bounds) => store.values(bounds), range, options)
      this.#toEntry = (value) => [undefined, value as Format]
    }
  }

  async _next(): Promise<Entry | undefined> {
    const item = await this.#cursor.next()
    return item === undefined || !this.#toEntry ? (item as Entry | undefined) : this.#toEntry(item)
  }

  async _nextv(size: number): Promise<Entry[]> {
    const items = await this.#cursor.nextv(size)
    return this.#toEntry ? items.map(this.#toEntry) : (items as Entry[])
  }

  _seek(target: Format): void {
    this.#cursor.seek(target)
  }

  _close(): Promise<void> {
    return this.#cursor.close()
  }
}

/** An iterator over one half of the entries, as abstract-level makes it. */
type HalfIterator = new (db: unknown, cursor: LevelCursor<Format>, options: CursorOptions) => object

/** Keys and values differ in what abstract-level decodes them with, and in nothing that is done here. */
function overCursor(Base: new (db: never, options: never) => object): HalfIterator {
  return class extends Base {
    readonly #cursor: LevelCursor<Format>

    constructor(db: unknown, cursor: LevelCursor<Format>, options: CursorOptions) {
      super(db as never, options as never)
      this.#cursor = cursor
    }

    _next(): Promise<Format | undefined> {
      return this.#cursor.next()
    }

    _nextv(size: number): Promise<Format[]> {
      return this.#cursor.nextv(size)
    }

    _seek(target: Format): void {
      this.#cursor.seek(target)
    }

    _close(): Promise<void> {
      return this.#cursor.close()
    }
  }
}

/** Keys alone: no value is copied. */
export const VarveKeyIterator = overCursor(AbstractKeyIterator)

/** Values alone. */
export const VarveValueIterator = overCursor(AbstractValueIterator)
