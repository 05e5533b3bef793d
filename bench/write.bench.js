/** The parts of a write and of a flush. `node bench/write.bench.js` after a build. */
import { BlockBuilder } from '../dist/segment/block-builder.js'
import { writeSection } from '../dist/segment/block-codec.js'
import { crc32 } from '../dist/util/crc.js'
import { hashKey } from '../dist/util/hash.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { ENTRIES, logEntriesOf, logOf, measure, memtableOf, VALUE_BYTES, writeSegment } from './parts.js'

const log = logOf(0, ENTRIES)
const entries = logEntriesOf(log)
const directory = makeDirectory('write')
const KEYS_AT = 15
const BLOCK_ENTRIES = 32
let segments = 0

function hashAll() {
  for (let i = 0; i < ENTRIES; i++)
    hashKey(log.bytes, log.batches[i] + KEYS_AT, log.batches[i] + KEYS_AT + 16)
}

function buildBlock() {
  const block = new BlockBuilder(0, 4096)
  for (let i = 0; i < BLOCK_ENTRIES; i++) {
    const key = log.batches[i] + KEYS_AT
    block.add(log.bytes, key, key + 16, 1, i + 1, key + 16, key + 16 + VALUE_BYTES)
  }
  return block.finish()
}

const payload = Buffer.from(buildBlock())
const section = Buffer.alloc(payload.length + 16)

try {
  await measure('a write, for each entry of 16 + 100 bytes', [
    ['hash of a key', ENTRIES, hashAll],
    ['checksum of the log bytes', ENTRIES, () => crc32(log.bytes, 0, log.bytes.length)],
    ['memtable: apply', ENTRIES, () => memtableOf(log)],
    ['memtable: apply and sort', ENTRIES, () => memtableOf(log).sortedRuns()],
  ])
  await measure('a flush, for each entry of 16 + 100 bytes', [
    ['collect the entries of a log', ENTRIES, () => logEntriesOf(log)],
    ['collect and sort', ENTRIES, () => logEntriesOf(log).sorted()],
    ['block: build', BLOCK_ENTRIES, buildBlock],
    ['block: checksum, not compressed', BLOCK_ENTRIES, () => writeSection(payload, false, section, 0)],
    ['block: compress and checksum', BLOCK_ENTRIES, () => writeSection(payload, true, section, 0)],
    ['segment: build and write', ENTRIES, () => writeSegment(directory, ++segments, entries)],
    [
      'segment: build and write, not compressed',
      ENTRIES,
      () => writeSegment(directory, ++segments, entries, false),
    ],
  ])
} finally {
  removeDirectory(directory)
}
