import { PreparedBatch } from '../access/batch-encoder.js'
import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { beginningOf, currentEpoch } from '../store/epochs.js'
import type { Store } from '../store/store.js'
import { refuseForeignWrites } from '../store/write-refusal.js'
import { crc32 } from '../util/crc.js'

/** Writes down, durably, that this store takes its log from `leader`, and refuses its own writes from now on. */
export async function follow(store: Store, leader: string): Promise<void> {
  if (store.tree.version.leader !== leader) await store.tree.versions.commit({ leader })
  refuseForeignWrites(store.tree, store.pipeline)
}

/** Writes down whose history this store is part of, before the first position of it comes. */
export async function adoptLineage(store: Store, lineage: Buffer): Promise<void> {
  if (!lineage.equals(store.lineage)) await store.tree.versions.commit({ lineage })
}

/** A leader of `epoch`, above the store's own, exists: writes are refused at once, and after every later opening. */
export async function fence(store: Store, epoch: number): Promise<void> {
  if (epoch <= currentEpoch(store.tree) || epoch <= store.tree.version.fencedEpoch) return
  const message = `a leader of epoch ${epoch} has taken over; this store is of epoch ${currentEpoch(store.tree)}`
  const { leader } = store.tree.version
  if (leader === '') store.pipeline.refuseWrites(() => new VarveError('VARVE_FENCED', message))
  await store.tree.versions.commit({ fencedEpoch: epoch })
}

/**
 * Makes a follower the leader of a new epoch: the batch that begins it is on disk before any write is taken.
 * @returns the new epoch. A crash before that batch is durable leaves a follower; after it, one that is ahead of
 * its old leader and can be promoted again.
 */
export async function takeOver<K, V>(typed: TypedStore<K, V>): Promise<number> {
  const { store } = typed
  const { pipeline } = store
  pipeline.commitNow()
  const epoch = Math.max(currentEpoch(store.tree), store.tree.version.fencedEpoch) + 1
  const beginning = beginningOf(store.tree, epoch, store.position + 1)
  const batch = new PreparedBatch<K, V>([], typed.keys, typed.values, () => undefined)
  let written: Promise<Position>
  try {
    // Nobody else's write comes between: there is no await until they are refused again.
    pipeline.refuseWrites(undefined)
    written = batch.write(pipeline, 'disk', [beginning])
  } finally {
    refuseForeignWrites(store.tree, store.pipeline)
  }
  await written
  await store.tree.versions.commit({ leader: '' })
  refuseForeignWrites(store.tree, store.pipeline)
  return epoch
}

/** CRC-32 of the last batch of the log; undefined before the first one, or where it is not known. */
export function lastChecksum(store: Store): number | undefined {
  for (const memtable of store.tree.view.memtables) {
    if (memtable.isEmpty) continue
    return crc32(memtable.bytes, memtable.lastBatchOffset, memtable.endOffset)
  }
  const { version } = store.tree
  return version.flushedPosition === store.position ? version.flushedChecksum : undefined
}
