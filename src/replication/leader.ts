import { ioError, VarveError } from '../errors.js'
import { type Digest, digestStore } from '../feed/digest.js'
import { LogCursor } from '../feed/log-cursor.js'
import type { Position } from '../key/position.js'
import { currentEpoch, epochAt, epochsOf } from '../store/epochs.js'
import type { Store } from '../store/store.js'
import { asBuffer } from '../util/bytes.js'
import { CopyShelf } from './copy-shelf.js'
import { divergedAt } from './divergence.js'
import { type FollowerEntry, FollowerList } from './follower-list.js'
import { FrameBuilder } from './frame-builder.js'
import { checksumAt, checksumsAfter } from './log-facts.js'
import { CHECKSUMS_MAX, type CopyOffer, type LeaderStatus, type LogRequest } from './messages.js'
import { fence } from './role.js'
import { encodeHead, streamSeed } from './stream-format.js'

export interface LeaderLimits {
  /** A leader with nothing to send says so this often. */
  readonly heartbeatMs: number
  /** A reader that takes nothing for so long is cut off. */
  readonly stallMs: number
  /** How long the log is kept for a follower that is away, within `log.pinnedMaxBytes`. */
  readonly retainMs: number
  /** Streams at once. */
  readonly followersMax: number
  /** Copies that are held for followers at once; each keeps its segments on disk. */
  readonly copiesMax: number
}

/**
 * The side of replication that has the log. Knows no network: the transport hands requests in and pulls streams of
 * bytes out, each as slowly as its reader reads. Any store can be asked, a follower too: it hands on what it has.
 */
export class Leader {
  readonly list: FollowerList
  readonly #store: () => Store
  readonly #limits: LeaderLimits
  readonly #copies: CopyShelf
  #isDigesting = false

  /** @param store the open store; another one after a follower was bootstrapped or a store resumed. */
  constructor(store: () => Store, limits: LeaderLimits) {
    this.#store = store
    this.#limits = limits
    this.list = new FollowerList(store, limits.retainMs)
    this.#copies = new CopyShelf(limits.copiesMax)
  }

  get store(): Store {
    return this.#store()
  }

  /** @param peer what the asker knows of this history; a newer epoch stops this store's writes, durably. */
  async status(peer?: { readonly epoch: number; readonly lineage: string }): Promise<LeaderStatus> {
    const store = this.#open()
    if (peer) await this.#heed(store, peer.epoch, peer.lineage)
    const { leader } = store.tree.version
    return {
      lineage: lineageOf(store),
      epochs: epochsOf(store.tree),
      position: store.promisedPosition,
      oldestPosition: store.oldestPosition,
      wallMs: store.env.clock.wallMs(),
      ...(leader === '' ? {} : { leader }),
    }
  }

  /**
   * The log after the position of the request, live, as frames of `stream-format.ts`.
   * @param cut ends the transport's stream when its reader is too slow.
   * @param signal ends the stream.
   * @throws VarveError `VARVE_DIVERGED`, `VARVE_FENCED`, `VARVE_POSITION_LOST`, `VARVE_LIMIT`.
   */
  async openLog(request: LogRequest, cut: () => void, signal: AbortSignal): Promise<AsyncGenerator<Buffer>> {
    const store = this.#open()
    const { after } = request
    await this.#heed(store, request.epochs[request.epochs.length - 1]!.epoch, request.lineage)
    this.#refuseDiverged(store, request)
    const checksum = request.checksum === undefined ? undefined : await checksumAt(store, after)
    if (checksum !== undefined && checksum !== request.checksum) throw diverged(after)
    if (after < store.oldestPosition - 1) throw lost(store, after)
    if (this.list.connectedCount >= this.#limits.followersMax)
      throw new VarveError('VARVE_LIMIT', `${this.#limits.followersMax} followers are connected already`)
    const entry = this.list.connect(request.followerId, after, cut)
    if (request.followerId !== undefined) this.#copies.release(request.followerId)
    return this.#stream(store, entry, after, signal)
  }

  /** Checksums of the batches after `after`, to find where two logs part. */
  checksums(after: Position, count: number): Promise<number[]> {
    return checksumsAfter(this.#open(), after, Math.min(count, CHECKSUMS_MAX))
  }

  /**
   * A digest of everything as it is now, in pieces: blanks while it is made, so that the connection is seen to be
   * alive, then one JSON text, of the digest or of why there is none. One at a time: it reads the whole store.
   */
  openDigest(signal: AbortSignal): AsyncGenerator<Buffer> {
    const store = this.#open()
    if (this.#isDigesting) throw new VarveError('VARVE_LIMIT', 'a digest is being made already')
    return this.#digest(store, signal)
  }

  async *#digest(store: Store, signal: AbortSignal): AsyncGenerator<Buffer> {
    this.#isDigesting = true
    let result: Digest | Pick<VarveError, 'code' | 'message'> | undefined
    try {
      const making = digestStore(store, { at: store.promisedPosition, ranges: undefined, signal }).then(
        (digest) => {
          result = digest
        },
        (error: unknown) => {
          const { code, message } = ioError(error, 'reading', 'the store')
          result = { code, message }
        },
      )
      while (result === undefined) {
        await this.#beat(store, making)
        yield Buffer.from(' ')
      }
      yield Buffer.from(JSON.stringify(result))
    } finally {
      this.#isDigesting = false
    }
  }

  /** Until the work is done, or a heartbeat has passed. */
  async #beat(store: Store, work: Promise<void>): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = store.env.clock.afterUnref(this.#limits.heartbeatMs, resolve)
      void work.then(() => {
        cancel()
        resolve()
      })
    })
  }

  /** Holds a copy of the segments, and the log after it, for a follower whose position is lost. */
  openCopy(followerId: string): CopyOffer {
    const store = this.#open()
    const offer = this.#copies.open(store, followerId)
    this.list.hold(followerId, store.tree.version.flushedPosition)
    return offer
  }

  releaseCopy(followerId: string): void {
    this.#copies.release(followerId)
  }

  /** The bytes of one file of a copy. @throws VarveError `VARVE_POSITION_LOST`: the copy is not held any more. */
  openFile(session: string, name: string): { sizeBytes: number; bytes: AsyncGenerator<Buffer> } {
    this.#open()
    return this.#copies.read(session, name)
  }

  ack(followerId: string, position: Position): void {
    this.list.ack(followerId, position)
  }

  close(): void {
    this.list.close()
    this.#copies.close()
  }

  #open(): Store {
    const store = this.#store()
    store.throwIfClosed()
    return store
  }

  /** A peer of the same history that knows a newer epoch proves that another leader took over. */
  async #heed(store: Store, peerEpoch: number, lineage: string | undefined): Promise<void> {
    const epoch = currentEpoch(store.tree)
    if (peerEpoch <= epoch || lineage !== lineageOf(store)) return
    await fence(store, peerEpoch)
    throw new VarveError('VARVE_FENCED', `this store is of epoch ${epoch}, its peer of epoch ${peerEpoch}`)
  }

  #refuseDiverged(store: Store, request: LogRequest): void {
    const { after, lineage, epochs } = request
    const isForeign = lineage !== undefined && lineage !== lineageOf(store)
    if (isForeign && after > 0) throw diverged(1)
    const position = divergedAt(epochs, after, epochsOf(store.tree))
    if (position !== undefined) throw diverged(position)
    if (after > store.position) throw diverged(store.position + 1)
  }

  async *#stream(
    store: Store,
    entry: FollowerEntry,
    after: Position,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const { clock } = store.env
    const seed = streamSeed(store.lineage)
    const cursor = new LogCursor(store, after)
    const builder = new FrameBuilder(seed)
    let headMs = Number.NEGATIVE_INFINITY
    try {
      while (!signal.aborted && !entry.isCut) {
        store.throwIfClosed()
        if (clock.monotonicMs() - headMs >= this.#limits.heartbeatMs) {
          headMs = clock.monotonicMs()
          yield* this.#watched(store, entry, this.#head(store, seed))
        } else if (cursor.position >= store.promisedPosition) {
          await this.#waitForMore(store, entry, signal)
        } else {
          // A store whose writes have stopped tells it to its followers by going silent, not by an error.
          const epochs = epochsOf(store.tree)
          await cursor.step(store.promisedPosition, (position, timestampMs, bytes, at) => {
            builder.add(position, timestampMs, epochAt(epochs, position), bytes, at)
            return undefined
          })
          const chunk = builder.take()
          entry.sentPosition = cursor.position
          if (entry.isAnonymous) this.list.advance(entry, cursor.position)
          if (chunk) yield* this.#watched(store, entry, chunk)
          await store.fairTurn.due()
        }
      }
    } finally {
      cursor.close()
      this.list.disconnect(entry)
    }
  }

  #head(store: Store, seed: number): Buffer {
    const { promisedPosition: position, oldestPosition } = store
    const head = { position, oldestPosition, wallMs: store.env.clock.wallMs() }
    return encodeHead(head, currentEpoch(store.tree), seed)
  }

  /** One chunk; whoever does not take it in time is cut off. */
  *#watched(store: Store, entry: FollowerEntry, chunk: Buffer): Generator<Buffer> {
    const cancel = store.env.clock.afterUnref(this.#limits.stallMs, () => this.list.cut(entry))
    try {
      entry.sentBytes += chunk.length
      yield chunk
    } finally {
      cancel()
    }
  }

  async #waitForMore(store: Store, entry: FollowerEntry, signal: AbortSignal): Promise<void> {
    let stop: (() => void) | undefined
    let cancel: (() => void) | undefined
    let wake: () => void = () => {}
    try {
      await new Promise<void>((resolve) => {
        wake = resolve
        entry.wake = resolve
        stop = store.onCommit(resolve)
        cancel = store.env.clock.afterUnref(this.#limits.heartbeatMs, resolve)
        signal.addEventListener('abort', wake, { once: true })
        if (signal.aborted || entry.isCut) resolve()
      })
    } finally {
      stop?.()
      cancel?.()
      signal.removeEventListener('abort', wake)
    }
  }
}

function lineageOf(store: Store): string {
  return asBuffer(store.lineage).toString('hex')
}

function diverged(position: Position): VarveError {
  const message = `the follower's log differs from this one from position ${position} on`
  return new VarveError('VARVE_DIVERGED', message, { position })
}

function lost(store: Store, after: Position): VarveError {
  const position = store.oldestPosition
  const message = `the log no longer holds position ${after + 1}: it starts at ${position}`
  return new VarveError('VARVE_POSITION_LOST', message, { position })
}
