import type { Env } from '../env/env.js'
import type { EntryIterator } from '../iterator/entry-iterator.js'
import { MergingIterator } from '../iterator/merging-iterator.js'
import { KIND_DEL } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { RangeTombstone } from '../key/range-tombstones.js'
import { assert } from '../util/assert.js'
import { type Bytes, compareRanges, copyBytes } from '../util/bytes.js'
import { OutputWriter } from './output-writer.js'
import { InputTombstones, OlderData, stripeOf } from './retention-rule.js'
import type { OutputOptions, SegmentsWritten } from './segment-job.js'

/** Entries between two chances to pause. */
const ENTRIES_PER_STEP = 128

/**
 * Writes every entry of `input` that somebody can still see. Of the versions of a key that the same readers see
 * only the newest is kept; a tombstone goes once nothing older is left for it to hide.
 * A generator, so that it can run in slices where there is no thread for it.
 */
export function* writeSegments(
  env: Env,
  options: OutputOptions,
  input: EntryIterator,
  tombstones: readonly RangeTombstone[],
  basePosition: Position,
): Generator<void, SegmentsWritten> {
  const older = new OlderData(options.olderRanges)
  const hidden = new InputTombstones(tombstones, options.snapshots, older)
  const output = new OutputWriter(env, options, basePosition, hidden.survivors)
  let isDone = false
  try {
    const counts = yield* copyVisible(input, output, options.snapshots, hidden, older)
    const written = output.finish()
    env.fs.syncDirectory(options.directory)
    isDone = true
    const tombstoneHorizon = Math.max(counts.tombstoneHorizon, hidden.horizon)
    return { kind: 'written', ...written, ...counts, tombstoneHorizon }
  } finally {
    if (!isDone) output.abandon()
  }
}

function* copyVisible(
  input: EntryIterator,
  output: OutputWriter,
  snapshots: readonly Position[],
  hidden: InputTombstones,
  older: OlderData,
): Generator<void, { entriesRead: number; entriesDropped: number; tombstoneHorizon: Position }> {
  const key = new KeyMemory()
  let lastStripe = -1
  let entriesRead = 0
  let entriesDropped = 0
  let tombstoneHorizon = 0
  let isKeyOpen = false
  const merging = input instanceof MergingIterator ? input : undefined
  for (input.seekToFirst(); input.isValid; input.next()) {
    if (++entriesRead % ENTRIES_PER_STEP === 0) yield
    const entry = merging ? merging.current : input
    const { bytes, keyStart, keyEnd, position } = entry
    const isNewKey = key.take(bytes, keyStart, keyEnd)
    const stripe = stripeOf(position, snapshots)
    const isSeen = isNewKey || stripe !== lastStripe
    lastStripe = stripe
    if (isNewKey) isKeyOpen = false
    if (!isSeen || hidden.hides(bytes, keyStart, keyEnd, position, stripe)) {
      entriesDropped++
      continue
    }
    if (entry.kind === KIND_DEL && stripe === 0 && !older.mayHold(bytes, keyStart, keyEnd)) {
      tombstoneHorizon = Math.max(tombstoneHorizon, position)
      entriesDropped++
      continue
    }
    output.add(entry, !isKeyOpen)
    isKeyOpen = true
  }
  return { entriesRead, entriesDropped, tombstoneHorizon }
}

/** Remembers the last key, so that versions of one key are seen as such. */
class KeyMemory {
  #bytes: Bytes = Buffer.allocUnsafeSlow(256)
  #length = -1

  /** True if this is another key than the last one, after which it must come. */
  take(bytes: Bytes, start: number, end: number): boolean {
    const order = this.#length < 0 ? -1 : compareRanges(this.#bytes, 0, this.#length, bytes, start, end)
    if (order === 0) return false
    assert(order < 0, 'entries reach a segment in order')
    this.#length = end - start
    if (this.#length > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(this.#length * 2)
    copyBytes(bytes, start, end, this.#bytes, 0)
    return true
  }
}
