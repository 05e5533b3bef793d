import { Database } from './database.js'
import {
  type CompareOptions,
  compareDigests,
  compareStores,
  compareWithDigest,
  type Divergence,
  type Side,
} from './feed/compare.js'
import type { Digest } from './feed/digest.js'
import { checkOptionNames, type OptionNames } from './util/option-names.js'

const COMPARE_NAMES: OptionNames<CompareOptions> = { timeoutMs: true, signal: true }

/**
 * Finds out whether two stores hold the same, at the lower of their positions: that what is left of both logs is
 * the same, batch for batch, and that what is live is. Undefined if so; else the first range of positions that
 * differs and, where both are open, the first position and keys. Either may be the digest of a store elsewhere.
 * Reads both once, in slices. A store that has merged what the other one does not have yet is compared once that
 * one has caught up.
 * @throws VarveError `VARVE_TIMEOUT` if that takes too long, `VARVE_INVALID_ARGUMENT` for digests of different
 * positions or ranges, `VARVE_POSITION_LOST` for the digest of a position that was flushed over, `VARVE_ABORTED`.
 */
export async function compare<K, V>(
  a: Database<K, V> | Digest,
  b: Database<K, V> | Digest,
  options: CompareOptions = {},
): Promise<Divergence | undefined> {
  checkOptionNames('compare', options, COMPARE_NAMES)
  if (a instanceof Database && b instanceof Database) return compareStores(sideOf(a), sideOf(b), options)
  if (a instanceof Database) return compareWithDigest(sideOf(a), b as Digest, options)
  if (b instanceof Database) return compareWithDigest(sideOf(b), a, options)
  return compareDigests(a, b)
}

function sideOf<K, V>(db: Database<K, V>): Side {
  const { store, reader } = Database.typedStoreOf(db)
  return { store, reach: (options) => reader.reach(options) }
}
