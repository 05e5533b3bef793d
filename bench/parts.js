/** What the benchmarks of the parts share: entries in log memory, a segment of them, and how results are shown. */
import { Bench } from 'tinybench'
import { BlockCache } from '../dist/cache/block-cache.js'
import { RecentlyMissed } from '../dist/cache/recently-missed.js'
import { nodeEnv } from '../dist/env/node-env.js'
import {
  BATCH_HEADER_BYTES,
  KIND_PUT,
  OP_HEADER_BYTES,
  writeBatchHeader,
  writeOpHeader,
} from '../dist/key/batch-format.js'
import { LogEntries } from '../dist/memtable/log-entries.js'
import { Memtable } from '../dist/memtable/memtable.js'
import { RunIterator } from '../dist/memtable/run-iterator.js'
import { ReadPacer } from '../dist/segment/read-pacer.js'
import { SegmentBuilder } from '../dist/segment/segment-builder.js'
import { SegmentReader } from '../dist/segment/segment-reader.js'
import { keyOf, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'

/** A run to see that it works; its figures say nothing. */
const isSmall = process.argv.includes('--small')
export const ENTRIES = isSmall ? 500 : 100_000
export const VALUE_BYTES = 100

/** Batches of one put each, as the log holds them: the bytes, and where each batch starts. */
export function logOf(from, count) {
  const valueAt = valuePool(VALUE_BYTES)
  const batchBytes = BATCH_HEADER_BYTES + OP_HEADER_BYTES + 16 + VALUE_BYTES
  const bytes = Buffer.alloc(count * batchBytes)
  const batches = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    const at = i * batchBytes
    batches[i] = at
    writeBatchHeader(bytes, at, 1, batchBytes - BATCH_HEADER_BYTES)
    writeOpHeader(bytes, at + BATCH_HEADER_BYTES, KIND_PUT, 16, VALUE_BYTES)
    const key = at + BATCH_HEADER_BYTES + OP_HEADER_BYTES
    bytes.set(keyOf(from + i), key)
    bytes.set(valueAt(from + i), key + 16)
  }
  return { bytes, batches }
}

export function memtableOf({ bytes, batches }, basePosition = 0) {
  const memtable = new Memtable(bytes, 1, basePosition)
  for (let i = 0; i < batches.length; i++) memtable.apply(batches[i], basePosition + i + 1)
  return memtable
}

/** The same entries without an index, as a flush sees them. */
export function logEntriesOf({ bytes, batches }, basePosition = 0) {
  const entries = new LogEntries(bytes, basePosition)
  for (let i = 0; i < batches.length; i++) entries.addBatch(batches[i], basePosition + i + 1)
  return entries
}

/** Writes entries as segment `number` of `directory` and returns its meta. */
export function writeSegment(directory, number, entries, isCompressed = true) {
  const options = { env: nodeEnv, directory, number, blockBytes: 4096, isCompressed, basePosition: 0 }
  const builder = new SegmentBuilder(options)
  const iterator = new RunIterator(entries, entries.sorted())
  for (iterator.seekToFirst(); iterator.isValid; iterator.next()) {
    const { bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd } = iterator
    builder.add(bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd, true)
  }
  return builder.finish()
}

export function segmentHost(directory, cacheBytes) {
  const pacer = new ReadPacer(nodeEnv.clock)
  const cache = new BlockCache(cacheBytes)
  const missed = new RecentlyMissed(cacheBytes)
  return { env: nodeEnv, directory, cache, missed, pacer, blockReads: { hits: 0, misses: 0 } }
}

/** Runs `use` with readers of `count` segments that hold different keys; removes the files afterwards. */
export async function withSegments(count, cacheBytes, use) {
  const directory = makeDirectory('parts')
  const host = segmentHost(directory, cacheBytes)
  const readers = []
  try {
    for (let i = 0; i < count; i++) {
      const entries = logEntriesOf(logOf(i * ENTRIES, ENTRIES), i * ENTRIES)
      readers.push(SegmentReader.open(host, writeSegment(directory, i + 1, entries)))
    }
    return await use(readers, host)
  } finally {
    for (const reader of readers) reader.close()
    removeDirectory(directory)
  }
}

/** Times tasks and prints what each takes for one item. `tasks`: `[name, items in a run, function]`. */
export async function measure(title, tasks) {
  const bench = new Bench(
    isSmall ? { time: 0, iterations: 1, warmup: false } : { time: 500, warmupTime: 200 },
  )
  for (const [name, , run] of tasks) bench.add(name, run)
  await bench.run()
  console.log(`\n${title}`)
  for (const [i, { name, result }] of bench.tasks.entries()) {
    const items = tasks[i][1]
    if (result.state !== 'completed') throw result.error ?? new Error(`${name}: ${result.state}`)
    const itemNs = (result.latency.p50 * 1e6) / items
    const rate = Math.round(1e9 / itemNs).toLocaleString('en-US')
    const spread = `±${result.latency.rme.toFixed(1)} %`
    console.log(`  ${name.padEnd(58)} ${itemNs.toFixed(0).padStart(8)} ns  ${rate.padStart(12)}/s  ${spread}`)
  }
}
