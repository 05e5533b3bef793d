/**
 * What reads must do where data is larger than the memory that they may use, as an engine: one file of sorted blocks,
 * packed and with checksums, an index and a filter in memory, a cache of unpacked blocks, and for what is not in it
 * read(2) out of the page cache, the checksum and LZ4. One writer's one file that never changes: no merging, no log,
 * no snapshots, nothing waits.
 */
import { openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { decompress } from '../../../dist/segment/compression.js'
import { hashKey, secondHash } from '../../../dist/util/hash.js'
import { readsOf } from '../limit-engine.js'
import { CRC_BYTES, packInto, Unsorted } from '../packed-file.js'

const FILTER_BITS = 10
const FILTER_PROBES = 6
/** About what V8 and Node take for a `Buffer`. */
const OBJECT_BYTES = 100
const READ_AHEAD_BYTES = 256 << 10
/** The same victims in every run. */
const SEED = 0x9e3779b9

let store

export function open(dir, { memory }) {
  // Opened anew it still holds what the fill put there.
  store ??= new PackedStore(join(dir, 'packed'), memory)
  const engine = store
  return {
    ...readsOf(engine),
    name: 'packed',
    isReadOnly: true,
    async batch(ops) {
      for (const { key, value } of ops) engine.add(key, value)
    },
    filled: () => engine.pack(),
  }
}

class PackedStore {
  #path
  #memory
  #unsorted = new Unsorted()
  #file
  #index
  #filter
  #cache
  /** A packed block. */
  #packed

  constructor(path, memory) {
    this.#path = path
    this.#memory = memory
  }

  add(key, value) {
    this.#unsorted.add(key, value)
  }

  pack() {
    const { blockBytesMax } = this.#unsorted
    const { offsets, firstKeys, hashes, packedBytesMax } = packInto(this.#path, this.#unsorted)
    this.#unsorted = undefined
    this.#file = openSync(this.#path, 'r')
    this.#index = new SparseIndex(firstKeys, offsets)
    this.#filter = new Filter(hashes)
    const blocks = firstKeys.length
    const cacheBytes = Math.max(0, this.#memory - this.#index.bytes - this.#filter.bytes)
    this.#cache = new BlockCache(blocks, blockBytesMax, cacheBytes)
    this.#packed = Buffer.allocUnsafeSlow(packedBytesMax)
    // Full from the start, as after an hour of reads.
    for (let slot = 0; slot < this.#cache.slots; slot++)
      this.#load(Math.floor((slot / this.#cache.slots) * blocks))
  }

  find(key) {
    const prefix = key.readUInt32BE(0)
    const block = this.#index.blockOf(key, prefix)
    const cache = this.#cache
    let slot = cache.slotOf(block)
    if (slot < 0) {
      if (!this.#filter.mayHold(key)) return undefined
      slot = this.#load(block)
    }
    const { bytes, words } = cache
    const base = slot * cache.slotWords
    const count = words[base]
    const place = lowerBound(bytes, words, base, key, prefix)
    if (place === count || words[base + 1 + place] !== prefix) return undefined
    const start = base * 4 + words[base + 1 + count + place]
    if (bytes[start] !== key.length || compareKey(bytes, start, key) !== 0) return undefined
    return copyOf(bytes, start + 1 + key.length, base * 4 + words[base + 2 + count + place])
  }

  /** Reads a block into the cache; returns its slot. */
  #load(block) {
    const start = this.#index.offsets[block]
    const size = this.#index.offsets[block + 1] - start
    if (readSync(this.#file, this.#packed, 0, size, start) !== size) throw new Error('the file is too short')
    const slot = this.#cache.slotFor(block)
    unpack(this.#packed, 0, size, this.#cache.memoryOf(slot))
    return slot
  }

  /** Bytes of blocks that are not in the cache are read many at a time, and leave it as it is. */
  async scan() {
    const { offsets } = this.#index
    const cache = this.#cache
    const ahead = Buffer.allocUnsafeSlow(READ_AHEAD_BYTES + this.#packed.length)
    let aheadStart = 0
    let aheadEnd = 0
    let count = 0
    let entries = []
    for (let block = 0; block + 1 < offsets.length; block++) {
      let plain
      const slot = cache.slotOf(block)
      if (slot >= 0) plain = cache.copyOf(slot)
      else {
        const end = offsets[block + 1]
        if (end > aheadEnd) {
          aheadStart = offsets[block]
          aheadEnd = aheadStart + readSync(this.#file, ahead, 0, ahead.length, aheadStart)
        }
        plain = unpack(ahead, offsets[block] - aheadStart, end - offsets[block], NEW_MEMORY)
      }
      addViews(plain, entries)
      if (entries.length >= 1000) {
        count += entries.length
        entries = []
        await undefined
      }
    }
    return count + entries.length
  }

  seek(key, count) {
    const { bytes, words, slotWords } = this.#cache
    const prefix = key.readUInt32BE(0)
    const entries = []
    let isFirst = true
    for (
      let block = this.#index.blockOf(key, prefix);
      entries.length < count && block < this.#index.blocks;
      block++
    ) {
      let slot = this.#cache.slotOf(block)
      if (slot < 0) slot = this.#load(block)
      const base = slot * slotWords
      const blockCount = words[base]
      for (
        let place = isFirst ? lowerBound(bytes, words, base, key, prefix) : 0;
        place < blockCount && entries.length < count;
        place++
      ) {
        const start = base * 4 + words[base + 1 + blockCount + place]
        const keyEnd = start + 1 + bytes[start]
        const end = base * 4 + words[base + 2 + blockCount + place]
        entries.push([copyOf(bytes, start + 1, keyEnd), copyOf(bytes, keyEnd, end)])
      }
      isFirst = false
    }
    return entries.length
  }
}

/** The first key of each block, found by the first bits of it, and where blocks are in the file. */
class SparseIndex {
  offsets
  #firstKeys
  #prefixes
  #shift
  /** Of all keys with these first bits: the first block that may begin with one. */
  #starts

  constructor(firstKeys, offsets) {
    this.offsets = offsets
    this.#firstKeys = firstKeys
    this.#prefixes = Uint32Array.from(firstKeys, (key) => key.readUInt32BE(0))
    const bits = Math.max(1, Math.ceil(Math.log2(firstKeys.length + 1)))
    this.#shift = 32 - bits
    this.#starts = new Uint32Array(2 ** bits + 1).fill(firstKeys.length)
    for (let block = firstKeys.length - 1; block >= 0; block--)
      this.#starts[this.#prefixes[block] >>> this.#shift] = block
    for (let i = this.#starts.length - 2; i >= 0; i--)
      this.#starts[i] = Math.min(this.#starts[i], this.#starts[i + 1])
  }

  get blocks() {
    return this.#firstKeys.length
  }

  get bytes() {
    const keyBytes = this.#firstKeys.reduce((sum, key) => sum + OBJECT_BYTES + key.length, 0)
    return keyBytes + this.#prefixes.byteLength + this.#starts.byteLength + this.offsets.byteLength
  }

  /** The last block whose first key is not above this one, or the first block. */
  blockOf(key, prefix) {
    const bucket = prefix >>> this.#shift
    let low = this.#starts[bucket]
    let high = this.#starts[bucket + 1]
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#prefixes[middle]
      if (other < prefix || (other === prefix && this.#firstKeys[middle].compare(key) <= 0)) low = middle + 1
      else high = middle
    }
    return low === 0 ? 0 : low - 1
  }
}

/** A Bloom filter whose bits of one key are in one cache line. */
class Filter {
  #words
  #lines

  constructor(hashes) {
    this.#lines = Math.ceil((hashes.length * FILTER_BITS) / 512)
    this.#words = new Uint32Array(this.#lines * 16)
    for (const hash of hashes) {
      const line = this.#lineOf(hash)
      let bits = secondHash(hash)
      for (let i = 0; i < FILTER_PROBES; i++) {
        this.#words[line + ((bits >>> 5) & 15)] |= 1 << (bits & 31)
        bits = Math.imul(bits, 0x9e3779b1) >>> 9
      }
    }
  }

  get bytes() {
    return this.#words.byteLength
  }

  mayHold(key) {
    const hash = hashKey(key, 0, key.length)
    const line = this.#lineOf(hash)
    let bits = secondHash(hash)
    for (let i = 0; i < FILTER_PROBES; i++) {
      if ((this.#words[line + ((bits >>> 5) & 15)] & (1 << (bits & 31))) === 0) return false
      bits = Math.imul(bits, 0x9e3779b1) >>> 9
    }
    return true
  }

  #lineOf(hash) {
    return Math.floor((hash / 2 ** 32) * this.#lines) * 16
  }
}

/** Unpacked blocks in one piece of memory; one that is new takes the place of any other. */
class BlockCache {
  bytes
  words
  slots
  slotWords
  #slotOfBlock
  #blockOfSlot
  #used = 0
  #random = SEED

  constructor(blocks, blockBytesMax, cacheBytes) {
    this.slotWords = Math.ceil(blockBytesMax / 4)
    this.slots = Math.max(1, Math.min(blocks, Math.floor(cacheBytes / (this.slotWords * 4))))
    const memory = new ArrayBuffer(this.slots * this.slotWords * 4)
    this.bytes = Buffer.from(memory)
    this.words = new Uint32Array(memory)
    this.#slotOfBlock = new Int32Array(blocks).fill(-1)
    this.#blockOfSlot = new Int32Array(this.slots)
  }

  slotOf(block) {
    return this.#slotOfBlock[block]
  }

  slotFor(block) {
    let slot = this.#used
    if (slot < this.slots) this.#used++
    else {
      this.#random ^= this.#random << 13
      this.#random ^= this.#random >>> 17
      this.#random ^= this.#random << 5
      slot = (this.#random >>> 0) % this.slots
      this.#slotOfBlock[this.#blockOfSlot[slot]] = -1
    }
    this.#blockOfSlot[slot] = block
    this.#slotOfBlock[block] = slot
    return slot
  }

  /** What `decompress` asks where to put a block. */
  memoryOf(slot) {
    const start = slot * this.slotWords * 4
    return { take: (size) => this.bytes.subarray(start, start + size) }
  }

  copyOf(slot) {
    const base = slot * this.slotWords
    const end = this.words[base + 1 + 2 * this.words[base]]
    const copy = NEW_MEMORY.take(end)
    copy.set(this.bytes.subarray(base * 4, base * 4 + end))
    return copy
  }
}

const NEW_MEMORY = { take: (size) => Buffer.allocUnsafeSlow(size) }

/** Checks and unpacks the block at `start`, into what `memory` gives. */
function unpack(from, start, size, memory) {
  const end = start + size - CRC_BYTES
  const packed = from.subarray(start, end)
  if (crc32(packed) !== from.readUInt32LE(end)) throw new Error('a block is damaged')
  return decompress(packed, memory)
}

/** The first entry of the block at `words[base]` whose key is not below this one. */
function lowerBound(bytes, words, base, key, prefix) {
  const count = words[base]
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = words[base + 1 + middle]
    let isBelow = other < prefix
    if (other === prefix) isBelow = compareKey(bytes, base * 4 + words[base + 1 + count + middle], key) < 0
    if (isBelow) low = middle + 1
    else high = middle
  }
  return low
}

/** The order of the key of the entry at `start` and this one. */
function compareKey(bytes, start, key) {
  const length = bytes[start]
  const shared = Math.min(length, key.length)
  for (let i = 0; i < shared; i++) {
    const difference = bytes[start + 1 + i] - key[i]
    if (difference !== 0) return difference
  }
  return length - key.length
}

function copyOf(bytes, start, end) {
  const copy = Buffer.allocUnsafe(end - start)
  bytes.copy(copy, 0, start, end)
  return copy
}

/** All entries of a block as views of it. */
function addViews(block, entries) {
  const { buffer } = block
  const words = new Uint32Array(buffer, 0, block.length >>> 2)
  const count = words[0]
  let start = words[1 + count]
  for (let place = 1; place <= count; place++) {
    const keyLength = block[start]
    const end = words[1 + count + place]
    const valueStart = start + 1 + keyLength
    entries.push([
      Buffer.from(buffer, start + 1, keyLength),
      Buffer.from(buffer, valueStart, end - valueStart),
    ])
    start = end
  }
}
