import { describe, expect, it } from 'vitest'
import {
  BATCH_HEADER_BYTES,
  KIND_PUT,
  OP_HEADER_BYTES,
  writeBatchHeader,
  writeOpHeader,
} from '../../src/key/batch-format.js'
import { Memtable, makeIndex } from '../../src/memtable/memtable.js'
import { hashKey } from '../../src/util/hash.js'

const KEY_BYTES = 8
const VALUE_BYTES = 20
const SIZE = BATCH_HEADER_BYTES + OP_HEADER_BYTES + KEY_BYTES + VALUE_BYTES
/** So many that each of the index's 256 tables, made for them, has twice the room. */
const FULL = 4200

function keyOf(number: number): Buffer {
  return Buffer.from(String(number).padStart(KEY_BYTES, '0'))
}

/** Puts so many keys that the log's memory has `share` of its room used. */
function fill(memtable: Memtable, share = 1): void {
  for (let i = memtable.count; i < FULL * share; i++) {
    const at = 1 + i * SIZE
    const op = at + BATCH_HEADER_BYTES
    writeBatchHeader(memtable.bytes, at, 1, SIZE - BATCH_HEADER_BYTES)
    writeOpHeader(memtable.bytes, op, KIND_PUT, KEY_BYTES, VALUE_BYTES)
    memtable.bytes.set(keyOf(i), op + OP_HEADER_BYTES)
    memtable.apply(at, i + 1)
  }
}

function make(index = makeIndex()): Memtable {
  return new Memtable(Buffer.alloc(1 + FULL * SIZE), 1, 0, index)
}

function isFound(memtable: Memtable, number: number): boolean {
  const key = keyOf(number)
  return memtable.find(key, 0, KEY_BYTES, hashKey(key, 0, KEY_BYTES), memtable.lastPosition) >= 0
}

function countFound(memtable: Memtable, from: number, to: number): number {
  let found = 0
  for (let number = from; number < to; number++) if (isFound(memtable, number)) found++
  return found
}

describe('the index of a memtable', () => {
  it('has room for what the log takes, once a sixteenth of that is there, and little more', () => {
    const memtable = make()
    fill(memtable)
    expect(countFound(memtable, 0, FULL)).toBe(FULL)
    const { offsets, positions, older } = memtable.surrenderIndex()
    for (const { length } of [offsets, positions, older]) {
      expect(length).toBeGreaterThanOrEqual(FULL)
      expect(length).toBeLessThan(FULL * 1.1)
    }
  })

  it('grows on where the entries of the rest are smaller than those it was told by', () => {
    const memtable = new Memtable(Buffer.alloc(1 + FULL * SIZE * 2), 1, 0)
    // The first one stands behind as many bytes as half of all the others.
    const gap = FULL * SIZE
    const whole = make()
    fill(whole)
    memtable.bytes.set(whole.bytes.subarray(1), 1 + gap)
    for (let i = 0; i < FULL; i++) memtable.apply(1 + gap + i * SIZE, i + 1)
    expect(countFound(memtable, 0, FULL)).toBe(FULL)
  })

  it('does not grow any more where it was made for as many', () => {
    const memtable = make(makeIndex(FULL))
    fill(memtable, 1 / 2)
    const bytes = memtable.indexBytes
    fill(memtable)
    expect(countFound(memtable, 0, FULL)).toBe(FULL)
    expect(memtable.indexBytes).toBe(bytes)
  })

  it('finds nothing of the memtable that had its memory before, and all of its own', () => {
    const before = make(makeIndex(FULL))
    fill(before)
    const bytes = before.indexBytes
    const after = make(before.surrenderIndex())
    expect(after.indexBytes).toBe(bytes)
    expect(countFound(before, 0, FULL)).toBe(0)
    // The same bytes stand at the same offsets: whatever the index still has would be found.
    after.bytes.set(before.bytes)
    expect(countFound(after, 0, FULL)).toBe(0)
    fill(after, 1 / 2)
    expect(countFound(after, 0, FULL / 2)).toBe(FULL / 2)
    expect(countFound(after, FULL / 2, FULL)).toBe(0)
    expect(after.indexBytes).toBe(bytes)
  })
})
