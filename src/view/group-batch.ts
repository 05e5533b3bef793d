import { sizeMaxOf, writePrepared } from '../access/codec.js'
import { VarveError } from '../errors.js'
import {
  BATCH_BYTES_MAX,
  BATCH_HEADER_BYTES,
  BATCH_OPS_MAX,
  KIND_CURSOR,
  KIND_DEL,
  KIND_PUT,
  OP_HEADER_BYTES,
  writeBatchHeader,
  writeClear,
  writeOpHeader,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { CommitPipeline } from '../store/commit-pipeline.js'
import type { Durability } from '../store/contract.js'
import type { CursorState } from '../store/cursor-state.js'
import { copyBytes } from '../util/bytes.js'
import type { Overlay, OverlayEntry } from './overlay.js'

/**
 * Commits what an overlay holds and the view's record as one batch. Clears come first: they hide only what is
 * older than the batch, so a put of the same batch stays.
 * @throws VarveError `VARVE_LIMIT` for more than one batch can hold, or what the pipeline throws.
 */
export function commitGroup(
  pipeline: CommitPipeline,
  overlay: Overlay,
  record: CursorState,
  durability: Durability | undefined,
): Promise<Position> {
  const entries: OverlayEntry[] = [...overlay.live()]
  const { clears } = overlay
  const count = clears.length + entries.length + 1
  if (count > BATCH_OPS_MAX) throw limit(`a change may write at most ${BATCH_OPS_MAX} entries of a view`)
  let sizeMax = BATCH_HEADER_BYTES + OP_HEADER_BYTES + record.name.length + record.state.length
  for (const { start, end } of clears) sizeMax += OP_HEADER_BYTES + start.length + (end?.length ?? 0)
  for (const { key, value } of entries) {
    sizeMax += OP_HEADER_BYTES + sizeMaxOf(key) + (value === undefined ? 0 : sizeMaxOf(value))
  }
  if (sizeMax > BATCH_BYTES_MAX) throw limit(`a change may write at most ${BATCH_BYTES_MAX} bytes of a view`)
  const start = pipeline.begin(sizeMax)
  const { memory } = pipeline
  let at = start + BATCH_HEADER_BYTES
  for (const clear of clears) at = writeClear(memory, at, clear.start, clear.end)
  for (const entry of entries) at = writeEntry(memory, at, entry)
  at = writeRecord(memory, at, record)
  writeBatchHeader(memory, start, count, at - start - BATCH_HEADER_BYTES)
  return pipeline.append(start, at, durability)
}

// Hot: every entry of a view (bench/view.bench.js).
function writeEntry(memory: Buffer, at: number, { key, value }: OverlayEntry): number {
  const keyStart = at + OP_HEADER_BYTES
  const keyEnd = writePrepared(key, memory, keyStart)
  const end = value === undefined ? keyEnd : writePrepared(value, memory, keyEnd)
  writeOpHeader(memory, at, value === undefined ? KIND_DEL : KIND_PUT, keyEnd - keyStart, end - keyEnd)
  return end
}

function writeRecord(memory: Buffer, at: number, { name, state }: CursorState): number {
  const nameStart = at + OP_HEADER_BYTES
  writeOpHeader(memory, at, KIND_CURSOR, name.length, state.length)
  copyBytes(name, 0, name.length, memory, nameStart)
  copyBytes(state, 0, state.length, memory, nameStart + name.length)
  return nameStart + name.length + state.length
}

function limit(message: string): VarveError {
  return new VarveError('VARVE_LIMIT', message)
}
