/** What bounds the store: the same bytes through write(2) and fdatasync alone, a Map, copies. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { rate } from './watch.js'

const ENTRIES = 500_000
const FRAME_BYTES = 32 + 8 + 7 + 116
const valueAt = valuePool(100)
const directory = makeDirectory('limits')

function timed(name, count, run) {
  run()
  const start = performance.now()
  run()
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

console.log('| limit | rate |\n| --- | ---: |')
timed('write(2) of one frame each', 100_000, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(FRAME_BYTES)
    for (let i = 0; i < 100_000; i++) writeSync(descriptor, frame, 0, FRAME_BYTES, i * FRAME_BYTES)
  }),
)
timed('write(2) of 1,000 entries each, for each entry', ENTRIES, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(32 + 1000 * 123)
    for (let i = 0; i < ENTRIES / 1000; i++) writeSync(descriptor, frame, 0, frame.length, i * frame.length)
  }),
)
timed('write(2) and fdatasync of one frame each', 3000, () =>
  withFile((descriptor) => {
    const frame = Buffer.alloc(FRAME_BYTES)
    for (let i = 0; i < 3000; i++) {
      writeSync(descriptor, frame, 0, FRAME_BYTES, i * FRAME_BYTES)
      fdatasyncSync(descriptor)
    }
  }),
)
timed('a Map of strings: get, without a copy', ENTRIES, () => {
  for (const index of order) sink = map.get(names[index])
})
timed('a Map of strings: get and copy the value', ENTRIES, () => {
  for (const index of order) sink = Buffer.from(map.get(names[index]))
})
timed('copy 100 bytes from a random place into a new Buffer', ENTRIES, () => {
  for (const index of order) {
    const copy = Buffer.allocUnsafe(100)
    copy.set(flat.subarray(index * 116 + 16, index * 116 + 116))
    sink = copy
  }
})
timed('copy key and value into new Buffers, in order', ENTRIES, () => {
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
if (sink === undefined) throw new Error('nothing was read')
removeDirectory(directory)
