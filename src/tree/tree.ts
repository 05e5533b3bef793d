import { BlockCache } from '../cache/block-cache.js'
import { RecentlyMissed } from '../cache/recently-missed.js'
import { RowCache } from '../cache/row-cache.js'
import type { Env } from '../env/env.js'
import type { FileRemover } from '../env/file-remover.js'
import type { Position } from '../key/position.js'
import type { Memtable } from '../memtable/memtable.js'
import { BlobFiles } from '../segment/blob-files.js'
import { ReadPacer } from '../segment/read-pacer.js'
import type { SegmentHost } from '../segment/segment-reader.js'
import { assert } from '../util/assert.js'
import type { Bytes } from '../util/bytes.js'
import { settleShape } from '../util/settle-shape.js'
import { mergeCursors, type Version, type VersionEdit } from '../version/version.js'
import type { VersionSet } from '../version/version-set.js'
import { DeadGaps } from './dead-gaps.js'
import { cacheCapacity, keptFlushed, type MemoryUse, memtableRoom, sizeOf } from './memory-shares.js'
import { SegmentSet } from './segment-set.js'
import { type Debt, writeRate } from './stall.js'
import type { TreeOptions } from './tree-options.js'
import { TreeView } from './tree-view.js'

/** Of the memory, what rows that point reads found in segments are thought to take: their table is made for that. */
const ROWS_SHARE = 1 / 4
/** Entries of a flushed memtable between two looks at the clock. */
const ENTRIES_PER_LOOK = 256
/** How long a flushed memtable may be walked through before others get their turn. */
const SLICE_MS = 0.25

export interface TreeSetup {
  readonly env: Env
  readonly directory: string
  readonly options: TreeOptions
  readonly versions: VersionSet
  readonly remover: FileRemover
  /** No view uses the memtable any more: its log memory may be used again. */
  onMemtableUnused(memtable: Memtable): void
}

/**
 * Memtables and segments as one whole. Knows no log: the memory that memtables stand on is the caller's, who
 * applies batches to the active one and tells when it is full.
 */
export class Tree {
  static {
    settleShape(
      () => new Tree(undefined as never, undefined as never, undefined as never, undefined as never),
    )
  }

  readonly env: Env
  readonly directory: string
  readonly options: TreeOptions
  readonly versions: VersionSet
  readonly cache: BlockCache
  readonly rows: RowCache
  readonly segments: SegmentSet
  /** How often a block was in the cache, or not. */
  readonly blockReads: { readonly hits: number; readonly misses: number }
  readonly #gaps = new DeadGaps()
  readonly #onMemtableUnused: (memtable: Memtable) => void
  /** Newest first: the active one, then those that wait to be flushed. */
  #memtables: readonly Memtable[]
  /**
   * Newest first: the latest that are in segments too. What was written last is read most, and is here in one step
   * and not in cold blocks; their memory is there for the memtables to come.
   */
  #flushed: readonly Memtable[] = []
  #view: TreeView
  /** How many memtables there is room for beside what the cache holds, as of the last change of either. */
  #memtableRoom = 0
  /** Whether the cache has the memory of the active memtable, to which nothing was written yet. */
  #isActiveLent = false
  /** Whether a flushed memtable is about to leave its memory to the cache. */
  #isGivingWay = false
  #isClosed = false
  readonly #memtableUses = new Map<Memtable, number>()
  /** Positions that readers hold, each with how many do. */
  readonly #pins = new Map<Position, number>()
  /** One more of them, and how many hold it beside those: short reads come and go at one position. */
  #pinned: Position = 0
  #pinnedCount = 0

  private constructor(setup: TreeSetup, host: SegmentHost, segments: SegmentSet, active: Memtable) {
    this.env = setup.env
    this.directory = setup.directory
    this.options = setup.options
    this.versions = setup.versions
    this.#onMemtableUnused = (memtable) => setup.onMemtableUnused(memtable)
    this.cache = host.cache
    this.rows = new RowCache(this.cache, Math.floor(this.options.memory * ROWS_SHARE))
    this.blockReads = host.blockReads
    this.segments = segments
    this.#memtables = [active]
    this.#view = this.#makeView()
    this.balanceMemory()
    this.cache.onLack = () => this.#giveWay()
  }

  /** Opens every segment of the current version. @throws VarveError `VARVE_CORRUPTION`. */
  static async open(setup: TreeSetup, active: Memtable): Promise<Tree> {
    const { env, directory, options, versions } = setup
    const cache = new BlockCache(options.memory)
    const host = {
      env,
      directory,
      cache,
      missed: new RecentlyMissed(options.memory),
      pacer: new ReadPacer(env.clock),
      blobs: new BlobFiles(env, directory),
      blockReads: { hits: 0, misses: 0 },
    }
    const segments = new SegmentSet(env, host, setup.remover, options.memory)
    try {
      await segments.openAll(versions.version.segments(), versions.version.blobs.values())
      return new Tree(setup, host, segments, active)
    } catch (error) {
      segments.closeAll()
      throw error
    }
  }

  get version(): Version {
    return this.versions.version
  }

  get active(): Memtable {
    return this.#memtables[0]!
  }

  get oldestMemtable(): Memtable {
    return this.#memtables[this.#memtables.length - 1]!
  }

  /** Oldest first. */
  get waiting(): readonly Memtable[] {
    return this.#memtables.slice(1).reverse()
  }

  /** Borrowed: valid until the next `await`. Whoever needs it longer acquires it. */
  get view(): TreeView {
    return this.#view
  }

  /** Bytes of all memtables: log memory in use and index. */
  get memtableBytes(): number {
    return sizeOf(this.#memtables) + sizeOf(this.#flushed)
  }

  /** At how many bytes a millisecond writes may go on; undefined: freely. */
  get writeRate(): number | undefined {
    const { endOffset } = this.active
    const { waitingMemtables, l0Segments } = this.debt
    const activeShare = Math.min(1, endOffset / this.options.memtableBytes)
    const memtableRoom = this.#memtableRoom
    return writeRate({ waitingMemtables, l0Segments, activeShare, memtableRoom }, this.options)
  }

  get debt(): Debt {
    return { waitingMemtables: this.#memtables.length - 1, l0Segments: this.version.levels[0]!.length }
  }

  /** The states of all consumers, by name. */
  cursors(): ReadonlyMap<string, Bytes> {
    return this.#memtables.reduceRight(
      (older, { cursors }) => mergeCursors(older, cursors),
      this.version.cursors,
    )
  }

  /** So much memory is wanted for a new memtable: those in segments that have no room beside it go. */
  makeRoom(bytes: number): void {
    const before = this.#flushed
    this.#keepFlushed(before, bytes)
    if (this.#flushed !== before) this.#replaceView()
  }

  /** The active memtable is full: it waits for its flush, and `next` takes its place. */
  rotate(next: Memtable): void {
    assert(next.basePosition === this.active.lastPosition, 'memtables follow one another without a gap')
    this.#memtables = [next, ...this.#memtables]
    this.#replaceView()
  }

  /** Puts another memtable in the place of the active one, which must be empty. */
  replaceEmptyActive(next: Memtable): void {
    assert(
      this.active.isEmpty && next.basePosition === this.active.lastPosition,
      'only an empty memtable is replaced',
    )
    this.#memtables = [next, ...this.#memtables.slice(1)]
    this.#replaceView()
  }

  /**
   * Makes an edit durable and shows its segments. What it removes is deleted once nobody reads it.
   * @param flushed the memtables whose entries the added segments hold.
   */
  async install(edit: VersionEdit, flushed: readonly Memtable[] = []): Promise<void> {
    const added = (edit.added ?? []).map(({ meta }) => meta)
    await this.segments.openAll(added, edit.blobs ?? [])
    await this.#forgetRows(flushed)
    await this.versions.commit(edit)
    if (flushed.length > 0) {
      this.#memtables = this.#memtables.filter((memtable) => !flushed.includes(memtable))
      this.#keepFlushed([...flushed.toReversed(), ...this.#flushed])
    }
    for (const memtable of flushed) this.#gaps.forget(memtable)
    this.#replaceView()
    // The view has retained them.
    if (flushed.length > 0) for (const { number } of added) this.segments.level0.release(number)
    const kept = new Set(added.map(({ number }) => number))
    for (const number of edit.removed ?? []) if (!kept.has(number)) this.segments.markObsolete(number)
  }

  pin(position: Position): void {
    if (this.#pinnedCount === 0) this.#pinned = position
    if (position === this.#pinned) {
      this.#pinnedCount++
      return
    }
    this.#pins.set(position, (this.#pins.get(position) ?? 0) + 1)
  }

  unpin(position: Position): void {
    if (position === this.#pinned && this.#pinnedCount > 0) {
      this.#pinnedCount--
      return
    }
    const count = this.#pins.get(position)! - 1
    if (count === 0) this.#pins.delete(position)
    else this.#pins.set(position, count)
  }

  /** Ascending. */
  pinnedPositions(): Position[] {
    const positions = new Set(this.#pins.keys())
    if (this.#pinnedCount > 0) positions.add(this.#pinned)
    return [...positions].sort((a, b) => a - b)
  }

  get pinCount(): number {
    return [...this.#pins.values()].reduce((sum, count) => sum + count, this.#pinnedCount)
  }

  /** Gives the block cache what memtables, indexes and filters leave of the budget. */
  balanceMemory(): void {
    this.cache.setCapacity(cacheCapacity(this.#memoryUse, [...this.#memtables, ...this.#flushed]))
    this.#memtableRoom = memtableRoom(this.#memoryUse, this.#memtables)
    this.#isActiveLent = this.active.isEmpty
  }

  /** Something was written: the active memtable wants its memory. */
  noteCommit(): void {
    if (this.#isActiveLent) this.balanceMemory()
  }

  /** Closes every file. Readers that still run see closed files. */
  close(): void {
    this.#isClosed = true
    this.segments.closeAll()
  }

  /**
   * The entries of these memtables are about to be read from a segment. Their rows are old then: nobody adds one
   * meanwhile, as long as the memtables are in the view reads of their keys end there.
   */
  async #forgetRows(memtables: readonly Memtable[]): Promise<void> {
    const { rows } = this
    const { clock } = this.env
    for (const memtable of memtables) {
      if (!memtable.tombstones.isEmpty) for (const _ of rows.clear()) await clock.sleep(0)
      if (rows.isUnused) continue
      let endMs = clock.monotonicMs() + SLICE_MS
      for (let from = 0; from < memtable.count; from += ENTRIES_PER_LOOK) {
        const to = Math.min(memtable.count, from + ENTRIES_PER_LOOK)
        for (let entry = from; entry < to; entry++) rows.forget(memtable.hashOf(entry))
        if (clock.monotonicMs() < endMs) continue
        await clock.sleep(0)
        endMs = clock.monotonicMs() + SLICE_MS
      }
    }
  }

  get #memoryUse(): MemoryUse {
    const { memory, memtableBytes } = this.options
    const tables = this.segments.tableBytes + this.rows.sizeBytes
    return { memory, memtableBytes, tables, cache: this.cache.weight }
  }

  /** Of `flushed`, newest first, those that have room beside the other memtables and `wantedBytes`. */
  #keepFlushed(flushed: readonly Memtable[], wantedBytes = 0): void {
    const count = keptFlushed(this.#memoryUse, this.#memtables, flushed, wantedBytes)
    this.#flushed = count === flushed.length ? flushed : flushed.slice(0, count)
  }

  /**
   * The cache lacks memory, and blocks that are asked for are worth more than memtables that are in segments: the oldest
   * of these goes, a turn later, since whoever reads now may look into it.
   */
  #giveWay(): void {
    if (this.#isGivingWay || this.#flushed.length === 0) return
    this.#isGivingWay = true
    void this.env.clock.sleep(0).then(() => {
      this.#isGivingWay = false
      if (!this.#isClosed) this.makeRoom(this.options.memtableBytes)
    })
  }

  #makeView(): TreeView {
    const onUnused = (view: TreeView) => this.#dropMemtables(view)
    const view = new TreeView(
      this.#memtables,
      this.#flushed,
      this.version,
      this.segments,
      this.#gaps,
      onUnused,
    )
    for (const memtable of view.recent)
      this.#memtableUses.set(memtable, (this.#memtableUses.get(memtable) ?? 0) + 1)
    return view
  }

  #replaceView(): void {
    const previous = this.#view
    this.#view = this.#makeView()
    previous.release()
    this.balanceMemory()
  }

  #dropMemtables(view: TreeView): void {
    for (const memtable of view.recent) {
      const uses = this.#memtableUses.get(memtable)! - 1
      if (uses > 0) {
        this.#memtableUses.set(memtable, uses)
        continue
      }
      this.#memtableUses.delete(memtable)
      this.#onMemtableUnused(memtable)
    }
  }
}
