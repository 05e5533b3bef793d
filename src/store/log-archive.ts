import type { Env } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import type { FileRemover } from '../env/file-remover.js'
import type { Position } from '../key/position.js'
import { LOG_HEADER_BYTES, readLogHeader } from '../log/log-format.js'
import { countToTrim, type LogFileInfo } from '../log/log-retention.js'
import type { LogRetentionOptions } from './contract.js'

/** A reader's hold on the log: what comes after its position stays, up to the cap on what pins may hold. */
export interface LogPin {
  /** The reader has everything up to `position`. */
  advance(position: Position): void
  /** Idempotent. */
  release(): void
}

export interface ArchiveSetup {
  readonly env: Env
  readonly directory: string
  readonly limits: Required<LogRetentionOptions>
  readonly remover: FileRemover
  /** Pins held more than they may: readers at `position` and up to `oldestPosition` - 2 have lost changes. */
  onEvicted(position: Position, oldestPosition: Position): void
}

/** The complete log files that are still on disk, and the readers that need them. Removes what nobody needs. */
export class LogArchive {
  readonly #env: Env
  readonly #directory: string
  readonly #limits: Required<LogRetentionOptions>
  readonly #remover: FileRemover
  readonly #onEvicted: ArchiveSetup['onEvicted']
  readonly #pins = new Map<symbol, Position>()
  /** Recovery does not need what is up to here. */
  #flushedPosition: Position = 0
  #files: LogFileInfo[] = []
  #isKeepingFiles = false

  constructor({ env, directory, limits, remover, onEvicted }: ArchiveSetup) {
    this.#env = env
    this.#directory = directory
    this.#limits = limits
    this.#remover = remover
    this.#onEvicted = onEvicted
  }

  /**
   * Takes stock of retained files: `numbers` ascending, `lastPosition` where the newest of them ends. Files that
   * do not line up with the next one are not part of the log any more and are removed.
   */
  load(numbers: readonly number[], lastPosition: Position): void {
    let end = lastPosition
    for (const number of [...numbers].reverse()) {
      const info = this.#inspect(number, end)
      if (info && info.basePosition <= end) {
        this.#files.unshift(info)
        end = info.basePosition
      } else {
        this.#remove(number)
      }
    }
  }

  get bytes(): number {
    return this.#files.reduce((sum, file) => sum + file.sizeBytes, 0)
  }

  get files(): readonly LogFileInfo[] {
    return this.#files
  }

  /** The position before the oldest change in a complete file; undefined if there is none. */
  get basePosition(): Position | undefined {
    return this.#files[0]?.basePosition
  }

  add(file: LogFileInfo): void {
    this.#files.push(file)
  }

  /** Keeps changes after `position`. */
  pin(position: Position): LogPin {
    const key = Symbol('pin')
    this.#pins.set(key, position)
    const trimFrom = (before: Position) => {
      if (this.#files[0] && before <= this.#files[0].lastPosition) this.trim(this.#flushedPosition)
    }
    return {
      advance: (next) => {
        const before = this.#pins.get(key)
        if (before === undefined || before === next) return
        this.#pins.set(key, next)
        trimFrom(before)
      },
      release: () => {
        const before = this.#pins.get(key)
        if (before !== undefined && this.#pins.delete(key)) trimFrom(before)
      },
    }
  }

  /** Removes what nobody needs. */
  trim(flushedPosition: Position): void {
    if (this.#isKeepingFiles) return
    this.#flushedPosition = flushedPosition
    const pinnedPosition = this.#pins.size === 0 ? undefined : Math.min(...this.#pins.values()) + 1
    const nowMs = this.#env.clock.wallMs()
    const count = countToTrim(this.#files, { flushedPosition, pinnedPosition, nowMs, ...this.#limits })
    const removed = this.#files.splice(0, count)
    for (const file of removed) this.#remove(file.number)
    const end = removed[removed.length - 1]?.lastPosition
    if (end !== undefined && pinnedPosition !== undefined && pinnedPosition <= end)
      this.#onEvicted(pinnedPosition - 1, end + 1)
  }

  keepFiles(): void {
    this.#isKeepingFiles = true
  }

  #inspect(number: number, lastPosition: Position): LogFileInfo | undefined {
    const path = joinPath(this.#directory, logFileName(number))
    const stat = this.#env.fs.stat(path)
    if (!stat || stat.sizeBytes < LOG_HEADER_BYTES) return undefined
    const file = this.#env.fs.open(path, 'read')
    try {
      const bytes = Buffer.alloc(LOG_HEADER_BYTES)
      file.read(bytes, 0)
      const header = readLogHeader(bytes, path)
      if (!header) return undefined
      const { sizeBytes, modifiedMs } = stat
      return { number, basePosition: header.basePosition, lastPosition, sizeBytes, closedMs: modifiedMs }
    } finally {
      file.close()
    }
  }

  #remove(number: number): void {
    if (this.#isKeepingFiles) return
    this.#remover.remove(joinPath(this.#directory, logFileName(number)))
  }
}
