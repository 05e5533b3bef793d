import type { Env } from '../env/env.js'
import { ioError, VarveError } from '../errors.js'
import { batchSizeBytes } from '../key/batch-format.js'
import { POSITION_MAX, type Position } from '../key/position.js'
import { LOG_HEADER_BYTES } from '../log/log-format.js'
import type { LogWriter } from '../log/log-writer.js'
import type { Memtable } from '../memtable/memtable.js'
import { copyBytes } from '../util/bytes.js'
import { settleShape } from '../util/settle-shape.js'
import type { Durability } from './contract.js'
import type { EventOf } from './events.js'
import { type ForeignFrame, throwIfNotNext } from './foreign-frame.js'
import { type SyncHooks, SyncQueue, type Waiter } from './sync-queue.js'
import { type PaceHooks, WritePacer } from './write-pacer.js'

/** Frames of writes that promise nothing are handed to the system once so many bytes are there. */
const UNWRITTEN_BYTES_MAX = 256 * 1024
/** A group of so many batches is worth another look at the clock. */
const LARGE_GROUP = 32

export type TimedEvent = EventOf<'commit.ended'> | EventOf<'sync.ended'>

export interface PipelineHooks extends PaceHooks, SyncHooks {
  /** The memtable that a committed batch goes to. */
  active(): Memtable
  /** Starts a log file with room for a frame of `bodyBytes` and the memtable over it. */
  rotate(bodyBytes: number): void
  /** A turn of the event loop to wait for; undefined while none is due. */
  dueTurn(): Promise<void> | undefined
  onCommitted(position: Position): void
  /** Whether it matters how long commits and syncs take. */
  isTimed(): boolean
  onTimed(event: TimedEvent): void
  onFailure(error: VarveError): void
}

/**
 * Group commit. Batches are encoded in call order into the log's memory; all that arrive in one turn become one
 * frame and one write(2), and only then visible. Writes that want to be durable share an fdatasync: those that
 * arrive while one runs share the next.
 *
 * One writer: `begin` and `append` run without an `await` between them. After a failed write or sync nothing is
 * taken any more; what was not acknowledged is undecided until the store is opened again.
 */
export class CommitPipeline {
  readonly #env: Env
  readonly #log: LogWriter
  readonly #hooks: PipelineHooks
  readonly #durability: Durability
  readonly #pacer: WritePacer
  readonly #syncs: SyncQueue
  readonly #commitSoon = () => {
    // The slice may have ended since the first of the group: while code is cold 64 puts take longer than one.
    const turn = this.#group.length >= LARGE_GROUP ? this.#hooks.dueTurn() : undefined
    if (turn) void turn.then(this.#commitScheduled)
    else this.#commitScheduled()
  }
  readonly #commitScheduled = () => {
    this.#isScheduled = false
    this.#commitGuarded()
  }
  /** The group that is being gathered. */
  #group: Waiter[] = []
  #groupStart = 0
  #groupEnd = 0
  #groupNeedsWrite = false
  #isScheduled = false
  #cancelWait: (() => void) | undefined
  #position: Position
  #failure: VarveError | undefined
  #promisedAtFailure: Position = 0
  #refusal: (() => VarveError) | undefined
  #isClosing = false
  #isClosed = false

  constructor(env: Env, log: LogWriter, hooks: PipelineHooks, durability: Durability, position: Position) {
    this.#env = env
    this.#log = log
    this.#hooks = hooks
    this.#durability = durability
    this.#pacer = new WritePacer(env.clock, hooks)
    this.#position = position
    this.#syncs = new SyncQueue(env.clock, log, hooks, this, durability)
  }

  /** Last committed: visible to reads. */
  get position(): Position {
    return this.#position
  }

  /** What the next batch that is appended will have. */
  get nextPosition(): Position {
    return this.#position + this.#group.length + 1
  }

  /** Whether batches wait to be committed. */
  get isWriting(): boolean {
    return this.#group.length > 0
  }

  get durablePosition(): Position {
    return this.#syncs.durablePosition
  }

  /** Every write up to here was acknowledged: whatever its durability promises holds. */
  get promisedPosition(): Position {
    return this.#failure ? this.#promisedAtFailure : this.#syncs.settledPosition
  }

  /** Until every write up to a position has what its durability promises, or none will. */
  async promised(position: Position): Promise<void> {
    while (this.promisedPosition < position && !this.#failure) await this.#syncs.sync()
  }

  get failure(): VarveError | undefined {
    return this.#failure
  }

  /** Where to encode: valid until `append`. */
  get memory(): Buffer {
    return this.#log.current.memory
  }

  /**
   * The offset in `memory` at which a batch of at most `sizeMax` bytes may be encoded.
   * @throws VarveError `VARVE_CLOSED`, `VARVE_POISONED`, `VARVE_POSITION_EXHAUSTED`, and what `refuseWrites` makes.
   */
  begin(sizeMax: number): number {
    this.#throwIfStopped()
    this.#throwIfClosing()
    if (this.#refusal) throw this.#refusal()
    if (this.#position + this.#group.length >= POSITION_MAX) {
      throw new VarveError('VARVE_POSITION_EXHAUSTED', 'no positions are left')
    }
    const start = this.#group.length === 0 ? this.#log.bodyStart : this.#groupEnd
    // Room for an end frame is always kept.
    if (start + sizeMax + this.#log.frameBytes <= this.memory.length) return start
    this.rotate(sizeMax)
    return this.#log.bodyStart
  }

  /** The batch between the offset that `begin` gave and `end` is complete: commits it with its group. */
  append(start: number, end: number, durability: Durability = this.#durability): Promise<Position> {
    if (this.#group.length === 0) this.#groupStart = start
    this.#groupEnd = end
    const position = this.#position + this.#group.length + 1
    const isDurable = durability === 'disk'
    if (durability !== 'memory') this.#groupNeedsWrite = true
    const waiter = makeWaiter(position, isDurable)
    this.#group.push(waiter)
    if (!this.#isScheduled) this.#schedule()
    return waiter.promise
  }

  get isRefusing(): boolean {
    return this.#refusal !== undefined
  }

  /** New writes fail with what this makes; undefined: they are taken. Frames of the leader's log always are. */
  refuseWrites(refusal: (() => VarveError) | undefined): void {
    this.#refusal = refusal
  }

  /**
   * Commits frames of another store's log as they are: the same batches, positions and times. The caller has
   * checked that every frame is whole. Visible when the call returns; resolves once the pipeline's own durability
   * holds.
   * @throws VarveError `VARVE_CORRUPTION` where a position does not follow: nothing was taken then.
   */
  appendFrames(frames: readonly ForeignFrame[]): Promise<Position> {
    this.commitNow()
    this.#throwIfClosing()
    throwIfNotNext(frames, this.#position)
    const position = this.#position + 1
    for (let done = 0; done < frames.length; ) done = this.#appendSome(frames, done)
    if (this.#durability !== 'disk') {
      this.#hooks.onCommitted(this.#position)
      this.#syncs.armInterval()
      return Promise.resolve(this.#position)
    }
    const waiter = makeWaiter(position, true)
    this.#syncs.add(waiter)
    this.#hooks.onCommitted(this.#position)
    this.#syncs.syncSoon()
    return waiter.promise
  }

  /** Waits as long as a writer has to while flushes and merges are behind. */
  async pace(): Promise<void> {
    const waitMs = this.#pacer.owedMs()
    if (waitMs === 0 || this.#isClosed || this.#failure) return
    this.#hooks.onStall(waitMs)
    await this.#env.clock.sleep(waitMs)
  }

  /** Commits what was gathered, at once: later reads see it. @throws VarveError if it failed. */
  commitNow(): void {
    this.#commitGuarded()
    this.#throwIfStopped()
  }

  /** Completes the current log file and its memtable. @throws VarveError if that failed: writes have stopped then. */
  rotate(bodyBytes: number): void {
    this.commitNow()
    try {
      this.#log.write()
      this.#hooks.rotate(LOG_HEADER_BYTES + 2 * this.#log.frameBytes + bodyBytes)
    } catch (error) {
      this.fail(error)
      throw this.#failure
    }
  }

  /** Everything committed so far is on disk afterwards. */
  async sync(): Promise<Position> {
    this.commitNow()
    const position = this.#position
    while (this.durablePosition < position || this.#log.hasUnsynced) {
      await this.#syncs.sync()
      this.#throwIfStopped()
      if (this.durablePosition >= position) break
    }
    return position
  }

  /** Positions up to here are in segments on disk. */
  noteFlushed(position: Position): void {
    this.#syncs.noteDurable(position)
  }

  /** Stops for good: whatever waits is rejected with the cause, whatever comes with `VARVE_POISONED`. */
  fail(cause: unknown): void {
    if (this.#failure) {
      // Those whose sync was running when something else failed.
      this.#rejectAll(this.#failure)
      return
    }
    this.#promisedAtFailure = this.promisedPosition
    this.#failure = ioError(cause, 'writing', 'the store')
    this.#cancelTimers()
    this.#rejectAll(this.#failure)
    this.#hooks.onFailure(this.#failure)
  }

  #rejectAll(failure: VarveError): void {
    const waiters = [...this.#group, ...this.#syncs.take()]
    this.#group = []
    for (const waiter of waiters) {
      // A write that nobody waits for must not end the process; `health` and later writes tell.
      waiter.promise.catch(() => {})
      waiter.reject(failure)
    }
  }

  /** Commits and syncs what is left. No write is taken from now on. Never rejects: see `failure`. */
  async close(): Promise<void> {
    // What came between the last sync and the end frame would be written over by it.
    this.#isClosing = true
    try {
      if (!this.#failure) await this.sync()
    } catch (error) {
      this.fail(error)
    }
    this.#isClosed = true
    this.#cancelTimers()
    await this.#syncs.idle()
  }

  #schedule(): void {
    this.#isScheduled = true
    const waitMs = this.#pacer.owedMs()
    if (waitMs === 0) {
      const turn = this.#hooks.dueTurn()
      if (turn) void turn.then(this.#commitScheduled)
      else queueMicrotask(this.#commitSoon)
      return
    }
    this.#hooks.onStall(waitMs)
    this.#cancelWait = this.#env.clock.after(waitMs, () => {
      this.#cancelWait = undefined
      this.#commitScheduled()
    })
  }

  #commitGuarded(): void {
    if (this.#group.length === 0 || this.#failure) return
    try {
      this.#commit()
    } catch (error) {
      this.fail(error)
    }
  }

  // Hot: once a group (bench/write.bench.js).
  #commit(): void {
    const startMs = this.#startTime()
    const group = this.#group
    const log = this.#log
    log.seal(this.#groupEnd, group.length)
    if (this.#groupNeedsWrite || log.current.sealedTo - log.current.writtenTo > UNWRITTEN_BYTES_MAX)
      log.write()
    this.#group = []
    this.#groupNeedsWrite = false
    this.#applyGroup(group.length)
    this.#position += group.length
    let hasDurable = false
    for (const waiter of group) {
      if (waiter.isDurable) {
        this.#syncs.add(waiter)
        hasDurable = true
      } else {
        waiter.resolve(waiter.position)
      }
    }
    this.#pacer.note(this.#groupEnd - this.#groupStart)
    this.#hooks.onCommitted(this.#position)
    if (startMs !== undefined) this.#tellCommit(startMs, group.length)
    if (hasDurable) this.#syncs.syncSoon()
    else this.#syncs.armInterval()
  }

  /** As many frames from `first` on as the log file has room for, in one write(2); returns the next one. */
  #appendSome(frames: readonly ForeignFrame[], first: number): number {
    const sizeBytes = frames[first]!.end - frames[first]!.start
    if (this.#log.bodyStart + sizeBytes + this.#log.frameBytes > this.memory.length) this.rotate(sizeBytes)
    const from = this.#log.bodyStart
    let bodyBytes = 0
    let next = first
    try {
      for (; next < frames.length; next++) {
        const { bytes, start, end, batchCount, timestampMs } = frames[next]!
        const at = this.#log.bodyStart
        if (at + end - start + this.#log.frameBytes > this.memory.length) break
        copyBytes(bytes, start, end, this.memory, at)
        this.#log.seal(at + end - start, batchCount, timestampMs)
        bodyBytes += end - start
      }
      this.#log.write()
      let body = from
      for (const { start, end, batchCount } of frames.slice(first, next)) {
        this.#groupStart = body
        this.#applyGroup(batchCount)
        this.#position += batchCount
        body += end - start + this.#log.frameBytes
      }
    } catch (error) {
      this.fail(error)
      throw this.#failure
    }
    this.#pacer.note(bodyBytes)
    return next
  }

  #applyGroup(count: number): void {
    const memtable = this.#hooks.active()
    let batch = this.#groupStart
    for (let i = 1; i <= count; i++) {
      memtable.apply(batch, this.#position + i)
      batch += batchSizeBytes(memtable.bytes, batch)
    }
  }

  #startTime(): number | undefined {
    return this.#hooks.isTimed() ? this.#env.clock.monotonicMs() : undefined
  }

  #tellCommit(startMs: number, batches: number): void {
    const durationMs = this.#env.clock.monotonicMs() - startMs
    const sizeBytes = this.#groupEnd - this.#groupStart
    this.#hooks.onTimed({ type: 'commit.ended', position: this.#position, batches, sizeBytes, durationMs })
  }

  #cancelTimers(): void {
    this.#syncs.stop()
    this.#cancelWait?.()
    this.#cancelWait = undefined
  }

  #throwIfClosing(): void {
    if (this.#isClosing) throw new VarveError('VARVE_CLOSED', 'the store is closed')
  }

  #throwIfStopped(): void {
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
    if (!this.#failure) return
    if (this.#failure.code === 'VARVE_NO_SPACE') {
      throw new VarveError('VARVE_NO_SPACE', `writes have stopped: ${this.#failure.message}`, {
        cause: this.#failure,
      })
    }
    throw new VarveError('VARVE_POISONED', `writes have stopped: ${this.#failure.message}`, {
      cause: this.#failure,
    })
  }
}

settleShape(
  () =>
    new CommitPipeline(
      undefined as never,
      undefined as never,
      undefined as never,
      undefined as never,
      undefined as never,
    ),
)

let lastResolve!: Waiter['resolve']
let lastReject!: Waiter['reject']
/** One for all promises: a function for each, over variables of its own, costs as much as the promise. */
const keepSettlers = (resolve: Waiter['resolve'], reject: Waiter['reject']) => {
  lastResolve = resolve
  lastReject = reject
}

// Hot: every write (bench/write.bench.js).
function makeWaiter(position: Position, isDurable: boolean): Waiter {
  const promise = new Promise<Position>(keepSettlers)
  return { position, isDurable, promise, resolve: lastResolve, reject: lastReject }
}
