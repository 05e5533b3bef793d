import type { Codec } from '../access/codec.js'
import { StoreSnapshot } from '../access/snapshot.js'
import type { TypedStore } from '../access/typed-store.js'
import type { Range, RangeIterator } from '../store/contract.js'
import type { Build } from './build.js'
import type { ViewReadOptions } from './contract.js'
import { clearsKey, PendingClears } from './derived-entries.js'
import type { Versions } from './versions.js'

/** What the reads that a helper adds see: the version that answers, as it is at one position. */
export interface Sight {
  readonly typed: TypedStore<Buffer, Buffer>
  readonly snapshot: StoreSnapshot
  readonly clears: PendingClears
  entries(range: Range<Buffer>): RangeIterator<[Buffer, Buffer]>
}

/** A view as its helper's reads get it. */
export class ViewAccess<K> {
  readonly #versions: Versions

  constructor(versions: Versions) {
    this.#versions = versions
  }

  get mainKeys(): Codec<K> {
    return this.#versions.mainKeys as Codec<K>
  }

  decodeMainKey(bytes: Buffer, start: number, end: number): K {
    return this.mainKeys.decode(bytes, start, end)
  }

  /** The version that answers, once it has what the read asks for. */
  async reached(options: ViewReadOptions | undefined): Promise<Build> {
    return this.#versions.answering(options) ?? (await this.#versions.reached(options))
  }

  async read<R>(options: ViewReadOptions | undefined, work: (sight: Sight) => Promise<R>): Promise<R> {
    const { sight, close } = await this.open(options)
    try {
      return await work(sight)
    } finally {
      close()
    }
  }

  /** For reads that go on: whoever opens it closes it. */
  async open(options: ViewReadOptions | undefined): Promise<{ sight: Sight; close(): void }> {
    const build = await this.reached(options)
    build.readers.acquire()
    const typed = build.typed as unknown as TypedStore<Buffer, Buffer>
    const snapshot = new StoreSnapshot(build.store)
    const close = () => {
      snapshot.close()
      build.readers.release()
    }
    try {
      const bytes = await typed.reader.get(clearsKey, snapshot, typed.reader.decodeValue)
      const entries = (range: Range<Buffer>) => typed.ranges.entries({ ...range, snapshot })
      return { sight: { typed, snapshot, clears: PendingClears.decode(bytes), entries }, close }
    } catch (error) {
      close()
      throw error
    }
  }
}
