/** What bounds the store: the same bytes through write(2) and fdatasync alone, a Map, copies, promises, a binary search. */
import { closeSync, fdatasyncSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { compressInto, decompress } from '../dist/segment/compression.js'
import { Scratch } from '../dist/util/scratch.js'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { rate } from './watch.js'

const ENTRIES = 500_000
const SEEKS = 100_000
const BLOCK_BYTES = 4096
const FRAME_BYTES = 32 + 8 + 7 + 116
const valueAt = valuePool(100)
const directory = makeDirectory('limits')

async function timed(name, count, run) {
  await run()
  const start = performance.now()
  await run()
  console.log(`| ${name} | ${rate((count / (performance.now() - start)) * 1000)} |`)
}

function withFile(run) {
  const descriptor = openSync(join(directory, 'file'), 'w')
  run(descriptor)
  closeSync(descriptor)
}

const next = numbers(3)
const order = Array.from({ length: ENTRIES }, () => next(ENTRIES))
const map = new Map()
const names = Array.from({ length: ENTRIES }, (_, i) => keyOf(i).toString('latin1'))
for (let i = 0; i < ENTRIES; i++) map.set(names[i], valueAt(i))
const flat = Buffer.alloc(ENTRIES * 116)
let sink

function copyOf(from, size) {
  const copy = Buffer.allocUnsafe(size)
  copy.set(flat.subarray(from, from + size))
  return copy
}

/** The place in \`flat\`, whose keys are sorted. */
function placeOf(key) {
  let low = 0
  let high = ENTRIES
  while (low < high) {
    const middle = (low + high) >>> 1
    if (flat.compare(key, 0, 16, middle * 116, middle * 116 + 16) < 0) low = middle + 1
    else high = middle
  }
  return low
}

console.log('| limit | rate |\n| --- | ---: |')
await timed('write(2) of one frame each', 100_000, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(FRAME_BYTES)
    for (let i = 0; i < 100_000; i++) writeSync(descriptor, frame, 0, FRAME_BYTES, i * FRAME_BYTES)
  }),
)
await timed('write(2) of 1,000 entries each, for each entry', ENTRIES, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(32 + 1000 * 123)
    for (let i = 0; i < ENTRIES / 1000; i++) writeSync(descriptor, frame, 0, frame.length, i * frame.length)
  }),
)
await timed('write(2) and fdatasync of one frame each', 3000, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(FRAME_BYTES)
    for (let i = 0; i < 3000; i++) {
      writeSync(descriptor, frame, 0, FRAME_BYTES, i * FRAME_BYTES)
      fdatasyncSync(descriptor)
    }
  }),
)
await timed('a Map of strings: get, without a copy', ENTRIES, () => {
  for (const index of order) sink = map.get(names[index])
})
await timed('a Map of strings: get and copy the value', ENTRIES, () => {
  for (const index of order) sink = Buffer.from(map.get(names[index]))
})
await timed('copy 100 bytes from a random place into a new Buffer', ENTRIES, () => {
  for (const index of order) {
    const copy = Buffer.allocUnsafe(100)
    copy.set(flat.subarray(index * 116 + 16, index * 116 + 116))
    sink = copy
  }
})
await timed('copy key and value into new Buffers, in order', ENTRIES, () => {
  const entries = []
  for (let i = 0; i < ENTRIES; i++) {
    const key = Buffer.allocUnsafe(16)
    key.set(flat.subarray(i * 116, i * 116 + 16))
    const value = Buffer.allocUnsafe(100)
    value.set(flat.subarray(i * 116 + 16, i * 116 + 116))
    entries.push([key, value])
    if (entries.length === 1000) entries.length = 0
  }
})
await timed('the same, cut as views from a copy of 64 entries', ENTRIES, () => {
  let entries = []
  let window
  for (let i = 0; i < ENTRIES; i++) {
    const at = (i % 64) * 116
    if (at === 0) window = Buffer.from(flat.subarray(i * 116, (i + 64) * 116)).buffer
    entries.push([Buffer.from(window, at, 16), Buffer.from(window, at + 16, 100)])
    if (entries.length === 1000) entries = []
  }
  sink = entries
})
await timed('await a promise that is resolved', ENTRIES, async () => {
  for (const index of order) sink = await Promise.resolve(index)
})
await timed('copy 100 bytes from a random place into a new Buffer and await it', ENTRIES, async () => {
  for (const index of order) sink = await Promise.resolve(copyOf(index * 116 + 16, 100))
})
await timed('the same, 64 at once', ENTRIES, async () => {
  for (let from = 0; from < ENTRIES; from += 64) {
    const pending = []
    for (const index of order.slice(from, from + 64))
      pending.push(Promise.resolve(copyOf(index * 116 + 16, 100)))
    sink = await Promise.all(pending)
  }
})
for (let i = 0; i < ENTRIES; i++) flat.set(keyOf(i), i * 116)
for (let i = 0; i < ENTRIES; i++) flat.set(valueAt(i), i * 116 + 16)
const blocks = packedBlocks()
const blocksFile = openSync(join(directory, 'blocks'), 'w+')
for (const { packed, offset } of blocks) writeSync(blocksFile, packed, 0, packed.length, offset)

/** Blocks of 4 KiB of these entries as LZ4 has them, one after another. */
function packedBlocks() {
  const packed = Buffer.alloc(BLOCK_BYTES)
  const found = []
  let offset = 0
  for (let from = 0; from + BLOCK_BYTES <= flat.length; from += BLOCK_BYTES) {
    const size = compressInto(flat.subarray(from, from + BLOCK_BYTES), packed, 0, BLOCK_BYTES)
    found.push({ packed: Buffer.from(packed.subarray(0, size)), offset })
    offset += size
  }
  return found
}

function readBlock(index, into) {
  const { packed, offset } = blocks[index % blocks.length]
  const bytes = into.subarray(0, packed.length)
  readSync(blocksFile, bytes, 0, bytes.length, offset)
  return bytes
}

const fileBytes = Buffer.alloc(BLOCK_BYTES)
const plain = new Scratch()
await timed('read(2) of a packed block of 4 KiB, at random, from the page cache', ENTRIES, () => {
  for (const index of order) sink = readBlock(index, fileBytes)
})
await timed('the same, and its checksum', ENTRIES, () => {
  for (const index of order) sink = crc32(readBlock(index, fileBytes))
})
await timed('the same, and unpacked', ENTRIES, () => {
  for (const index of order) {
    const packed = readBlock(index, fileBytes)
    if (crc32(packed) >= 0) sink = decompress(packed, plain)
  }
})
closeSync(blocksFile)
const sorted = Array.from({ length: ENTRIES }, (_, i) => keyOf(i)).sort(Buffer.compare)
for (const [i, key] of sorted.entries()) flat.set(key, i * 116)
await timed('binary search among sorted keys alone', SEEKS, () => {
  for (let i = 0; i < SEEKS; i++) sink = placeOf(sorted[order[i]])
})
await timed('binary search and copy ten entries into new Buffers', SEEKS, () => {
  for (let i = 0; i < SEEKS; i++) {
    const place = placeOf(sorted[order[i]])
    const entries = []
    for (let j = place; j < Math.min(place + 10, ENTRIES); j++)
      entries.push([copyOf(j * 116, 16), copyOf(j * 116 + 16, 100)])
    sink = entries
  }
})
if (sink === undefined) throw new Error('nothing was read')
removeDirectory(directory)
