/**
 * Entries sorted into blocks of 4 KiB, each packed with LZ4 and followed by its checksum, one after another in a file.
 *
 *   block := count:u32 | prefix:u32 × count | start:u32 × (count + 1) | (keyLength:u8 | key | value) × count
 *
 * Words are the machine's own, a prefix is the first four bytes of a key as a number that sorts as they do.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { compressInto } from '../../dist/segment/compression.js'
import { copyBytes } from '../../dist/util/bytes.js'
import { hashKey } from '../../dist/util/hash.js'

const BLOCK_BYTES = 4096
const ENTRY_WORDS_BYTES = 8
const CHUNK_BYTES = 64 << 20
const WRITE_BYTES = 1 << 20
export const CRC_BYTES = 4
/** A block's count, and where its last entry ends. */
const FRAME_BYTES = 8

/** Entries as they come, until they are packed. */
export class Unsorted {
  #chunks = []
  #end = CHUNK_BYTES
  #places = []
  #largest = 0

  /** The keys are those of the benchmark: at least 4 bytes, at most 255, all different. */
  add(key, value) {
    const size = 1 + key.length + value.length
    if (this.#end + size > CHUNK_BYTES) {
      this.#chunks.push(Buffer.allocUnsafeSlow(CHUNK_BYTES))
      this.#end = 0
    }
    const chunk = this.#chunks.at(-1)
    chunk[this.#end] = key.length
    chunk.set(key, this.#end + 1)
    chunk.set(value, this.#end + 1 + key.length)
    this.#places.push({ chunk, start: this.#end, end: this.#end + size })
    this.#end += size
    this.#largest = Math.max(this.#largest, size)
  }

  get blockBytesMax() {
    return Math.max(BLOCK_BYTES, FRAME_BYTES + ENTRY_WORDS_BYTES + this.#largest)
  }

  /** Their places, ordered by key. */
  sorted() {
    const places = this.#places
    // A word to sort by and the number of the entry in one integer: sorted without a call for each comparison.
    const words = new Uint32Array(places.length * 2)
    for (let i = 0; i < places.length; i++) {
      words[2 * i] = i
      words[2 * i + 1] = places[i].chunk.readUInt32BE(places[i].start + 1)
    }
    new BigUint64Array(words.buffer).sort()
    const order = Array.from(places, (_, i) => places[words[2 * i]])
    for (let from = 0, to = 1; from < order.length; from = to++) {
      while (to < order.length && words[2 * to + 1] === words[2 * from + 1]) to++
      if (to - from > 1) order.splice(from, to - from, ...order.slice(from, to).sort(compareKeys))
    }
    return order
  }
}

function compareKeys(a, b) {
  const aKey = a.chunk.subarray(a.start + 1, a.start + 1 + a.chunk[a.start])
  return Buffer.compare(aKey, b.chunk.subarray(b.start + 1, b.start + 1 + b.chunk[b.start]))
}

/** Writes the file; returns the sparse index of it and a hash of each key. */
export function packInto(path, unsorted) {
  const order = unsorted.sorted()
  const file = new PackedWriter(path, unsorted.blockBytesMax)
  const hashes = new Uint32Array(order.length)
  for (let from = 0, to = 0; from < order.length; from = to) {
    let size = FRAME_BYTES
    while (to < order.length) {
      const { start, end } = order[to]
      if (to > from && size + ENTRY_WORDS_BYTES + end - start > BLOCK_BYTES) break
      size += ENTRY_WORDS_BYTES + end - start
      to++
    }
    file.addBlock(order, from, to)
  }
  for (let i = 0; i < order.length; i++) {
    const { chunk, start } = order[i]
    hashes[i] = hashKey(chunk, start + 1, start + 1 + chunk[start])
  }
  return { ...file.finish(), hashes }
}

class PackedWriter {
  #file
  #bytes
  #words
  #pending
  #pendingBytes = 0
  #written = 0
  #offsets = []
  #firstKeys = []
  #packedBytesMax = 0

  constructor(path, blockBytesMax) {
    this.#file = openSync(path, 'w')
    const memory = new ArrayBuffer(Math.ceil(blockBytesMax / 4) * 4)
    this.#bytes = Buffer.from(memory)
    this.#words = new Uint32Array(memory)
    // LZ4 makes bytes that do not compress larger, by 1 in 255.
    this.#pending = Buffer.allocUnsafeSlow(WRITE_BYTES + blockBytesMax * 2)
  }

  addBlock(order, from, to) {
    const count = to - from
    let at = FRAME_BYTES + count * ENTRY_WORDS_BYTES
    this.#words[0] = count
    for (let i = 0; i < count; i++) {
      const { chunk, start, end } = order[from + i]
      this.#words[1 + i] = chunk.readUInt32BE(start + 1)
      this.#words[1 + count + i] = at
      copyBytes(chunk, start, end, this.#bytes, at)
      at += end - start
    }
    this.#words[1 + 2 * count] = at
    const { chunk, start } = order[from]
    this.#firstKeys.push(Buffer.from(chunk.subarray(start + 1, start + 1 + chunk[start])))
    this.#append(this.#bytes.subarray(0, at))
  }

  #append(block) {
    const start = this.#pendingBytes
    this.#offsets.push(this.#written + start)
    const size = compressInto(block, this.#pending, start, this.#pending.length - start - CRC_BYTES)
    const end = start + size
    this.#pending.writeUInt32LE(crc32(this.#pending.subarray(start, end)), end)
    this.#pendingBytes = end + CRC_BYTES
    this.#packedBytesMax = Math.max(this.#packedBytesMax, size + CRC_BYTES)
    if (this.#pendingBytes >= WRITE_BYTES) this.#write()
  }

  #write() {
    for (let at = 0; at < this.#pendingBytes; )
      at += writeSync(this.#file, this.#pending, at, this.#pendingBytes - at, this.#written + at)
    this.#written += this.#pendingBytes
    this.#pendingBytes = 0
  }

  finish() {
    this.#write()
    closeSync(this.#file)
    this.#offsets.push(this.#written)
    return {
      offsets: Float64Array.from(this.#offsets),
      firstKeys: this.#firstKeys,
      packedBytesMax: this.#packedBytesMax,
    }
  }
}
