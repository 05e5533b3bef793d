import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { currentEpoch, epochBegunBy, epochsOf } from '../store/epochs.js'
import type { StoreEvent } from '../store/events.js'
import type { Store } from '../store/store.js'
import { asBuffer } from '../util/bytes.js'
import type { VersionEdit } from '../version/version.js'
import { AckSender } from './ack-sender.js'
import { divergedAt, firstDifference } from './divergence.js'
import { fetchCopy } from './fetch-copy.js'
import { FrameParser, type Parsed, type StreamFrame } from './frame-parser.js'
import { checksumsAfter } from './log-facts.js'
import { CHECKSUMS_MAX, type LeaderConnection, type LeaderStatus } from './messages.js'
import { adoptLineage, follow, lastChecksum } from './role.js'
import { streamSeed } from './stream-format.js'

/** Waits double from one failed attempt to the next, and half of each is random: a thundering herd spreads. */
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 10_000
/** A paused follower asks the leader this often how far it is. */
const PAUSED_POLL_MS = 200

/** What to do with a follower whose log holds what its leader's does not. */
export type DivergedPolicy = 'fail' | 'rebuild'

export interface FollowerHooks {
  /** The open store; another one after `install` and `setAside`. */
  store(): Store
  /** Puts a fetched copy in the place of the store's state, and opens it. */
  install(edit: VersionEdit, staged: string): Promise<void>
  /** Moves the store's directory away, keeps it, and opens an empty one. Returns where the old one is. */
  setAside(position: Position): Promise<string>
  emit(event: StoreEvent): void
}

/**
 * Follows a leader until it is stopped: asks for the log after the store's own last position, applies what comes at
 * exactly its positions, and after any cut begins again where the store stands. The store's position is all of its
 * state. The only writer of that store while it runs.
 */
export class FollowerLoop {
  readonly #connection: LeaderConnection
  readonly #hooks: FollowerHooks
  readonly #onDiverged: DivergedPolicy
  readonly #id: string
  readonly #stopped = new AbortController()
  /** Ends the running session, to pause or stop. */
  #session = new AbortController()
  #running: Promise<void> | undefined
  #headPosition: Position = 0
  #isConnected = false
  #isPaused = false
  #failure: VarveError | undefined
  /** Until the leader has answered once, or could not be reached. */
  #onFirst: { resolve(): void; reject(error: unknown): void } | undefined
  #wake: (() => void) | undefined

  constructor(connection: LeaderConnection, hooks: FollowerHooks, onDiverged: DivergedPolicy) {
    this.#connection = connection
    this.#hooks = hooks
    this.#onDiverged = onDiverged
    const id = Buffer.alloc(16)
    hooks.store().env.random.fill(id)
    this.#id = id.toString('hex')
  }

  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Positions behind the leader, as far as it was heard of. */
  get lag(): number {
    return Math.max(0, this.#headPosition - this.#hooks.store().position)
  }

  /** Why it is not connected. */
  get failure(): VarveError | undefined {
    return this.#failure
  }

  /**
   * Begins to follow. Resolves once the leader has answered, or could not be reached and is tried again.
   * @throws VarveError what the leader or this store refuses for good; the loop has ended then.
   */
  start(): Promise<void> {
    const first = new Promise<void>((resolve, reject) => {
      this.#onFirst = { resolve, reject }
    })
    this.#running = this.#run()
    return first
  }

  /** Ends it and waits until nothing is applied any more. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#interrupt()
    await this.#running
    this.#connection.close()
  }

  pause(): void {
    this.#isPaused = true
    this.#interrupt()
  }

  unpause(): void {
    this.#isPaused = false
    this.#interrupt()
  }

  #interrupt(): void {
    this.#session.abort()
    this.#wake?.()
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    for (let attempts = 0; !this.#stopped.signal.aborted; ) {
      this.#session = new AbortController()
      const { position } = this.#hooks.store()
      const error = await this.#try()
      const wasConnected = this.#isConnected
      this.#isConnected = false
      if (this.#stopped.signal.aborted) break
      if (this.#session.signal.aborted) continue
      this.#failure = error
      const isFinal = error !== undefined && (await this.#endsIt(error))
      if (this.#hooks.store().position > position || wasConnected) attempts = 0
      // Without an error a copy was installed, and the log goes on after it.
      if (error === undefined) continue
      const retryMs = isFinal ? undefined : this.#retryMs(attempts++)
      this.#hooks.emit({ type: 'follower.disconnected', leader: this.#connection.url, error, retryMs })
      if (retryMs === undefined) {
        this.#onFirst?.reject(error)
        this.#onFirst = undefined
        return
      }
      this.#settleFirst()
      await this.#sleep(retryMs)
    }
    this.#isConnected = false
    this.#onFirst?.reject(new VarveError('VARVE_CLOSED', 'the follower was closed'))
    this.#onFirst = undefined
  }

  async #try(): Promise<VarveError | undefined> {
    try {
      if (this.#isPaused) await this.#watchPaused()
      else await this.#follow(this.#session.signal)
      return undefined
    } catch (error) {
      if (error instanceof VarveError) return error
      return new VarveError('VARVE_IO', `following ${this.#connection.url} failed`, { cause: error })
    }
  }

  /** Whether following ends with this error; divergence may be mended instead. */
  async #endsIt(error: VarveError): Promise<boolean> {
    if (this.#hooks.store().failure || this.#hooks.store().isClosed) return true
    if (error.code === 'VARVE_DIVERGED') return this.#mend(error)
    // A copy of files that this store has not the key for: another try would fetch them again.
    if (error.code === 'VARVE_KEY') return true
    const isRefusal =
      error.code === 'VARVE_INVALID_ARGUMENT' ||
      error.code === 'VARVE_FENCED' ||
      error.code === 'VARVE_CORRUPTION'
    return isRefusal && this.#onFirst !== undefined
  }

  async #mend(error: VarveError): Promise<boolean> {
    const { url: leader } = this.#connection
    const position = error.position ?? 1
    // Another history altogether is a wrong address, not a log that went astray.
    if (this.#onDiverged === 'fail' || error instanceof ForeignHistory) {
      this.#hooks.emit({ type: 'follower.diverged', leader, position, keptAt: undefined })
      return true
    }
    try {
      const keptAt = await this.#hooks.setAside(position)
      this.#hooks.emit({ type: 'follower.diverged', leader, position, keptAt })
      return false
    } catch (cause) {
      this.#failure =
        cause instanceof VarveError ? cause : new VarveError('VARVE_IO', 'setting aside', { cause })
      return true
    }
  }

  /** One connection, from the handshake to its end. */
  async #follow(signal: AbortSignal): Promise<void> {
    const store = this.#hooks.store()
    store.pipeline.commitNow()
    const own = { epoch: currentEpoch(store.tree), lineage: asBuffer(store.lineage).toString('hex') }
    const status = await this.#connection.status(own, signal)
    this.#headPosition = status.position
    refuseStatus(store, status, this.#connection.url)
    await follow(store, this.#connection.url)
    if (store.position === 0) await adoptLineage(store, Buffer.from(status.lineage, 'hex'))
    if (store.position < status.oldestPosition - 1) return this.#bootstrap(store, signal)
    let stream: AsyncIterable<Buffer>
    try {
      stream = await this.#connection.log(this.#request(store), signal)
    } catch (error) {
      const { code, position } = error as VarveError
      if (code === 'VARVE_POSITION_LOST') return this.#bootstrap(store, signal)
      if (code === 'VARVE_DIVERGED' && position === store.position)
        throw diverged(await this.#firstDifference(store, status, signal), this.#connection.url)
      throw error
    }
    this.#failure = undefined
    this.#isConnected = true
    const { url: leader } = this.#connection
    this.#hooks.emit({ type: 'follower.connected', leader, position: store.position })
    this.#settleFirst()
    await this.#applyStream(store, stream, signal)
  }

  #request(store: Store): Parameters<LeaderConnection['log']>[0] {
    const lineage = asBuffer(store.lineage).toString('hex')
    return {
      followerId: this.#id,
      after: store.position,
      checksum: lastChecksum(store),
      epochs: epochsOf(store.tree),
      lineage,
    }
  }

  async #applyStream(store: Store, stream: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    const parser = new FrameParser(streamSeed(store.lineage))
    const acks = new AckSender(store.env.clock, (position) =>
      this.#connection.ack(this.#id, position, signal),
    )
    try {
      for await (const piece of stream) {
        if (signal.aborted) break
        await this.#apply(store, parser.push(piece))
        acks.note(store.promisedPosition)
        await store.pipeline.pace()
        await store.fairTurn.due()
      }
    } finally {
      acks.stop()
    }
    throw new VarveError('VARVE_IO', `${this.#connection.url} ended the stream`)
  }

  async #apply(store: Store, { frames, head }: Parsed): Promise<void> {
    if (frames.length > 0) {
      refuseEpochs(currentEpoch(store.tree), frames, this.#connection.url)
      await store.pipeline.appendFrames(frames)
    }
    this.#headPosition = Math.max(head?.position ?? this.#headPosition, store.position)
  }

  /** The log no longer reaches back to this store's position: a copy of the leader's state takes its place. */
  async #bootstrap(store: Store, signal: AbortSignal): Promise<void> {
    this.#settleFirst()
    const { edit, staged } = await fetchCopy(store, this.#connection, this.#id, signal)
    const { url: leader } = this.#connection
    const position = edit.flushedPosition ?? 0
    const lineage = asBuffer(store.lineage)
    if (!edit.lineage || !lineage.equals(edit.lineage)) throw new ForeignHistory(leader)
    if (position <= store.position)
      throw new VarveError('VARVE_IO', `${leader} offers a copy of position ${position}: too old`, {
        position,
      })
    if (signal.aborted) return
    await this.#hooks.install(edit, staged)
    this.#hooks.emit({ type: 'follower.bootstrapped', leader, position })
  }

  async #firstDifference(store: Store, status: LeaderStatus, signal: AbortSignal): Promise<Position> {
    const { position } = store
    let after = Math.max(store.oldestPosition, status.oldestPosition) - 1
    while (after < position) {
      const count = Math.min(CHECKSUMS_MAX, position - after)
      const ours = await checksumsAfter(store, after, count)
      const theirs = await this.#connection.checksums(after, count, signal)
      const index = firstDifference(ours, theirs)
      if (index >= 0) return after + index + 1
      const compared = Math.min(ours.length, theirs.length)
      if (compared === 0) break
      after += compared
    }
    return position
  }

  async #watchPaused(): Promise<void> {
    this.#settleFirst()
    while (this.#isPaused && !this.#session.signal.aborted) {
      const store = this.#hooks.store()
      const own = { epoch: currentEpoch(store.tree), lineage: asBuffer(store.lineage).toString('hex') }
      this.#headPosition = (await this.#connection.status(own, this.#session.signal)).position
      await this.#sleep(PAUSED_POLL_MS)
    }
  }

  #settleFirst(): void {
    this.#onFirst?.resolve()
    this.#onFirst = undefined
  }

  #retryMs(attempts: number): number {
    const random = Buffer.alloc(2)
    this.#hooks.store().env.random.fill(random)
    const longest = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(attempts, 20))
    return (longest / 2) * (1 + random.readUInt16LE(0) / 65_536)
  }

  /** Until `interrupt`, at the longest. Keeps the process alive, as the connection does that it waits for. */
  async #sleep(delayMs: number): Promise<void> {
    if (this.#stopped.signal.aborted) return
    const { clock } = this.#hooks.store().env
    await new Promise<void>((resolve) => {
      const cancel = clock.after(delayMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
    this.#wake = undefined
  }
}

/** The leader's log is no continuation of anything that this store holds. */
class ForeignHistory extends VarveError {
  constructor(url: string) {
    super('VARVE_DIVERGED', `${url} holds another store: the two logs differ from the start`, { position: 1 })
  }
}

function refuseStatus(store: Store, status: LeaderStatus, url: string): void {
  const { position } = store
  const epochs = epochsOf(store.tree)
  if (position > 0 && status.lineage !== asBuffer(store.lineage).toString('hex'))
    throw new ForeignHistory(url)
  const theirs = status.epochs[status.epochs.length - 1]!.epoch
  if (position > 0 && theirs < currentEpoch(store.tree)) {
    const message = `${url} is of epoch ${theirs}, this store of epoch ${currentEpoch(store.tree)}`
    throw new VarveError('VARVE_FENCED', message)
  }
  const fork = divergedAt(epochs, position, status.epochs)
  if (fork !== undefined) throw diverged(fork, url)
  if (position <= status.position) return
  if (status.leader === undefined) throw diverged(status.position + 1, url)
  throw new VarveError('VARVE_IO', `${url} is at position ${status.position}, behind this follower`)
}

function refuseEpochs(current: number, frames: readonly StreamFrame[], url: string): void {
  let epoch = current
  for (const frame of frames) {
    if (frame.epoch < epoch)
      throw new VarveError('VARVE_FENCED', `${url} sent a frame of epoch ${frame.epoch} after epoch ${epoch}`)
    if (frame.epoch > epoch && epochBegunBy(frame.bytes, frame.start) !== frame.epoch)
      throw new VarveError('VARVE_CORRUPTION', `${url} sent a frame of an epoch that did not begin`)
    epoch = frame.epoch
  }
}

function diverged(position: Position, url: string): VarveError {
  const message = `this store's log differs from that of ${url} from position ${position} on`
  return new VarveError('VARVE_DIVERGED', message, { position })
}
