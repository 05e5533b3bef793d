import type { Env, File } from '../env/env.js'
import { decryptorFor, type FileDecryptor } from '../env/file-cipher.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { readFully, readFullyAsync } from '../env/write-fully.js'
import { corruption, ioError } from '../errors.js'
import { decryptFrame, decryptFrameInSteps } from '../log/frame-cipher.js'
import {
  FRAME_HEADER_BYTES,
  isFrameKind,
  LOG_HEADER_BYTES,
  type LogHeader,
  logSeed,
  readFrameHeader,
  readLogHeader,
} from '../log/log-format.js'
import { isFrame } from '../log/log-scan.js'
import { readU32 } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import type { FairTurn } from './fair-turn.js'

/** File bytes read at once; a longer frame is read whole. */
const CHUNK_BYTES = 256 * 1024
/** Bytes whose checksum takes well under a millisecond. */
const CHECK_BYTES = 1024 * 1024

/**
 * Why there is no frame at an offset: the file ends right there, or within the frame, or its bytes are no frame.
 * What a file that is being written shows at its end is one of these too.
 */
export type FrameFault = 'end' | 'cut' | 'damaged'

/** One log file, read frame by frame: memory is bounded by a chunk, or by one frame that is longer. */
export class LogFileReader {
  readonly number: number
  readonly header: LogHeader
  readonly #file: File
  readonly #seed: number
  readonly #turn: FairTurn
  readonly #decryptor: FileDecryptor | undefined
  #soundOffset = -1
  /** Frames of `bytes` up to here in the file are decrypted. */
  #plainTo = 0
  /** Holds the frame that was loaded last; borrowed until the next `load`. */
  bytes: Buffer = Buffer.alloc(0)
  /** Where `bytes` stands in the file. */
  bytesOffset = 0

  private constructor(
    file: File,
    number: number,
    header: LogHeader,
    decryptor: FileDecryptor | undefined,
    turn: FairTurn,
  ) {
    this.#file = file
    this.number = number
    this.header = header
    this.#decryptor = decryptor
    this.#seed = logSeed(header.storeId, number)
    this.#turn = turn
  }

  /**
   * Undefined if the file has no whole header (yet), or is not there.
   * @throws VarveError `VARVE_FORMAT_VERSION`, `VARVE_KEY`, `VARVE_IO`.
   */
  static async open(
    env: Env,
    directory: string,
    number: number,
    turn: FairTurn,
  ): Promise<LogFileReader | undefined> {
    const path = joinPath(directory, logFileName(number))
    let file: File
    try {
      file = env.fs.open(path, 'read')
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return undefined
      throw ioError(error, 'reading', path)
    }
    try {
      const bytes = Buffer.alloc(LOG_HEADER_BYTES)
      if ((await file.readAsync(bytes, 0)) === LOG_HEADER_BYTES) {
        const header = readLogHeader(bytes, path)
        if (header) {
          const decryptor = decryptorFor(env.vault, header.isEncrypted, 'log', number, path)
          return new LogFileReader(file, number, header, decryptor, turn)
        }
      }
    } catch (error) {
      file.close()
      throw ioError(error, 'reading', path)
    }
    file.close()
    return undefined
  }

  get path(): string {
    return this.#file.path
  }

  sizeBytes(): number {
    return this.#file.sizeBytes()
  }

  /** Whether `bytes` holds the frame at `offset` and it is sound; if not, or not known at once, `load` tells. */
  has(offset: number): boolean {
    if (offset === this.#soundOffset) return true
    if (offset < this.#plainTo && offset >= this.bytesOffset) return true
    const at = offset - this.bytesOffset
    if (at < 0 || at + FRAME_HEADER_BYTES > this.bytes.length) return false
    if (readU32(this.bytes, at + 4) > CHECK_BYTES || !isFrame(this.bytes, at, this.#seed)) return false
    decryptFrame(this.bytes, at, this.#decryptor, this.path, offset)
    this.#notePlain(offset)
    return true
  }

  /** Makes `bytes` hold the whole frame at `offset`, and checks it; what is wrong, if anything. */
  async load(offset: number): Promise<FrameFault | undefined> {
    const fault = (await this.#fill(offset)) ?? ((await this.#isWhole(offset)) ? undefined : 'damaged')
    // A file that is being written has more the next time.
    if (fault) this.#forget()
    else await this.#decrypt(offset)
    return fault
  }

  /** All of the file, as it is now. Blocks the thread: for a file that is damaged. */
  readWhole(): Buffer {
    const bytes = Buffer.alloc(this.#file.sizeBytes())
    readFully(this.#file, bytes, 0)
    return bytes
  }

  close(): void {
    this.#file.close()
  }

  async #fill(offset: number): Promise<FrameFault | undefined> {
    let needed = FRAME_HEADER_BYTES
    for (;;) {
      if (offset < this.bytesOffset || offset + needed > this.bytesOffset + this.bytes.length) {
        const left = this.#file.sizeBytes() - offset
        if (left <= 0) return 'end'
        if (left < needed) return 'cut'
        const bytes = Buffer.allocUnsafeSlow(Math.min(left, Math.max(needed, CHUNK_BYTES)))
        await readFullyAsync(this.#file, bytes, offset)
        this.bytes = bytes
        this.bytesOffset = offset
        this.#soundOffset = -1
        this.#plainTo = 0
      }
      const size = FRAME_HEADER_BYTES + readU32(this.bytes, offset - this.bytesOffset + 4)
      if (size <= needed) return undefined
      needed = size
    }
  }

  async #decrypt(offset: number): Promise<void> {
    if (offset >= this.#plainTo) {
      const at = offset - this.bytesOffset
      for (const _ of decryptFrameInSteps(this.bytes, at, this.#decryptor, this.path, offset))
        await this.#turn.due()
    }
    this.#notePlain(offset)
  }

  #notePlain(offset: number): void {
    this.#soundOffset = offset
    if (!this.#decryptor) return
    const end = offset + FRAME_HEADER_BYTES + readU32(this.bytes, offset - this.bytesOffset + 4)
    this.#plainTo = Math.max(this.#plainTo, end)
  }

  async #isWhole(offset: number): Promise<boolean> {
    if (offset < this.#plainTo) return true
    const at = offset - this.bytesOffset
    const { bodyBytes } = readFrameHeader(this.bytes, at)
    if (bodyBytes < CHECK_BYTES) return isFrame(this.bytes, at, this.#seed)
    if (!isFrameKind(this.bytes, at)) return false
    const end = at + FRAME_HEADER_BYTES + bodyBytes
    let crc = this.#seed
    for (let from = at + 4; from < end; from += CHECK_BYTES) {
      crc = crc32(this.bytes, from, Math.min(end, from + CHECK_BYTES), crc)
      await this.#turn.due()
    }
    return crc === readU32(this.bytes, at)
  }

  #forget(): void {
    this.#soundOffset = -1
    this.#plainTo = 0
    this.bytes = Buffer.alloc(0)
    this.bytesOffset = 0
  }
}

/** The error for a frame that must be there. */
export function frameCorruption(reader: LogFileReader, offset: number, fault: FrameFault): Error {
  const what = {
    end: 'the file ends too early',
    cut: 'the file ends within a frame',
    damaged: 'a damaged frame',
  }
  return corruption(reader.path, offset, what[fault])
}
