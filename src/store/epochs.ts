import { corruption } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  KIND_CURSOR,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { Tree } from '../tree/tree.js'
import { ByteReader } from '../util/byte-reader.js'
import { ByteWriter } from '../util/byte-writer.js'
import { type Bytes, cloneBytes, equalRange } from '../util/bytes.js'
import type { CursorState } from './cursor-state.js'

/** One generation of leadership: it began with the batch at `firstPosition`, which says so. */
export interface Epoch {
  readonly epoch: number
  readonly firstPosition: Position
}

/**
 * The history of epochs is a state that the log itself carries, as those of consumers: the batch that begins an
 * epoch holds it, so it is replicated, recovered and flushed with the data, and two stores whose logs agree up to a
 * position have the same epochs up to there.
 */
const EPOCHS_CURSOR = '\0epochs'
const FIRST_EPOCHS: readonly Epoch[] = [{ epoch: 1, firstPosition: 1 }]
const EPOCHS_MAX = 100_000

const parsed = new WeakMap<Bytes, readonly Epoch[]>()

/** Every epoch of the store's log, oldest first; never empty. */
export function epochsOf(tree: Tree): readonly Epoch[] {
  const bytes = stateOf(tree)
  if (!bytes || bytes.length === 0) return FIRST_EPOCHS
  const known = parsed.get(bytes)
  if (known) return known
  const epochs = decodeEpochs(bytes, tree.directory)
  parsed.set(bytes, epochs)
  return epochs
}

export function currentEpoch(tree: Tree): number {
  const epochs = epochsOf(tree)
  return epochs[epochs.length - 1]!.epoch
}

/** The state that begins `epoch` at the next position. */
export function beginningOf(tree: Tree, epoch: number, firstPosition: Position): CursorState {
  const state = encodeEpochs([...epochsOf(tree), { epoch, firstPosition }])
  return { name: Buffer.from(EPOCHS_CURSOR), state }
}

function stateOf(tree: Tree): Bytes | undefined {
  for (const { cursors } of tree.view.memtables) {
    const state = cursors.get(EPOCHS_CURSOR)
    if (state) return state
  }
  return tree.version.cursors.get(EPOCHS_CURSOR)
}

function encodeEpochs(epochs: readonly Epoch[]): Buffer {
  const writer = new ByteWriter()
  for (const { epoch, firstPosition } of epochs) writer.varint(epoch).varint(firstPosition)
  return Buffer.from(writer.view())
}

function decodeEpochs(bytes: Bytes, file: string): readonly Epoch[] {
  const reader = new ByteReader(bytes, file)
  const epochs: Epoch[] = []
  while (reader.remaining > 0) epochs.push({ epoch: reader.varint(), firstPosition: reader.varint() })
  if (!isHistory(epochs)) throw corruption(file, 0, 'the epochs of its log are out of order')
  return epochs
}

/** Whether epochs and positions ascend, from position 1 on. */
export function isHistory(epochs: readonly Epoch[]): boolean {
  if (epochs.length === 0 || epochs.length > EPOCHS_MAX || epochs[0]!.firstPosition !== 1) return false
  return epochs.every(({ epoch, firstPosition }, i) => {
    const before = epochs[i - 1]
    const isNumber = Number.isSafeInteger(epoch) && Number.isSafeInteger(firstPosition) && epoch > 0
    return isNumber && (!before || (before.epoch < epoch && before.firstPosition < firstPosition))
  })
}

/** The epoch that the batch at `at` begins; undefined if it begins none. The batch is whole. */
export function epochBegunBy(bytes: Bytes, at: number): number | undefined {
  const name = Buffer.from(EPOCHS_CURSOR)
  const count = batchOpCount(bytes, at)
  let op = at + BATCH_HEADER_BYTES
  for (let i = 0; i < count; i++, op += opSizeBytes(bytes, op)) {
    if (bytes[op] !== KIND_CURSOR || opKeyLength(bytes, op) !== name.length) continue
    const key = op + OP_HEADER_BYTES
    const state = key + name.length
    if (!equalRange(bytes, key, name, 0, name.length)) continue
    const epochs = decodeEpochs(cloneBytes(bytes, state, state + opValueLength(bytes, op)), 'a batch')
    return epochs[epochs.length - 1]!.epoch
  }
  return undefined
}

/** The epoch of the batch at `position`. */
export function epochAt(epochs: readonly Epoch[], position: Position): number {
  for (let i = epochs.length - 1; i > 0; i--) {
    if (epochs[i]!.firstPosition <= position) return epochs[i]!.epoch
  }
  return epochs[0]!.epoch
}
