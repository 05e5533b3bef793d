import { checkReach } from '../access/reader.js'
import type { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { RangeIterator } from '../store/contract.js'
import { BOUND_NAMES } from '../store/option-names.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import type { Build } from './build.js'
import type { ViewRange, ViewReadOptions, ViewReads, ViewStatus } from './contract.js'
import type { Definition } from './resolve.js'
import type { VersionHost } from './version-finder.js'
import { Versions } from './versions.js'
import { ViewIterator } from './view-iterator.js'

const READ_NAMES: OptionNames<ViewReadOptions> = { atLeast: true, timeoutMs: true, signal: true }
const RANGE_NAMES: OptionNames<ViewRange<unknown>> = { ...READ_NAMES, ...BOUND_NAMES }

/** The reads of an open view, and what can be done with it; which version answers is for `Versions` to know. */
export class NamedView implements ViewReads<unknown, unknown> {
  readonly name: string
  readonly #versions: Versions
  #closing: Promise<void> | undefined

  private constructor(name: string, versions: Versions) {
    this.name = name
    this.#versions = versions
  }

  static async open(host: VersionHost, definition: Definition): Promise<NamedView> {
    const versions = new Versions(host, definition.name)
    const view = new NamedView(definition.name, versions)
    try {
      await versions.define(definition)
    } catch (error) {
      await versions.close()
      throw error
    }
    view.#addReads(definition)
    return view
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  /** Another version: it is built, then takes over. */
  async define(definition: Definition): Promise<void> {
    await this.#versions.define(definition)
    this.#addReads(definition)
  }

  get version(): string {
    return this.#versions.version
  }

  get position(): Position {
    return this.#versions.serving?.position ?? 0
  }

  get lag(): number {
    return Math.max(0, this.#versions.mainPosition - this.position)
  }

  get status(): ViewStatus {
    return this.#versions.status
  }

  get error(): VarveError | undefined {
    return this.#versions.error
  }

  get ready(): Promise<void> {
    return this.#versions.ready
  }

  async get(key: unknown, options?: ViewReadOptions): Promise<unknown> {
    checkOptionNames('a read', options, READ_NAMES)
    return this.#read(options, ({ typed }) => typed.reader.get(key, undefined, typed.reader.decodeValue))
  }

  getSync(key: unknown, options?: ViewReadOptions): unknown {
    checkOptionNames('a read', options, READ_NAMES)
    return this.#versions.now(options).typed.reader.getSync(key, undefined)
  }

  async getMany(keys: readonly unknown[], options?: ViewReadOptions): Promise<unknown[]> {
    checkOptionNames('a read', options, READ_NAMES)
    return this.#read(options, ({ typed }) => typed.reader.getMany(keys, undefined))
  }

  async has(key: unknown, options?: ViewReadOptions): Promise<boolean> {
    checkOptionNames('a read', options, READ_NAMES)
    return this.#read(options, ({ typed }) => typed.reader.has(key, undefined))
  }

  entries(range: ViewRange<unknown> = {}): RangeIterator<[unknown, unknown]> {
    return this.#iterate(range, ({ typed }) => typed.ranges.entries(withoutReach(range)))
  }

  keys(range: ViewRange<unknown> = {}): RangeIterator<unknown> {
    return this.#iterate(range, ({ typed }) => typed.ranges.keys(withoutReach(range)))
  }

  values(range: ViewRange<unknown> = {}): RangeIterator<unknown> {
    return this.#iterate(range, ({ typed }) => typed.ranges.values(withoutReach(range)))
  }

  async reach(
    position: Position = this.#versions.mainPosition,
    options: Omit<ViewReadOptions, 'atLeast'> = {},
  ): Promise<void> {
    checkOptionNames('reach', options, { timeoutMs: true, signal: true })
    await this.#versions.reached({ ...options, atLeast: position })
  }

  retry(): Promise<void> {
    return this.#versions.retry()
  }

  rollback(): Promise<void> {
    return this.#versions.rollback()
  }

  dropPrevious(): Promise<void> {
    return this.#versions.dropPrevious()
  }

  checkpoint(path: string): Promise<{ position: Position }> {
    return this.#versions.checkpoint(path)
  }

  close(): Promise<void> {
    this.#closing ??= this.#versions.close()
    return this.#closing
  }

  async drop(): Promise<void> {
    await this.close()
    await this.#versions.removeAll()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #addReads({ hooks }: Definition): void {
    if (hooks?.reads) Object.assign(this, hooks.reads(this.#versions as never))
  }

  /** A read that a switch overtakes is made again, of what answers then. */
  async #read<R>(options: ViewReadOptions | undefined, read: (build: Build) => Promise<R>): Promise<R> {
    for (;;) {
      const build = this.#versions.answering(options) ?? (await this.#versions.reached(options))
      try {
        return await read(build)
      } catch (error) {
        if (!build.isClosed || this.#versions.isClosed) throw error
      }
    }
  }

  #iterate<T>(options: ViewReadOptions, open: (build: Build) => RangeIterator<T>): RangeIterator<T> {
    checkOptionNames('a range', options, RANGE_NAMES)
    checkReach(reachOf(options))
    let used: Build | undefined
    const start = (build: Build): RangeIterator<T> => {
      const inner = open(build)
      build.readers.acquire()
      used = build
      return inner
    }
    const end = () => used?.readers.release()
    const answering = this.#versions.answering(options)
    if (answering) return new ViewIterator(start(answering), async () => start(answering), end)
    return new ViewIterator<T>(undefined, async () => start(await this.#versions.reached(options)), end)
  }
}

function withoutReach({ atLeast: _, timeoutMs: __, ...range }: ViewRange<unknown>) {
  return range
}

function reachOf({ atLeast, timeoutMs }: ViewReadOptions): { atLeast?: Position; timeoutMs?: number } {
  return {
    ...(atLeast === undefined ? {} : { atLeast }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  }
}
