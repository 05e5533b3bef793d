import { VarveError } from '../errors.js'
import { BATCH_BYTES_MAX, BATCH_HEADER_BYTES, batchSizeBytes, findBatchFault } from '../key/batch-format.js'
import type { ForeignFrame } from '../store/foreign-frame.js'
import {
  decodeHead,
  HEAD_BODY_BYTES,
  type Head,
  isBodyWhole,
  readStreamHeader,
  STREAM_BATCHES,
  STREAM_HEAD,
  STREAM_HEADER_BYTES,
  type StreamHeader,
} from './stream-format.js'

/** Frames hold 160 KiB or one batch; two of the longest are more than any leader sends. */
const BODY_BYTES_MAX = BATCH_BYTES_MAX + BATCH_HEADER_BYTES + 256 * 1024

export interface StreamFrame extends ForeignFrame {
  readonly epoch: number
}

/** What one piece of the stream completed. Borrowed: valid until the next `push`. */
export interface Parsed {
  readonly frames: readonly StreamFrame[]
  /** The last one that came. */
  readonly head: Head | undefined
}

/**
 * Cuts the stream into frames, wherever the network cut it, and checks every byte before anybody sees it. Memory
 * grows with what has come, never with what a header claims.
 */
export class FrameParser {
  readonly #seed: number
  /** The start of a frame that is not whole yet. */
  #pieces: Buffer[] = []
  #pieceBytes = 0
  #neededBytes = STREAM_HEADER_BYTES

  constructor(seed: number) {
    this.#seed = seed
  }

  /** @throws VarveError `VARVE_CORRUPTION`: the stream is not what a leader of this lineage sends. */
  push(piece: Buffer): Parsed {
    this.#pieces.push(piece)
    this.#pieceBytes += piece.length
    if (this.#pieceBytes < this.#neededBytes) return { frames: [], head: undefined }
    const bytes = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces, this.#pieceBytes)
    const frames: StreamFrame[] = []
    let head: Head | undefined
    let at = 0
    this.#neededBytes = STREAM_HEADER_BYTES
    while (at + STREAM_HEADER_BYTES <= bytes.length) {
      const header = this.#headerAt(bytes, at)
      const end = at + STREAM_HEADER_BYTES + header.bodyBytes
      if (end > bytes.length) {
        this.#neededBytes = end - at
        break
      }
      if (!isBodyWhole(bytes, at, header.bodyBytes, this.#seed)) throw damaged('a frame with a damaged body')
      if (header.kind === STREAM_HEAD) head = decodeHead(bytes, at)
      else frames.push(frameOf(header, bytes, at + STREAM_HEADER_BYTES, end))
      at = end
    }
    this.#pieces = at === bytes.length ? [] : [bytes.subarray(at)]
    this.#pieceBytes = bytes.length - at
    return { frames, head }
  }

  #headerAt(bytes: Buffer, at: number): StreamHeader {
    const header = readStreamHeader(bytes, at, this.#seed)
    if (!header) throw damaged('bytes that are no frame of this store')
    if (header.bodyBytes > BODY_BYTES_MAX) throw damaged(`a frame of ${header.bodyBytes} bytes`)
    const isHead = header.kind === STREAM_HEAD && header.bodyBytes === HEAD_BODY_BYTES
    const isBatches = header.kind === STREAM_BATCHES && header.batchCount > 0
    if (!isHead && !isBatches) throw damaged(`a frame of kind ${header.kind}`)
    return header
  }
}

function frameOf(header: StreamHeader, bytes: Buffer, start: number, end: number): StreamFrame {
  const { firstPosition, batchCount, timestampMs, epoch } = header
  let batch = start
  for (let i = 0; i < batchCount; i++) {
    const fault = findBatchFault(bytes, batch, end)
    if (fault) throw damaged(fault)
    batch += batchSizeBytes(bytes, batch)
  }
  if (batch !== end) throw damaged('a frame with bytes left over')
  return { firstPosition, batchCount, timestampMs, epoch, bytes, start, end }
}

function damaged(what: string): VarveError {
  return new VarveError('VARVE_CORRUPTION', `the leader sent ${what}`)
}
