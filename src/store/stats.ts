import { liveBlobBytes } from '../compaction/blob-garbage.js'
import { blobBytesOf } from '../segment/blob-uses.js'
import type { Version } from '../version/version.js'
import type { Stats } from './contract.js'
import type { Store } from './store.js'

/** What the manifest alone says. */
export type VersionStats = Pick<
  Stats,
  'flushedPosition' | 'levels' | 'segmentBytes' | 'blobs' | 'writeAmplification' | 'spaceAmplification'
>

export function versionStats(version: Version): VersionStats {
  const levels = version.levels.map((metas, level) => ({
    level,
    segments: metas.length,
    bytes: version.bytesOf(level),
    entries: metas.reduce((sum, meta) => sum + meta.entryCount, 0),
  }))
  const segmentBytes = levels.reduce((sum, level) => sum + level.bytes, 0)
  const deepest = version.levels.findLast((metas) => metas.length > 0) ?? []
  const deepestBytes = deepest.reduce((sum, meta) => sum + meta.sizeBytes + blobBytesOf(meta), 0)
  const live = liveBlobBytes(version)
  const liveBytes = [...live.values()].reduce((sum, bytes) => sum + bytes, 0)
  const blobBytes = [...version.blobs.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const blobs = { files: version.blobs.size, bytes: blobBytes, liveBytes }
  const { flushedPosition, flushedBytes, compactedBytes } = version
  return {
    flushedPosition,
    levels,
    segmentBytes,
    blobs,
    writeAmplification: flushedBytes === 0 ? 0 : (flushedBytes + compactedBytes) / flushedBytes,
    spaceAmplification: deepestBytes === 0 ? 0 : (segmentBytes + blobBytes) / deepestBytes,
  }
}

/** What the store is doing and what it takes; cheap enough to be asked every second. */
export function storeStats(store: Store): Omit<Stats, 'consumers'> {
  const { tree, archive, stall, scheduler } = store
  const { version } = tree
  const { levels, segmentBytes, blobs, writeAmplification, spaceAmplification } = versionStats(version)
  const logBytes = archive.bytes + store.activeLogBytes
  const memtables = [tree.active, ...tree.waiting]
  const memtableEntries = memtables.reduce((sum, memtable) => sum + memtable.count, 0)
  const [oldestPosition] = tree.pinnedPositions()
  const cacheBytes = tree.cache.weight
  const tableBytes = tree.segments.tableBytes
  return {
    position: store.position,
    durablePosition: store.durablePosition,
    flushedPosition: version.flushedPosition,
    oldestPosition: store.oldestPosition,
    levels,
    diskBytes: segmentBytes + blobs.bytes + logBytes,
    segmentBytes,
    blobs,
    logBytes,
    entries: levels.reduce((sum, level) => sum + level.entries, memtableEntries),
    writeAmplification,
    spaceAmplification,
    memory: {
      budgetBytes: store.options.memory,
      usedBytes: tree.memtableBytes + cacheBytes + tableBytes,
      memtableBytes: tree.memtableBytes,
      cacheBytes,
      tableBytes,
    },
    cache: { ...tree.blockReads, entries: tree.cache.count },
    stall: { count: stall.count, totalMs: stall.totalMs, active: stall.isActive },
    snapshots: { count: tree.pinCount, oldestPosition },
    jobs: { ...scheduler.counts },
    health: store.failure,
  }
}
