import { sampleEntries } from '../repair/inspect.js'
import { formatBar, formatBytes, formatCount, formatTable } from './format.js'
import { encryptionOptions, envWithKey } from './key-file.js'
import { startProgress } from './progress.js'
import { closeAfter, loadEngine, requireDirectory, withStore } from './store.js'

const BAR_COLUMNS = 40
const UPDATE_ENTRIES = 10_000

/** Sizes of which the largest is below twice the smallest; 0 stands alone. */
interface Bucket {
  readonly fromBytes: number
  readonly toBytes: number
  readonly count: number
  readonly totalBytes: number
}

interface SizesReport {
  readonly count: number
  readonly totalBytes: number
  readonly minBytes: number
  readonly maxBytes: number
  readonly buckets: readonly Bucket[]
}

export interface HistogramReport {
  /** Counted one by one; else worked out from a sample. */
  readonly isExact: boolean
  readonly keys: SizesReport
  readonly values: SizesReport
}

/** How often which size came: 33 counters, whatever is put in. */
class Sizes {
  readonly #counts = new Float64Array(33)
  readonly #bytes = new Float64Array(33)
  #min = Number.POSITIVE_INFINITY
  #max = 0

  add(bytes: number, weight: number): void {
    const bucket = 32 - Math.clz32(bytes)
    this.#counts[bucket]! += weight
    this.#bytes[bucket]! += weight * bytes
    if (bytes < this.#min) this.#min = bytes
    if (bytes > this.#max) this.#max = bytes
  }

  report(): SizesReport {
    const buckets: Bucket[] = []
    for (const [i, count] of this.#counts.entries()) {
      if (count === 0) continue
      const fromBytes = i === 0 ? 0 : 2 ** (i - 1)
      const toBytes = i === 0 ? 0 : 2 ** i - 1
      buckets.push({ fromBytes, toBytes, count: Math.round(count), totalBytes: Math.round(this.#bytes[i]!) })
    }
    return {
      count: buckets.reduce((sum, { count }) => sum + count, 0),
      totalBytes: buckets.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
      minBytes: buckets.length === 0 ? 0 : this.#min,
      maxBytes: this.#max,
      buckets,
    }
  }
}

/** @param blockCount how many blocks to look at; left out: every key and value as they are now. */
export async function measureSizes(
  directory: string,
  blockCount: number | undefined,
): Promise<HistogramReport> {
  const keys = new Sizes()
  const values = new Sizes()
  if (blockCount === undefined) {
    await eachEntry(directory, (keyBytes, valueBytes) => {
      keys.add(keyBytes, 1)
      values.add(valueBytes, 1)
    })
  } else {
    requireDirectory(directory)
    for (const { kind, keyBytes, valueBytes, weight } of sampleEntries(
      await envWithKey(),
      directory,
      blockCount,
    )) {
      keys.add(keyBytes, weight)
      if (kind === 'put') values.add(valueBytes, weight)
    }
  }
  return { isExact: blockCount === undefined, keys: keys.report(), values: values.report() }
}

async function eachEntry(
  directory: string,
  visit: (keyBytes: number, valueBytes: number) => void,
): Promise<void> {
  const total = await withStore(directory, 'read', async (store) => store.stats().entries)
  // Views: values of megabytes are not copied to learn how long they are.
  const { open } = await loadEngine()
  const store = await open<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    readOnly: true,
    ...encryptionOptions(),
  })
  const progress = startProgress('histogram', 'entries', total)
  let entries = 0
  await closeAfter(store, async () => {
    for await (const [key, value] of store.entries()) {
      visit(key.length, value.length)
      if (++entries % UPDATE_ENTRIES === 0) progress.update(entries)
    }
  }).finally(() => progress.stop())
}

export function describeHistogram({ isExact, keys, values }: HistogramReport): string[] {
  const note = isExact
    ? []
    : ['from a sample of the segments, old versions included; what is only in the log is not']
  return [...describeSizes('values', values), '', ...describeSizes('keys', keys), ...note]
}

function describeSizes(name: string, sizes: SizesReport): string[] {
  const { count, totalBytes, minBytes, maxBytes, buckets } = sizes
  if (count === 0) return [`no ${name}`]
  const most = Math.max(...buckets.map((bucket) => bucket.count))
  const rows = buckets.map((bucket) => [
    bucket.toBytes === 0 ? 'empty' : `${formatBytes(bucket.fromBytes)} to ${formatBytes(bucket.toBytes + 1)}`,
    formatCount(bucket.count),
    `${((100 * bucket.count) / count).toFixed(1)} %`,
    formatBytes(bucket.totalBytes),
  ])
  const table = formatTable([[name, 'count', 'share', 'bytes'], ...rows])
  return [
    table[0]!,
    ...buckets.map((bucket, i) => `${table[i + 1]}  ${formatBar(bucket.count, most, BAR_COLUMNS)}`),
    `from ${formatBytes(minBytes)} to ${formatBytes(maxBytes)}, ${formatBytes(Math.round(totalBytes / count))} on average, half below ${formatBytes(medianOf(sizes))}`,
  ]
}

/** As exact as its bucket: its upper end. */
function medianOf({ buckets, count }: SizesReport): number {
  let seen = 0
  for (const bucket of buckets) {
    seen += bucket.count
    if (2 * seen >= count) return bucket.toBytes + 1
  }
  return 0
}
