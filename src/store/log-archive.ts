import type { Env } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import type { FileRemover } from '../env/file-remover.js'
import { readFully } from '../env/write-fully.js'
import { ioError, type VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES, type LogHeader, readFrameHeader } from '../log/log-format.js'
import { countToTrim, type LogFileInfo, nextTrimMs } from '../log/log-retention.js'
import type { LogRetentionOptions } from './contract.js'
import type { HeldCursor } from './held-cursors.js'
import { type NextLog, readRetained } from './retained-log.js'

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
  readonly storeId: Uint8Array
  readonly limits: Required<LogRetentionOptions>
  readonly remover: FileRemover
  /** Whose changes are kept though no reader is open. */
  cursors(): readonly HeldCursor[]
  /** Pins held more than they may: readers at `position` and up to `oldestPosition` - 2 have lost changes. */
  onEvicted(position: Position, oldestPosition: Position): void
  /** The same for a consumer. */
  onCursorEvicted(name: string, position: Position, oldestPosition: Position): void
}

/** The complete log files that are still on disk, and the readers that need them. Removes what nobody needs. */
export class LogArchive {
  readonly #setup: ArchiveSetup
  readonly #pins = new Set<{ position: Position }>()
  /** Recovery does not need what is up to here. */
  #flushedPosition: Position = 0
  #files: LogFileInfo[] = []
  #isKeepingFiles = false
  #damage: VarveError | undefined
  #cancelTimer: (() => void) | undefined

  constructor(setup: ArchiveSetup) {
    this.#setup = setup
  }

  /**
   * Takes stock of retained files: `numbers` ascending, `next` the log file after the newest of them. Files that do
   * not line up with the next one are not part of the log any more and are removed. A damaged one stays, with all
   * before it: the log begins after it.
   */
  load(numbers: readonly number[], next: NextLog & Partial<LogHeader>): void {
    const { env, directory, storeId } = this.#setup
    const leftOver: number[] = []
    let following = next
    for (const number of [...numbers].reverse()) {
      try {
        const header = readRetained(env, directory, number, storeId, following)
        const info = header && this.#inspect(number, header, following)
        if (!info) {
          leftOver.unshift(number)
          continue
        }
        this.#files.unshift(info)
        following = header
      } catch (error) {
        this.#damage = ioError(error, 'reading', joinPath(directory, logFileName(number)))
        break
      }
    }
    for (const number of leftOver) this.#remove(number)
  }

  /** Why the log does not reach back as far as its files do. */
  get damage(): VarveError | undefined {
    return this.#damage
  }

  get bytes(): number {
    return this.#files.reduce((sum, file) => sum + file.sizeBytes, 0)
  }

  get files(): readonly LogFileInfo[] {
    return this.#files
  }

  /** Whether anybody reads the log right now. */
  get hasPins(): boolean {
    return this.#pins.size > 0
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
    const pin = { position }
    let isReleased = false
    this.#pins.add(pin)
    return {
      advance: (next) => {
        if (isReleased || next === pin.position) return
        const before = pin.position
        pin.position = next
        // One that was evicted holds again from where it stands now.
        this.#pins.add(pin)
        this.noteProgress(before, next)
      },
      release: () => {
        isReleased = true
        if (this.#pins.delete(pin)) this.noteProgress(pin.position)
      },
    }
  }

  /** Somebody who needed what comes after `before` needs only what comes after `after`. */
  noteProgress(before: Position, after: Position = Number.POSITIVE_INFINITY): void {
    const [oldest] = this.#files
    if (oldest && before < oldest.lastPosition && after >= oldest.lastPosition)
      this.trim(this.#flushedPosition)
  }

  /** Removes what nobody needs. */
  trim(flushedPosition: Position): void {
    this.#flushedPosition = flushedPosition
    const [oldest] = this.#files
    if (this.#isKeepingFiles || !oldest) return
    const { env, limits, onEvicted, onCursorEvicted } = this.#setup
    const first = oldest.basePosition
    // Who has lost its place already holds nothing any more.
    for (const pin of this.#pins) if (pin.position < first) this.#pins.delete(pin)
    const cursors = this.#setup.cursors().filter(({ heldPosition }) => heldPosition >= first)
    const held = [...this.#pins].map(({ position }) => position)
    const lowest = lowestOf([...held, ...cursors.map(({ heldPosition }) => heldPosition)])
    const rule = {
      flushedPosition,
      pinnedPosition: lowest === undefined ? undefined : lowest + 1,
      nowMs: env.clock.wallMs(),
      ...limits,
    }
    const removed = this.#files.splice(0, countToTrim(this.#files, rule))
    for (const file of removed) this.#remove(file.number)
    this.#arm(rule)
    const end = removed[removed.length - 1]?.lastPosition
    if (end === undefined) return
    const lostPin = lowestOf(held.filter((position) => position < end))
    if (lostPin !== undefined) onEvicted(lostPin, end + 1)
    for (const { name, position } of cursors) {
      if (position !== undefined && position < end) onCursorEvicted(name, position, end + 1)
    }
  }

  /** For a store that may not write any more, or closes. */
  keepFiles(): void {
    this.#isKeepingFiles = true
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Files get too old without anything being written. */
  #arm(rule: { readonly maxBytes: number; readonly maxAgeMs: number; readonly nowMs: number }): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    const delayMs = nextTrimMs(this.#files, rule)
    if (delayMs === undefined) return
    this.#cancelTimer = this.#setup.env.clock.afterUnref(delayMs, () => {
      this.#cancelTimer = undefined
      this.trim(this.#flushedPosition)
    })
  }

  /** Undefined where the file is gone meanwhile. */
  #inspect(
    number: number,
    { basePosition, createdMs }: LogHeader,
    next: NextLog & Partial<LogHeader>,
  ): LogFileInfo | undefined {
    const { env, directory } = this.#setup
    const path = joinPath(directory, logFileName(number))
    const stat = env.fs.stat(path)
    if (!stat) return undefined
    const { sizeBytes, modifiedMs } = stat
    const openedMs = this.#firstFrameMs(path, sizeBytes) ?? createdMs
    const closedMs = Math.max(openedMs, Math.min(next.createdMs ?? modifiedMs, modifiedMs))
    return { number, basePosition, lastPosition: next.basePosition, sizeBytes, openedMs, closedMs }
  }

  #firstFrameMs(path: string, sizeBytes: number): number | undefined {
    if (sizeBytes < LOG_HEADER_BYTES + FRAME_HEADER_BYTES) return undefined
    const file = this.#setup.env.fs.open(path, 'read')
    try {
      const bytes = Buffer.alloc(FRAME_HEADER_BYTES)
      readFully(file, bytes, LOG_HEADER_BYTES)
      return readFrameHeader(bytes, 0).timestampMs
    } finally {
      file.close()
    }
  }

  #remove(number: number): void {
    if (this.#isKeepingFiles) return
    this.#setup.remover.remove(joinPath(this.#setup.directory, logFileName(number)))
  }
}

function lowestOf(positions: readonly Position[]): Position | undefined {
  return positions.length === 0 ? undefined : positions.reduce((a, b) => Math.min(a, b))
}
