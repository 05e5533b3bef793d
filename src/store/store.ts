import type { Env, FileLock } from '../env/env.js'
import { joinPath, LOCK_NAME } from '../env/file-names.js'
import { FileRemover } from '../env/file-remover.js'
import { ioError, VarveError } from '../errors.js'
import type { KeyRange } from '../key/key-range.js'
import type { Position } from '../key/position.js'
import { LOG_HEADER_BYTES, readLogHeader } from '../log/log-format.js'
import { LogWriter } from '../log/log-writer.js'
import { Memtable } from '../memtable/memtable.js'
import { loadCompression } from '../segment/compression.js'
import { Scheduler } from '../tree/scheduler.js'
import { Tree } from '../tree/tree.js'
import { throwIfAborted, untilAborted } from '../util/abort.js'
import type { Bytes } from '../util/bytes.js'
import { settleShape } from '../util/settle-shape.js'
import { CommitPipeline, type TimedEvent } from './commit-pipeline.js'
import { CommitTimes } from './commit-times.js'
import { type DirectoryListing, logsFrom, prepareDirectory, takeLock } from './directory.js'
import { Events } from './events.js'
import { FairTurn } from './fair-turn.js'
import { heldCursors } from './held-cursors.js'
import { IdleUpkeep } from './idle-upkeep.js'
import { firstChangeMs, LogAge } from './log-age.js'
import { LogArchive } from './log-archive.js'
import { MemtablePool } from './memtable-pool.js'
import type { StoreOptions } from './options.js'
import { type Recovered, recover, removeOrphans } from './recovery.js'
import { endOfReplay, notKnownDurable, type ReplayedLog } from './replay.js'
import { firstNeededLog } from './retained-log.js'
import { rewriteLog } from './rewrite-log.js'
import { StallClock } from './stall-clock.js'
import { refuseForeignWrites } from './write-refusal.js'

/** More log than this is flushed by `close`, so that the next open has little to replay. */
const CLOSE_REPLAY_BYTES = 4 * 2 ** 20
/** The background thread starts when the first memtable is so full. */
const PREPARED_SHARE = 1 / 16
/** How long views have after the store was opened to be opened too, before what only they need of the log goes. */
const VIEW_HOLD_MS = 60_000

/**
 * One open store: lock, log, tree and pipeline put together. Bytes in, bytes out: encodings, ranges and iterators
 * are above. In what order things become durable when it opens, flushes and closes is decided here.
 */
export class Store {
  static {
    settleShape(() => new Store(undefined as never))
  }

  readonly env: Env
  readonly directory: string
  readonly options: StoreOptions
  readonly events = new Events()
  readonly stall: StallClock
  /** One for all that is awaited of this store. */
  readonly fairTurn: FairTurn
  readonly archive: LogArchive
  /** Given at random when the store was created; a checkpoint gets one of its own. */
  readonly storeId: Buffer
  readonly times: CommitTimes
  readonly tree: Tree
  readonly scheduler: Scheduler
  readonly idle: IdleUpkeep
  readonly #lock: FileLock | undefined
  readonly #log: LogWriter
  readonly #pool: MemtablePool
  readonly #remover: FileRemover
  readonly #logAge: LogAge
  #pipeline: CommitPipeline | undefined
  #isClosed = false
  #closing: Promise<void> | undefined
  #cancelHold: (() => void) | undefined
  readonly #commitListeners = new Set<() => void>()

  private constructor(parts: {
    readonly directory: string
    readonly options: StoreOptions
    readonly lock: FileLock | undefined
    readonly storeId: Buffer
    readonly tree: Tree
    readonly pool: MemtablePool
    readonly remover: FileRemover
    readonly lastPosition: Position
  }) {
    this.options = parts.options
    this.env = parts.options.env
    this.directory = parts.directory
    this.#lock = parts.lock
    this.tree = parts.tree
    this.#pool = parts.pool
    this.#remover = parts.remover
    this.storeId = parts.storeId
    this.#log = new LogWriter(this.env, this.directory, parts.storeId)
    this.archive = new LogArchive({
      env: this.env,
      directory: this.directory,
      storeId: parts.storeId,
      limits: this.options.log,
      remover: parts.remover,
      cursors: () => heldCursors(this.tree, this.durablePosition),
      onEvicted: (position, oldestPosition) =>
        this.events.emit({ type: 'log.evicted', position, oldestPosition }),
      onCursorEvicted: (name, position, oldestPosition) =>
        this.events.emit({ type: 'consumer.evicted', name, position, oldestPosition }),
    })
    this.times = new CommitTimes(this.env.clock, parts.lastPosition)
    this.#logAge = new LogAge(this.env.clock, this.options.log.maxAgeMs, {
      active: () => this.tree.active,
      isStopped: () => this.#closing !== undefined || this.failure !== undefined,
      // What fails here has stopped all writes, and they tell.
      roll: () => void this.flush().catch(() => {}),
    })
    this.fairTurn = new FairTurn(this.env.clock)
    this.stall = new StallClock(this.env.clock, this.events, () => this.tree.debt)
    this.scheduler = new Scheduler(this.tree, {
      beforeWrite: async ({ lastPosition }) => this.#pipeline?.promised(lastPosition),
      onWritten: (memtable) => this.#keepHistory(memtable),
      onFlushed: (memtable) => this.#onFlushed(memtable),
      onFailure: (error) => this.#onBackgroundFailure(error),
      emit: (event) => this.events.emit(event),
    })
    this.idle = new IdleUpkeep(this.tree, this.scheduler, {
      position: () => this.position,
      lastWriteMs: () => this.times.lastMs,
      wallMs: () => this.env.clock.wallMs(),
      isTaken: () =>
        this.#closing !== undefined || this.failure !== undefined || this.#pipeline?.isWriting !== false,
      flush: () => {
        this.scheduler.flushForReads(this.tree.active)
        // What fails here has stopped all writes, and they tell.
        void this.flush().catch(() => {})
      },
    })
  }

  /** Opens, recovers and, unless `readOnly`, locks the store at an absolute path. */
  static async open(path: string, options: StoreOptions): Promise<Store> {
    const { env, readOnly } = options
    loadCompression()
    const directory = prepareDirectory(env, path, options)
    const takesLock = !readOnly && options.takesLock
    const lock = takesLock ? takeLock(env, joinPath(directory, LOCK_NAME)) : undefined
    try {
      return await Store.#openLocked(directory, options, lock)
    } catch (error) {
      lock?.release()
      throw ioError(error, 'opening', directory)
    }
  }

  static async #openLocked(
    directory: string,
    options: StoreOptions,
    lock: FileLock | undefined,
  ): Promise<Store> {
    const { env } = options
    const recovered = await recover(directory, options)
    const { storeId, versions, flushedPosition, logs, position } = recovered
    const pool = new MemtablePool(options.memtableBytes, options.reusesLogMemory)
    const onMemtableUnused = (memtable: Memtable) => pool.give(memtable)
    const remover = new FileRemover(env.fs)
    const setup = { env, directory, options, versions, remover, onMemtableUnused }
    const tree = await Tree.open(setup, new Memtable(Buffer.alloc(0), 0, flushedPosition))
    const parts = { directory, options, lock, storeId, tree, pool, remover }
    const store = new Store({ ...parts, lastPosition: position })
    try {
      for (const [i, { memtable }] of logs.entries()) {
        if (i === 0) tree.replaceEmptyActive(memtable)
        else tree.rotate(memtable)
      }
      if (options.readOnly) store.#takeStock(recovered)
      else await store.#startWriting(recovered)
      store.#seedTimes(logs)
    } catch (error) {
      store.#logAge.stop()
      await store.scheduler.stop()
      await store.#log.close()
      await versions.close()
      await remover.done()
      tree.close()
      throw error
    }
    return store
  }

  get position(): Position {
    return this.#pipeline?.position ?? this.tree.active.lastPosition
  }

  get durablePosition(): Position {
    return this.#pipeline?.durablePosition ?? this.tree.active.lastPosition
  }

  /** Every write up to here was acknowledged, at its own durability: a feed shows no more. */
  get promisedPosition(): Position {
    return this.#pipeline?.promisedPosition ?? this.position
  }

  /** The oldest change that is still in the log files; one above `position` if none is. */
  get oldestPosition(): Position {
    return (this.archive.basePosition ?? this.tree.oldestMemtable.basePosition) + 1
  }

  /** The id that a leader, its followers and copies of them share: their logs are one history. */
  get lineage(): Bytes {
    return this.tree.version.lineage ?? this.storeId
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get failure(): VarveError | undefined {
    return this.#pipeline?.failure
  }

  /** @throws VarveError `VARVE_READ_ONLY`. */
  get pipeline(): CommitPipeline {
    if (!this.#pipeline) throw new VarveError('VARVE_READ_ONLY', 'the store was opened to be read only')
    return this.#pipeline
  }

  /** Bytes of the current log file. */
  get activeLogBytes(): number {
    return this.#pipeline ? this.#log.current.sealedTo : this.tree.active.endOffset
  }

  throwIfClosed(): void {
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
  }

  /** Calls back after every commit, and when the store closes or fails; returns what ends that. */
  onCommit(listener: () => void): () => void {
    this.#commitListeners.add(listener)
    return () => this.#commitListeners.delete(listener)
  }

  /** Everything committed so far is in segments afterwards. A signal ends the wait, not the work. */
  async flush(signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal, 'the flush')
    this.pipeline.commitNow()
    if (!this.tree.active.isEmpty) this.pipeline.rotate(0)
    await untilAborted(this.scheduler.flushed(), signal, 'the flush')
    this.#throwIfFailed()
  }

  /** A signal ends the wait; what is being merged already goes on. */
  async compact(range: KeyRange, signal?: AbortSignal): Promise<void> {
    await this.flush(signal)
    await untilAborted(this.scheduler.compact(range, signal), signal, 'the compaction')
    this.throwIfClosed()
    this.#throwIfFailed()
  }

  /**
   * Waits for what is in flight and makes everything durable. Idempotent.
   * @throws VarveError what stopped writes earlier, or stopped this; the store is closed all the same.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const pipeline = this.#pipeline
    this.#logAge.stop()
    this.#cancelHold?.()
    await pipeline?.close()
    this.#isClosed = true
    this.#notifyCommit()
    try {
      if (pipeline && !pipeline.failure) await this.#finishLog()
    } catch (error) {
      pipeline?.fail(error)
    }
    await this.scheduler.stop()
    this.archive.keepFiles()
    if (pipeline) await this.#log.close()
    await this.tree.versions.close()
    await this.#remover.done()
    this.tree.close()
    this.#lock?.release()
    this.events.emit({ type: 'store.closed' })
    if (pipeline?.failure) throw pipeline.failure
  }

  /** Leaves at most a short log, closed by an end frame, and a manifest that knows how far it goes. */
  async #finishLog(): Promise<void> {
    const unflushed = [this.tree.active, ...this.tree.waiting]
    const logBytes = unflushed.reduce((sum, memtable) => sum + memtable.endOffset, 0)
    if (logBytes >= CLOSE_REPLAY_BYTES) {
      if (!this.tree.active.isEmpty) this.#rotate(0)
      await this.scheduler.flushed()
      this.#throwIfFailed()
    }
    await this.#log.syncAsync()
    this.#log.writeEnd()
    await this.#log.syncAsync()
    await this.tree.versions.commit({ durablePosition: this.position })
  }

  /** What the logs held goes into segments, then a new log starts: an old one is never appended to. */
  async #startWriting({ listing, logNumbers, logs, position }: Recovered): Promise<void> {
    const { versions } = this.tree
    versions.rotate()
    if (logs.length > 0) {
      this.#replayed = { numbers: notKnownDurable(logs), hasViews: listing.hasViews }
      this.tree.rotate(new Memtable(Buffer.alloc(0), 0, position))
      let failure: unknown
      this.#onRecoveryFailure = (error) => {
        failure = error
      }
      await this.scheduler.flushed()
      this.#onRecoveryFailure = undefined
      if (failure !== undefined) throw failure
    }
    const number = versions.takeFileNumbers(1)
    // The manifest lets go of the old logs before the new one exists: no later recovery mixes them.
    await versions.commit({ logNumber: number, durablePosition: position })
    const memory = this.#pool.take(0)
    this.#log.start(number, memory, position, endOfReplay(logs))
    this.tree.replaceEmptyActive(new Memtable(memory, number, position))
    this.#pipeline = this.#makePipeline(position)
    if (this.#earlyFailure !== undefined) this.#pipeline.fail(this.#earlyFailure)
    refuseForeignWrites(this.tree, this.#pipeline)
    this.#logAge.restart()
    this.#removeObsolete(listing, number, position, new Set(logNumbers.slice(logs.length)))
    this.scheduler.wake()
  }

  /** Of the log files that recovery has read: the numbers of those not known to be on disk. */
  #replayed: { readonly numbers: ReadonlySet<number>; readonly hasViews: boolean } | undefined
  #onRecoveryFailure: ((error: unknown) => void) | undefined
  /** What ended background work before there was a pipeline to stop. */
  #earlyFailure: unknown

  #makePipeline(position: Position): CommitPipeline {
    const hooks = {
      active: () => this.tree.active,
      rotate: (bodyBytes: number) => this.#rotate(bodyBytes),
      dueTurn: () => this.fairTurn.due(),
      writeRate: () => this.tree.writeRate,
      onStall: (waitedMs: number | undefined) => this.stall.note(waitedMs),
      onCommitted: (position: Position) => {
        this.times.note(position)
        this.tree.noteCommit()
        if (!this.#isFlushPrepared) this.#prepareFlush()
        this.#notifyCommit()
      },
      isTimed: () => this.events.hasTimed,
      onTimed: (event: TimedEvent) => this.events.emit(event),
      onDurable: () => this.#notifyCommit(),
      onFailure: (error: VarveError) => {
        this.tree.segments.keepFiles()
        this.archive.keepFiles()
        this.#notifyCommit()
        this.events.emit({ type: 'store.failed', error })
      },
    }
    return new CommitPipeline(this.env, this.#log, hooks, this.options.durability, position)
  }

  #isFlushPrepared = false

  /** Where writes come so fast that they wait for turns: the first thing in one of these. A flush alone can wait. */
  #prepareFlush(): void {
    if (!this.fairTurn.isFresh) return
    if (this.#log.current.sealedTo < this.options.memtableBytes * PREPARED_SHARE) return
    this.#isFlushPrepared = true
    this.scheduler.prepareFlush()
    this.fairTurn.spend()
  }

  /** The active memtable and its log file are complete; the next ones start where they end. */
  #rotate(bodyBytes: number): void {
    const { active } = this.tree
    const number = this.tree.versions.takeFileNumbers(1)
    this.tree.makeRoom(this.options.memtableBytes)
    const memory = this.#pool.take(Math.max(bodyBytes, LOG_HEADER_BYTES + 2 * this.#log.frameBytes))
    const sizeBytes = this.#log.current.sealedTo
    this.#log.write()
    this.tree.versions.checkDirectory()
    this.#log.start(number, memory, active.lastPosition)
    this.tree.rotate(this.#pool.makeNext(memory, number, active))
    const { logNumber, basePosition, lastPosition } = active
    const openedMs = firstChangeMs(active)
    const closedMs = this.times.lastMs ?? openedMs
    this.archive.add({ number: logNumber, basePosition, lastPosition, sizeBytes, openedMs, closedMs })
    this.events.emit({ type: 'log.rotated', logNumber: number })
    this.#logAge.restart()
    this.scheduler.wake()
    this.fairTurn.spend()
  }

  #seedTimes(recovered: readonly ReplayedLog[]): void {
    for (const { basePosition, openedMs } of this.archive.files) this.times.seed(basePosition + 1, openedMs)
    if (!this.options.readOnly) return
    for (const { memtable } of recovered) {
      if (!memtable.isEmpty) this.times.seed(memtable.basePosition + 1, firstChangeMs(memtable))
    }
  }

  /** A file that stays for readers of the log is on disk before recovery can do without it: no hole in what they read. */
  async #keepHistory({ logNumber, bytes, endOffset }: Memtable): Promise<boolean> {
    const isRead = this.options.log.maxBytes > 0 || this.archive.hasPins || this.tree.cursors().size > 0
    if (!isRead && !this.#replayed?.hasViews) return false
    if (this.#pipeline) await this.#log.syncUpTo(logNumber)
    else if (this.#replayed?.numbers.has(logNumber))
      await rewriteLog(
        this.env,
        this.directory,
        logNumber,
        bytes.subarray(0, Math.max(endOffset, LOG_HEADER_BYTES)),
      )
    return true
  }

  #onFlushed(memtable: Memtable): void {
    if (!this.#pipeline) return
    this.#pipeline.noteFlushed(memtable.lastPosition)
    const closed = this.#log.forgetUpTo(memtable.logNumber)
    const trim = () => this.archive.trim(this.tree.version.flushedPosition)
    // Whoever closes a file without a name frees its pages: 10 ms of a task for 32 MiB. So it goes once it is closed.
    if (closed) void closed.then(trim).catch((error: unknown) => this.#onBackgroundFailure(error))
    else trim()
  }

  #onBackgroundFailure(error: unknown): void {
    if (this.#onRecoveryFailure) this.#onRecoveryFailure(error)
    else if (this.#pipeline) this.#pipeline.fail(error)
    else this.#earlyFailure = error
  }

  /** What a crash left behind, and log files beyond their retention. Only names that are ours. */
  #removeObsolete(
    listing: DirectoryListing,
    logNumber: number,
    position: Position,
    leftOut: ReadonlySet<number>,
  ): void {
    const { versions, version } = this.tree
    removeOrphans(this.env, this.directory, listing, versions, leftOut)
    const kept = logsFrom(listing, version.firstLogNumber).filter((number) => !leftOut.has(number))
    this.archive.load(
      kept.filter((number) => number < logNumber),
      readLogHeader(this.#log.current.memory, '')!,
    )
    if (listing.hasViews) this.#holdForViews(position)
    this.archive.trim(position)
  }

  /** The log files that a read-only store finds beside those it replayed; it removes none. */
  #takeStock({ listing, logNumbers: [firstReplayed], flushedPosition }: Recovered): void {
    const kept = logsFrom(listing, this.tree.version.firstLogNumber)
    const older = kept.filter((number) => number < (firstReplayed ?? Number.MAX_SAFE_INTEGER))
    this.archive.keepFiles()
    this.archive.load(
      older,
      firstNeededLog(this.env, this.directory, firstReplayed, this.storeId, flushedPosition),
    )
  }

  /** Where views stand is known once they are opened: until then everything the log still has is theirs. */
  #holdForViews(position: Position): void {
    const pin = this.archive.pin(this.archive.basePosition ?? position)
    this.#cancelHold = this.env.clock.afterUnref(VIEW_HOLD_MS, () => pin.release())
  }

  #notifyCommit(): void {
    if (this.#commitListeners.size === 0) return
    for (const listener of [...this.#commitListeners]) listener()
  }

  #throwIfFailed(): void {
    if (this.failure) throw this.failure
  }
}
