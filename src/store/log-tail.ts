import type { Env } from '../env/env.js'
import { decryptorFor } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { corruption, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { FRAME_HEADER_BYTES, type LogHeader, logSeed } from '../log/log-format.js'
import { scanLog } from '../log/log-scan.js'
import { compareBytes } from '../util/bytes.js'
import { listDirectory } from './directory.js'
import { FairTurn } from './fair-turn.js'
import { type BatchVisitor, FrameWalk } from './frame-walk.js'
import { type FrameFault, frameCorruption, LogFileReader } from './log-file-reader.js'

/** Log bytes that one step visits at most. */
const STEP_BYTES = 128 * 1024

/**
 * Reads the log out of the files alone, without a lock, while another process writes and trims them: what that one
 * has handed to the system. A power loss may take the end of it back; that is found and named once the store goes
 * on from an earlier position.
 */
export class LogTail {
  readonly #env: Env
  readonly #directory: string
  readonly #turn: FairTurn
  /** Undefined until the oldest file was found. */
  #position: Position | undefined
  #file: LogFileReader | undefined
  #walk: FrameWalk | undefined

  /** Stands after `after`; undefined: before the oldest change of all. */
  constructor(env: Env, directory: string, after: Position | undefined) {
    this.#env = env
    this.#directory = directory
    this.#turn = new FairTurn(env.clock)
    this.#position = after
  }

  /** The last batch that was visited. */
  get position(): Position {
    return this.#position ?? 0
  }

  /**
   * Visits some of the batches after the last one, up to `limit`; false if there are none yet.
   * @throws VarveError `VARVE_POSITION_LOST` with the oldest position, `VARVE_DIVERGED` where the store went back to
   * before what was visited, `VARVE_CORRUPTION`, `VARVE_IO`.
   */
  async step(visit: BatchVisitor, limit: Position = Number.MAX_SAFE_INTEGER): Promise<boolean> {
    if (this.position >= limit && this.#position !== undefined) return false
    if (!this.#file && !(await this.#openFirst())) return false
    const before = this.position
    for (;;) {
      const hasEnded = await this.#walkFile(visit, limit)
      if (this.position > before) return true
      if (!hasEnded) continue
      if (!(await this.#openNext())) return false
    }
  }

  /**
   * At an end that is taken for the last one: a torn frame is where a crash cut, unless what follows proves that it
   * had been on disk. @throws VarveError `VARVE_CORRUPTION`.
   */
  checkEnd(): void {
    const file = this.#file
    if (!file || this.#walk!.frameOffset >= file.sizeBytes()) return
    const bytes = file.readWhole()
    const { header, number, path } = file
    const decryptor = decryptorFor(this.#env.vault, header.isEncrypted, 'log', number, path)
    scanLog(bytes, header, logSeed(header.storeId, number), path, () => {}, decryptor)
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  /** True at the end of what is there. */
  async #walkFile(visit: BatchVisitor, limit: Position): Promise<boolean> {
    const file = this.#file!
    const walk = this.#walk!
    for (let budget = STEP_BYTES; budget > 0; ) {
      if (this.position >= limit) return true
      const at = walk.frameOffset
      if (!file.has(at) && (await file.load(at))) return true
      this.#position = walk.visit(file.bytes, file.bytesOffset, this.position, limit, budget, visit)
      if (walk.pending) {
        await walk.pending.finally(() => {
          walk.pending = undefined
        })
        return false
      }
      budget = walk.frameOffset === at ? 0 : budget - FRAME_HEADER_BYTES - (walk.frameOffset - at)
    }
    await this.#turn.due()
    return false
  }

  async #openFirst(): Promise<boolean> {
    const readable: LogFileReader[] = []
    try {
      for (const number of this.#numbers()) {
        const file = await LogFileReader.open(this.#env, this.#directory, number, this.#turn)
        if (file) readable.push(file)
      }
      const [oldest] = readable
      if (!oldest) return false
      this.#position ??= oldest.header.basePosition
      const position = this.#position
      const file = readable.findLast(({ header }) => header.basePosition <= position)
      if (!file) throw this.#lost(oldest.header.basePosition + 1)
      this.#enter(file)
      return true
    } finally {
      for (const file of readable) if (file !== this.#file) file.close()
    }
  }

  /** Goes on in the file after the current one, if there is one and the current one is read to its end. */
  async #openNext(): Promise<boolean> {
    const current = this.#file!
    const number = this.#numbers().find((candidate) => candidate > current.number)
    if (number === undefined) return false
    const next = await LogFileReader.open(this.#env, this.#directory, number, this.#turn)
    if (!next) return false
    try {
      // It may have been written on between the look at its end and the one for the next file.
      const offset = this.#walk!.frameOffset
      const fault = await current.load(offset)
      if (fault === undefined) {
        next.close()
        return true
      }
      this.#checkFollows(current, next.header, fault, offset)
    } catch (error) {
      next.close()
      throw error
    }
    current.close()
    this.#enter(next)
    return true
  }

  #checkFollows(current: LogFileReader, header: LogHeader, fault: FrameFault, offset: number): void {
    const { basePosition, previousNumber } = header
    const path = joinPath(this.#directory, logFileName(header.number))
    if (compareBytes(header.storeId, current.header.storeId) !== 0)
      throw corruption(path, 0, 'a log file of another store')
    if (basePosition < this.position) {
      const message = `the store went back to position ${basePosition}, after ${this.position} was read`
      throw new VarveError('VARVE_DIVERGED', message, { position: basePosition + 1 })
    }
    if (basePosition === this.position) return
    const wasNext = previousNumber === current.number || previousNumber === 0
    throw wasNext ? frameCorruption(current, offset, fault) : this.#lost(basePosition + 1)
  }

  #enter(file: LogFileReader): void {
    this.#file = file
    this.#walk = new FrameWalk(file.number, file.path)
  }

  #numbers(): number[] {
    const { files } = listDirectory(this.#env, this.#directory)
    const logs = files.filter(({ kind }) => kind === 'log').map(({ number }) => number)
    return logs.sort((a, b) => a - b)
  }

  #lost(oldest: Position): VarveError {
    const message = `the log no longer holds position ${this.position + 1}: it starts at ${oldest}`
    return new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
  }
}
