/** The parts of a scan. `node bench/scan.bench.js` after a build. */
import { MergingIterator } from '../dist/iterator/merging-iterator.js'
import { RunIterator } from '../dist/memtable/run-iterator.js'
import { BLOCKING } from '../dist/segment/read-context.js'
import { SegmentIterator } from '../dist/segment/segment-iterator.js'
import { asBuffer } from '../dist/util/bytes.js'
import { keyOf, numbers } from './data.js'
import { ENTRIES, logEntriesOf, logOf, measure, withSegments } from './parts.js'

const SEEKS = ENTRIES / 20
const entries = logEntriesOf(logOf(0, ENTRIES))
const sorted = entries.sorted()
const next = numbers(9)
const targets = Array.from({ length: SEEKS }, () => asBuffer(keyOf(next(ENTRIES))))

function walk(iterator) {
  let count = 0
  for (iterator.seekToFirst(); iterator.isValid; iterator.next()) count++
  return count
}

function seekAll(iterator) {
  for (const target of targets) iterator.seekGE(target)
}

const iteratorOf = (reader, fillsCache) => new SegmentIterator(reader, BLOCKING, { fillsCache })

await withSegments(4, 2 ** 30, async (readers) => {
  const [first] = readers
  const merged = () => new MergingIterator(readers.map((reader) => iteratorOf(reader, true)))
  for (const reader of readers)
    if (walk(iteratorOf(reader, true)) !== ENTRIES) throw new Error('entries are missing')
  const sought = iteratorOf(first, true)
  const soughtMerged = merged()
  await measure('a scan, for each entry', [
    ['memtable, sorted', ENTRIES, () => walk(new RunIterator(entries, sorted))],
    ['segment, blocks in the cache', ENTRIES, () => walk(iteratorOf(first, true))],
    ['four segments merged, blocks in the cache', 4 * ENTRIES, () => walk(merged())],
  ])
  await measure('a seek, for each key', [
    ['segment, blocks in the cache', SEEKS, () => seekAll(sought)],
    ['four segments merged, blocks in the cache', SEEKS, () => seekAll(soughtMerged)],
  ])
})

await withSegments(1, 0, async ([reader]) => {
  await measure('a scan as compaction does it, for each entry', [
    ['segment, read and decompressed', ENTRIES, () => walk(iteratorOf(reader, false))],
  ])
})
