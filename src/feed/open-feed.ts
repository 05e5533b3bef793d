import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { BootstrapOptions, ChangesOptions, ClosableIterator } from '../store/contract.js'
import { BOOTSTRAP_NAMES, CHANGES_NAMES } from '../store/option-names.js'
import type { Store } from '../store/store.js'
import { checkOptionNames } from '../util/option-names.js'
import { Bootstrap, type BootstrapEvent } from './bootstrap.js'
import type { Change } from './change.js'
import { ChangeFeed } from './change-feed.js'
import { CompactedFeed } from './compacted-feed.js'

/** @throws VarveError `VARVE_CLOSED`, `VARVE_INVALID_ARGUMENT`, `VARVE_POSITION_LOST` with the oldest position. */
export function openFeed<K, V>(
  { store, keys, values, ranges }: TypedStore<K, V>,
  options: ChangesOptions<K>,
): ClosableIterator<Change<K, V>> {
  store.throwIfClosed()
  checkOptionNames('changes', options, CHANGES_NAMES)
  const { live: isLive = false, compacted = false, prefix, signal } = options
  const after = startOfFeed(store, options.after, compacted)
  const range = prefix === undefined ? undefined : ranges.rangeOf({ prefix })
  const setup = { store, keys, values, after, isLive, range, signal }
  return compacted ? new CompactedFeed(setup) : new ChangeFeed(setup)
}

/** @throws VarveError `VARVE_CLOSED`, `VARVE_INVALID_ARGUMENT`. */
export function openBootstrap<K, V>(
  { store, keys, values }: TypedStore<K, V>,
  options: BootstrapOptions,
): ClosableIterator<BootstrapEvent<K, V>> {
  store.throwIfClosed()
  checkOptionNames('bootstrap', options, BOOTSTRAP_NAMES)
  const { resume, live = false, signal } = options
  return new Bootstrap({ store, keys, values, resume, isLive: live, signal })
}

function startOfFeed(store: Store, after: Position | undefined, isCompacted: boolean): Position {
  const oldest = isCompacted ? 1 : store.oldestPosition
  if (after === undefined) return oldest - 1
  if (!Number.isSafeInteger(after) || after < 0) throw invalid('after is a position')
  if (after > store.position) throw invalid(`after is ${after}, but the store is at ${store.position}`)
  if (after >= oldest - 1) return after
  const message = `the log no longer holds position ${after + 1}: it starts at ${oldest}`
  throw new VarveError('VARVE_POSITION_LOST', message, { position: oldest })
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
