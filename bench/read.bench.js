/** The parts of a point read. `node bench/read.bench.js` after a build. */
import { EntryFields } from '../dist/segment/block.js'
import { BLOCKING } from '../dist/segment/read-context.js'
import { SegmentReader } from '../dist/segment/segment-reader.js'
import { asBuffer } from '../dist/util/bytes.js'
import { hashKey } from '../dist/util/hash.js'
import { keyOf, missingKeyOf, numbers } from './data.js'
import { ENTRIES, logOf, measure, memtableOf, segmentHost, withSegments } from './parts.js'

const READS = ENTRIES / 5
const NEWEST = Number.MAX_SAFE_INTEGER
const next = numbers(7)
const hits = Array.from({ length: READS }, () => asBuffer(keyOf(next(ENTRIES))))
const misses = Array.from({ length: READS }, () => asBuffer(missingKeyOf(next(ENTRIES))))
const hitHashes = hits.map((key) => hashKey(key, 0, key.length))
const missHashes = misses.map((key) => hashKey(key, 0, key.length))
const memtable = memtableOf(logOf(0, ENTRIES))
const fields = new EntryFields()

function findInMemtable(keys, hashes) {
  for (let i = 0; i < READS; i++) memtable.find(keys[i], 0, keys[i].length, hashes[i], NEWEST)
}

function findIn(reader, keys, hashes) {
  let found = 0
  for (let i = 0; i < READS; i++)
    if (reader.find(keys[i], 0, keys[i].length, hashes[i], NEWEST, BLOCKING, fields, true)) found++
  return found
}

function findInIndex({ index }) {
  for (const key of hits) index.find(key, 0, key.length)
}

await withSegments(1, 2 ** 30, async ([reader], { directory }) => {
  const uncached = SegmentReader.open(segmentHost(directory, 0), reader.meta)
  if (findIn(reader, hits, hitHashes) !== READS) throw new Error('a key is missing')
  await measure('a point read, for each key', [
    ['memtable: hit', READS, () => findInMemtable(hits, hitHashes)],
    ['memtable: miss', READS, () => findInMemtable(misses, missHashes)],
    ['segment: index alone', READS, () => findInIndex(reader)],
    ['segment: hit, block in the cache', READS, () => findIn(reader, hits, hitHashes)],
    ['segment: miss, by the filter', READS, () => findIn(reader, misses, missHashes)],
    ['segment: hit, block read and decompressed', READS, () => findIn(uncached, hits, hitHashes)],
  ])
  uncached.close()
})
