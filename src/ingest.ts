import { Ingester } from './access/ingester.js'
import { Database } from './database.js'
import { VarveError } from './errors.js'
import type { Position } from './key/position.js'
import type { Durability } from './store/contract.js'
import { checkDurability } from './store/options.js'
import { checkOptionNames, type OptionNames } from './util/option-names.js'

/** Of a batch: filling it takes the thread a millisecond or two. */
const BATCH_BYTES = 256 * 1024
const BATCH_BYTES_MAX = 64 * 2 ** 20

/** How far `ingest` is. */
export interface IngestProgress<K> {
  /** That are committed. */
  readonly entries: number
  /** Of their keys and values, about. */
  readonly bytes: number
  /** Of the last batch that was committed. */
  readonly position: Position
  /** The last of them: after an interruption, go on after it. */
  readonly lastKey: K
}

/** How `ingest` goes about it. */
export interface IngestOptions<K> {
  /**
   * Default true: keys ascend, each above the one before, and anything else is an error that names the entry. Sorted
   * entries are written to segments that do not overlap, which are moved down the levels instead of being merged.
   * False: any order; the last of two entries for one key counts.
   */
  readonly sorted?: boolean | undefined
  /** How many bytes become one batch, and so one position; default 256 KiB, at most 64 MiB. A larger entry is one. */
  readonly batchBytes?: number | undefined
  /** Default: the store's. */
  readonly durability?: Durability | undefined
  /** Called after each batch. */
  readonly onProgress?: ((progress: IngestProgress<K>) => void) | undefined
  /** Ends it with `VARVE_ABORTED` between two entries. */
  readonly signal?: AbortSignal | undefined
}

/** What `ingest` wrote. */
export interface IngestReport {
  /** How many were written. */
  readonly entries: number
  /** Of their keys and values, encoded. */
  readonly bytes: number
  /** The last position; of the store, if there was nothing to write. */
  readonly position: Position
}

const NAMES: OptionNames<IngestOptions<unknown>> = {
  ...{ sorted: true, batchBytes: true, durability: true, onProgress: true, signal: true },
}

/**
 * Puts many entries, as many as there are: in batches of bounded size, several on their way at once, at the pace of
 * the store and of the source. Each batch is atomic and takes a position like any other: feeds, consumers, views and
 * followers see it. All of them together are not: after a failure, or a crash, a prefix of the entries is there.
 * What `source` yields may be reused for the next entry.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` (an entry out of order, or none; its number, counted from 0, is in the
 * message, and its batch was not written), `VARVE_LIMIT`, `VARVE_ABORTED`, else as `batch`; what `source` throws.
 */
export async function ingest<K, V>(
  db: Database<K, V>,
  source: AsyncIterable<readonly [K, V]> | Iterable<readonly [K, V]>,
  options: IngestOptions<K> = {},
): Promise<IngestReport> {
  checkOptionNames('ingest', options, NAMES)
  const { sorted = true, batchBytes = BATCH_BYTES, durability, onProgress, signal } = options
  if (typeof sorted !== 'boolean') throw invalid('sorted is true or false')
  if (!(Number.isInteger(batchBytes) && batchBytes >= 1 && batchBytes <= BATCH_BYTES_MAX))
    throw invalid(`batchBytes is a whole number from 1 to ${BATCH_BYTES_MAX}`)
  if (durability !== undefined) checkDurability(durability)
  const typed = Database.typedStoreOf(db)
  // Whether it takes writes at all, before anything is read.
  typed.store.pipeline.begin(0)
  let report: IngestReport = { entries: 0, bytes: 0, position: typed.store.position }
  const ingester = new Ingester(typed, {
    isSorted: sorted,
    batchBytes,
    durability,
    onCommitted: (entries, bytes, position, lastKey) => {
      report = { entries, bytes, position }
      onProgress?.({ ...report, lastKey: lastKey() })
    },
  })
  let index = 0
  const add = (entry: readonly [K, V]): Promise<void> | undefined => {
    if (signal?.aborted)
      throw new VarveError('VARVE_ABORTED', "ended by the caller's signal", { cause: signal.reason })
    if (!Array.isArray(entry) || entry.length !== 2) throw invalid(`entry ${index} is no [key, value]`)
    index++
    return ingester.add(entry[0], entry[1])
  }
  if (isAsync(source)) {
    for await (const entry of source) {
      const wait = add(entry)
      if (wait) await wait
    }
  } else {
    if (typeof (source as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] !== 'function')
      throw invalid('a source of entries is iterable')
    for (const entry of source) {
      const wait = add(entry)
      if (wait) await wait
    }
  }
  await ingester.finish()
  return report
}

function isAsync<T>(source: AsyncIterable<T> | Iterable<T>): source is AsyncIterable<T> {
  return typeof (source as Partial<AsyncIterable<T>> | null)?.[Symbol.asyncIterator] === 'function'
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
