import type { Env } from '../env/env.js'
import { joinPath, logFileName } from '../env/file-names.js'
import { corruption } from '../errors.js'
import type { Position } from '../key/position.js'
import { Version } from '../version/version.js'
import { readManifest, VersionSet } from '../version/version-set.js'
import { type DirectoryListing, listDirectory, logsFrom, newStoreId, removeIfThere } from './directory.js'
import { checkEncodings } from './encoding-names.js'
import { FairTurn } from './fair-turn.js'
import type { StoreOptions } from './options.js'
import { type ReplayedLog, replayLogs } from './replay.js'

/** What the directory of a store says: its manifest, and what the logs hold beyond it. */
export interface Recovered {
  readonly storeId: Buffer
  readonly listing: DirectoryListing
  readonly versions: VersionSet
  readonly flushedPosition: Position
  /** Numbers of the log files that may hold changes that are not in segments, ascending. */
  readonly logNumbers: readonly number[]
  /** Those of them that were read: fewer where a torn one ended the log. */
  readonly logs: readonly ReplayedLog[]
  /** Of the last change. */
  readonly position: Position
}

/**
 * Reads the state of a store, or that of a new one. Changes nothing. Gives the event loop turns, but not where the
 * store is only read: a writer in this process could remove meanwhile what the manifest, which was read first, names.
 * @throws VarveError `VARVE_CORRUPTION`.
 */
export async function recover(
  directory: string,
  { env, encodings, readOnly }: StoreOptions,
): Promise<Recovered> {
  const manifest = readManifest(env, directory)
  const storeId = manifest?.storeId ?? newStoreId(env)
  if (encodings && manifest) checkEncodings(directory, manifest.version, encodings)
  const version = manifest?.version ?? Version.EMPTY.apply(encodings ?? {})
  const listing = listDirectory(env, directory)
  const { flushedPosition } = version
  const logNumbers = logsFrom(listing, version.logNumber)
  const logs: ReplayedLog[] = []
  const turn = readOnly ? undefined : new FairTurn(env.clock)
  for (const log of replayLogs({ env, directory, storeId, logNumbers, flushedPosition })) {
    if (log) logs.push(log)
    else await turn?.due()
  }
  const position = logs[logs.length - 1]?.memtable.lastPosition ?? flushedPosition
  if (position < version.durablePosition) {
    const what = `the log ends at position ${position}, but ${version.durablePosition} was on disk`
    throw corruption(joinPath(directory, logFileName(logNumbers[0] ?? version.logNumber)), 0, what)
  }
  const versions = new VersionSet(env, directory, storeId, version, listing.firstFreeNumber)
  return { storeId, listing, versions, flushedPosition, logNumbers, logs, position }
}

/**
 * Removes what a crash left behind, and log files beyond their retention. Only names that are ours.
 * @param leftOut log files that recovery came to and did not read: they are no part of the log.
 */
export function removeOrphans(
  env: Env,
  directory: string,
  listing: DirectoryListing,
  versions: VersionSet,
  leftOut: ReadonlySet<number>,
): void {
  const { version, manifestNumber } = versions
  const live = new Set([...version.segments()].map((meta) => meta.number))
  for (const { kind, number, name } of listing.files) {
    const isOrphan =
      kind === 'temporary' ||
      (kind === 'log' && (number < version.firstLogNumber || leftOut.has(number))) ||
      (kind === 'segment' && !live.has(number)) ||
      (kind === 'blob' && !version.blobs.has(number)) ||
      (kind === 'manifest' && number !== manifestNumber)
    // A compaction that began meanwhile may have removed it.
    if (isOrphan) removeIfThere(env, joinPath(directory, name))
  }
}
