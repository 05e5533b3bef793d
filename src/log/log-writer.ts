import type { Env, File } from '../env/env.js'
import { CIPHER_HEADER_BYTES } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { writeFully } from '../env/write-fully.js'
import { ioError } from '../errors.js'
import type { Position } from '../key/position.js'
import { assert } from '../util/assert.js'
import { EncryptedFrames } from './frame-cipher.js'
import {
  extendChain,
  FRAME_BATCHES,
  FRAME_END,
  FRAME_HEADER_BYTES,
  LOG_HEADER_BYTES,
  logSeed,
  writeFrameHeader,
  writeLogHeader,
} from './log-format.js'

/**
 * Zeros are written ahead for so many syncs like the last one, but at most so many bytes, and not where that much
 * comes between two syncs that the size of the file hardly matters.
 */
const RESERVE_SYNCS = 256
const RESERVE_BYTES_MAX = 256 * 1024
const RESERVE_AFTER_BYTES_MAX = 32 * 1024
const ZEROS = Buffer.alloc(RESERVE_BYTES_MAX)
/** A file that got so long is likely to be followed by another, which needs its name to be durable. */
const NAME_AFTER_BYTES = 2 ** 20

/** Where a log file ends that another one follows. */
export interface LogEnd {
  readonly number: number
  /** Bytes of its header and of all frames that hold batches. */
  readonly bytes: number
  readonly chain: number
}

/** One log file while it is written. `memory` holds the same bytes at the same offsets, but plain where encrypted. */
export interface LogInProgress {
  readonly number: number
  readonly file: File
  readonly memory: Buffer
  readonly seed: number
  /** Undefined: the memory is written as it is. */
  readonly encrypted: EncryptedFrames | undefined
  readonly basePosition: Position
  /** Bytes whose frames are complete. */
  sealedTo: number
  writtenTo: number
  syncedTo: number
  /** The file is so long already, or is not to be made longer ahead of its frames. */
  reservedTo: number
  lastPosition: Position
  chain: number
  /**
   * A sync on another thread, which never rejects: the file must not be closed under it. Nor is it synced twice at
   * once: of two such syncs only one would be told that writing has failed.
   */
  syncing: Promise<void> | undefined
  isForgotten: boolean
  isNameDurable: boolean
  /** The sync of the directory that makes the name durable, while it runs on another thread. Never rejects. */
  nameSync: Promise<void> | undefined
}

/**
 * Appends frames to the current log file and starts the next one. The only writer of log files.
 *
 * The caller encodes batches into `current.memory` from `bodyStart` on, then seals them as one frame. After a failed
 * write or sync every later one throws the same: the system may hold what could not be written for written, and a
 * second sync would succeed without it.
 */
export class LogWriter {
  readonly #env: Env
  readonly #directory: string
  readonly #storeId: Uint8Array
  #current: LogInProgress | undefined
  /** Older files not known to be on disk, oldest first: synced before the current one. */
  #unsynced: LogInProgress[] = []
  #failure: unknown

  constructor(env: Env, directory: string, storeId: Uint8Array) {
    this.#env = env
    this.#directory = directory
    this.#storeId = storeId
  }

  get current(): LogInProgress {
    return this.#current!
  }

  /** Where the batches of the next frame start. */
  get bodyStart(): number {
    return this.current.sealedTo + this.frameBytes
  }

  /** What a frame takes beside its batches. */
  get frameBytes(): number {
    return FRAME_HEADER_BYTES + this.#cipherBytes
  }

  get hasUnsynced(): boolean {
    const { current } = this
    return !current.isNameDurable || this.#unsynced.length > 0 || current.syncedTo < current.writtenTo
  }

  /** A sync runs on another thread: `sync` must wait for it. */
  get isSyncing(): boolean {
    return this.current.syncing !== undefined || this.#unsynced.some(({ syncing }) => syncing !== undefined)
  }

  /**
   * Starts a new file after the current one. Its name is durable after the next sync.
   * @param recovered the file that the first one follows, which recovery has read; undefined: there is none.
   */
  start(number: number, memory: Buffer, basePosition: Position, recovered?: LogEnd): void {
    const { vault } = this.#env
    const seed = logSeed(this.#storeId, number)
    const previous = this.#current
    const end = previous
      ? { number: previous.number, bytes: previous.sealedTo, chain: previous.chain }
      : recovered
    writeLogHeader(memory, {
      number,
      basePosition,
      previousNumber: end?.number ?? 0,
      previousBytes: end?.bytes ?? 0,
      previousChain: end?.chain ?? 0,
      storeId: this.#storeId,
      createdMs: this.#env.clock.wallMs(),
      isEncrypted: vault !== undefined,
    })
    // The names become durable in their order: a log without its older part could not be opened.
    if (previous) this.#syncName(previous)
    const path = joinPath(this.#directory, logFileName(number))
    const file = this.#attempt(path, 'creating', () => this.#env.fs.open(path, 'create'))
    if (previous) this.#unsynced.push(previous)
    this.#current = {
      number,
      file,
      memory,
      seed,
      encrypted: vault && new EncryptedFrames(vault.encryptor('log', number), seed),
      basePosition,
      sealedTo: LOG_HEADER_BYTES,
      writtenTo: 0,
      syncedTo: 0,
      reservedTo: 0,
      lastPosition: basePosition,
      chain: 0,
      syncing: undefined,
      isForgotten: false,
      isNameDurable: false,
      nameSync: undefined,
    }
    this.write()
  }

  /** Makes the bytes from `bodyStart` to `bodyEnd` one frame of `batchCount` batches. */
  seal(bodyEnd: number, batchCount: number, timestampMs = this.#env.clock.wallMs()): void {
    this.#sealFrame(bodyEnd, batchCount, FRAME_BATCHES, timestampMs)
    this.current.lastPosition += batchCount
  }

  /** Hands every sealed byte to the system. */
  write(): void {
    const log = this.current
    this.#throwIfFailed()
    if (log.writtenTo === log.sealedTo) return
    this.#attempt(log.file.path, 'writing', () => {
      if (log.encrypted)
        log.chain = log.encrypted.write(log.file, log.memory, log.writtenTo, log.sealedTo, log.chain)
      else writeFully(log.file, log.memory.subarray(log.writtenTo, log.sealedTo), log.writtenTo)
    })
    log.writtenTo = log.sealedTo
    // Early enough that the next file need not wait for it: it can take the disk tens of milliseconds.
    if (log.writtenTo > NAME_AFTER_BYTES && !log.isNameDurable) void this.#syncNameAsync(log)
  }

  /**
   * Makes room for frames to come where small syncs follow one another: the sync of a file that did not grow leaves
   * the file system's journal alone and is a third quicker. A full disk is no failure here: what there is of the
   * zeros is room for frames all the same.
   */
  reserve(): void {
    const log = this.current
    const unsynced = log.writtenTo - log.syncedTo
    if (log.writtenTo <= log.reservedTo || unsynced > RESERVE_AFTER_BYTES_MAX) return
    const wanted = log.writtenTo + Math.min(unsynced * RESERVE_SYNCS, RESERVE_BYTES_MAX)
    const end = Math.min(wanted, log.memory.length)
    if (end <= log.writtenTo) return
    try {
      writeFully(log.file, ZEROS.subarray(0, end - log.writtenTo), log.writtenTo)
      log.reservedTo = end
    } catch (error) {
      const failure = ioError(error, 'writing', log.file.path)
      if (failure.code !== 'VARVE_NO_SPACE') {
        this.#failure = failure
        throw failure
      }
      log.reservedTo = log.memory.length
    }
  }

  /** Everything written so far is on disk afterwards. Blocks the thread. Not while `isSyncing`. */
  sync(): void {
    assert(!this.isSyncing, 'no file is synced twice at once')
    for (const log of this.#unsynced) this.#syncLog(log)
    this.#releaseSynced(this.#unsynced)
    this.#syncLog(this.current)
    this.#syncName(this.current)
  }

  /** As `sync`, on another thread; what is written meanwhile is not covered. */
  async syncAsync(): Promise<void> {
    const older = [...this.#unsynced]
    const { current } = this
    const writtenTo = current.writtenTo
    for (const log of older) await this.#syncLogAsync(log, log.writtenTo)
    this.#releaseSynced(older)
    await this.#syncLogAsync(current, writtenTo)
    await this.#syncNameAsync(current)
    this.#throwIfFailed()
  }

  /** Complete files up to `number` are on disk afterwards, under their names. */
  async syncUpTo(number: number): Promise<void> {
    const complete = this.#unsynced.filter((log) => log.number <= number)
    for (const log of complete) await this.#syncLogAsync(log, log.writtenTo)
    this.#releaseSynced(complete)
  }

  /**
   * Files up to `number` are not needed for recovery any more: nothing waits for them to be synced.
   * @returns until they are closed, where a sync of one runs on another thread; never rejects.
   */
  forgetUpTo(number: number): Promise<unknown> | undefined {
    const obsolete = this.#unsynced.filter((log) => log.number <= number)
    this.#unsynced = this.#unsynced.filter((log) => log.number > number)
    for (const log of obsolete) {
      log.isForgotten = true
      if (!log.syncing) log.file.close()
    }
    const syncing = obsolete.flatMap((log) => log.syncing ?? [])
    return syncing.length > 0 ? Promise.all(syncing) : undefined
  }

  /** Marks the file as complete. Everything in it must be synced; the caller syncs once more. */
  writeEnd(): void {
    if (this.current.sealedTo + FRAME_HEADER_BYTES > this.current.memory.length) return
    this.#sealFrame(this.current.sealedTo + FRAME_HEADER_BYTES, 0, FRAME_END, this.#env.clock.wallMs())
    this.write()
  }

  async close(): Promise<void> {
    for (const log of this.#unsynced) log.file.close()
    this.#unsynced = []
    this.#current?.file.close()
    await this.#current?.nameSync
  }

  #sealFrame(bodyEnd: number, batchCount: number, kind: number, timestampMs: number): void {
    const log = this.current
    const frame = {
      bodyBytes: bodyEnd - log.sealedTo - FRAME_HEADER_BYTES,
      firstPosition: log.lastPosition + 1,
      batchCount,
      timestampMs,
      syncedUpTo: log.syncedTo,
      kind,
      cipherBytes: kind === FRAME_BATCHES ? this.#cipherBytes : 0,
    }
    writeFrameHeader(log.memory, log.sealedTo, frame, log.seed)
    // The crcs of encrypted frames are known when they are written.
    if (!log.encrypted) log.chain = extendChain(log.chain, log.memory, log.sealedTo)
    log.sealedTo = bodyEnd
  }

  get #cipherBytes(): number {
    return this.#env.vault ? CIPHER_HEADER_BYTES : 0
  }

  #releaseSynced(logs: readonly LogInProgress[]): void {
    const done = new Set(logs)
    for (const log of this.#unsynced) if (done.has(log)) log.file.close()
    this.#unsynced = this.#unsynced.filter((log) => !done.has(log))
  }

  #syncName(log: LogInProgress): void {
    this.#throwIfFailed()
    if (log.isNameDurable) return
    this.#attempt(this.#directory, 'syncing', () => this.#env.fs.syncDirectory(this.#directory))
    log.isNameDurable = true
  }

  /** As `#syncName`, on another thread. Never rejects: what fails is thrown by whatever is called next. */
  #syncNameAsync(log: LogInProgress): Promise<void> {
    if (log.isNameDurable) return Promise.resolve()
    log.nameSync ??= this.#env.fs.syncDirectoryAsync(this.#directory).then(
      () => {
        log.isNameDurable = true
        log.nameSync = undefined
      },
      (error: unknown) => {
        this.#failure ??= ioError(error, 'syncing', this.#directory)
        log.nameSync = undefined
      },
    )
    return log.nameSync
  }

  #syncLog(log: LogInProgress): void {
    if (log.syncedTo === log.writtenTo) return
    this.#attempt(log.file.path, 'syncing', () => log.file.sync())
    log.syncedTo = log.writtenTo
  }

  async #syncLogAsync(log: LogInProgress, writtenTo: number): Promise<void> {
    while (log.syncing) await log.syncing
    this.#throwIfFailed()
    if (log.syncedTo >= writtenTo || log.isForgotten) return
    log.syncing = log.file
      .syncAsync()
      .then(
        () => {
          log.syncedTo = Math.max(log.syncedTo, writtenTo)
        },
        (error) => {
          this.#failure ??= ioError(error, 'syncing', log.file.path)
        },
      )
      .finally(() => {
        log.syncing = undefined
        if (log.isForgotten) log.file.close()
      })
    await log.syncing
    this.#throwIfFailed()
  }

  #attempt<T>(file: string, doing: string, action: () => T): T {
    this.#throwIfFailed()
    try {
      return action()
    } catch (error) {
      this.#failure = ioError(error, doing, file)
      throw this.#failure
    }
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure
  }
}
