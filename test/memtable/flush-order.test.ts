import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import {
  BATCH_HEADER_BYTES,
  KIND_DEL,
  KIND_PUT,
  OP_HEADER_BYTES,
  writeBatchHeader,
  writeOpHeader,
} from '../../src/key/batch-format.js'
import { LogEntries } from '../../src/memtable/log-entries.js'
import { RunIterator } from '../../src/memtable/run-iterator.js'

const SEED = Number(process.env.VARVE_SEED ?? 20260511)
const BASE = 1000

interface Operation {
  readonly key: Buffer
  /** Undefined: a del. */
  readonly value: Buffer | undefined
}

/** A batch for each operation, behind `gap` bytes, to the very end of shared memory. */
function entriesOf(operations: readonly Operation[], gap: number): LogEntries {
  const sizeOf = ({ key, value }: Operation) => OP_HEADER_BYTES + key.length + (value?.length ?? 0)
  const total = operations.reduce((sum, op) => sum + BATCH_HEADER_BYTES + sizeOf(op), gap)
  const bytes = Buffer.from(new SharedArrayBuffer(total))
  const entries = new LogEntries(bytes, BASE)
  let at = gap
  for (const [index, operation] of operations.entries()) {
    const { key, value } = operation
    writeBatchHeader(bytes, at, 1, sizeOf(operation))
    const op = at + BATCH_HEADER_BYTES
    writeOpHeader(bytes, op, value ? KIND_PUT : KIND_DEL, key.length, value?.length ?? 0)
    bytes.set(key, op + OP_HEADER_BYTES)
    if (value) bytes.set(value, op + OP_HEADER_BYTES + key.length)
    entries.addBatch(at, BASE + index + 1)
    at += BATCH_HEADER_BYTES + sizeOf(operation)
  }
  return entries
}

function walk(entries: LogEntries): string[] {
  const found: string[] = []
  const iterator = new RunIterator(entries, entries.sorted())
  for (iterator.seekToFirst(); iterator.isValid; iterator.next()) {
    const { bytes, keyStart, keyEnd, kind, position, valueStart, valueEnd } = iterator
    const key = Buffer.from(bytes.subarray(keyStart, keyEnd)).toString('hex')
    const value = Buffer.from(bytes.subarray(valueStart, valueEnd)).toString('hex')
    found.push(`${key} ${position} ${kind} ${value}`)
  }
  return found
}

/** Keys ascending and, of one key, the newest first. */
function expected(operations: readonly Operation[]): string[] {
  return operations
    .map(({ key, value }, index) => ({ key, value, position: BASE + index + 1 }))
    .sort((a, b) => Buffer.compare(a.key, b.key) || b.position - a.position)
    .map(({ key, value, position }) => {
      const kind = value ? KIND_PUT : KIND_DEL
      return `${key.toString('hex')} ${position} ${kind} ${value?.toString('hex') ?? ''}`
    })
}

const KEYS: Record<string, (random: SeededRandom) => Buffer> = {
  noise: (random) => randomBytes(random, 16),
  'short ones, and none at all': (random) => randomBytes(random, random.below(6)),
  'zeros of any length': (random) => Buffer.alloc(random.below(40)),
  'a few, again and again': (random) => Buffer.from(`key ${random.below(4)}`),
  numbers: (random) => Buffer.from(`user${String(random.below(10_000)).padStart(8, '0')}`),
  'alike up to their ends': (random) =>
    Buffer.concat([Buffer.alloc(30, 1), Buffer.from([random.below(3)]), Buffer.alloc(random.below(3))]),
  'alike for longer than the sort looks': (random) =>
    Buffer.concat([Buffer.alloc(200, random.below(2)), randomBytes(random, 2)]),
}

function randomBytes(random: SeededRandom, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  random.fill(bytes)
  return bytes
}

describe(`a flush walks over the entries of a log in their order (seed ${SEED})`, () => {
  it.each(Object.keys(KEYS))('keys: %s', (name) => {
    const random = new SeededRandom(SEED)
    for (const count of [1, 2, 12, 13, 40, 300, 3000]) {
      const operations = Array.from({ length: count }, () => ({
        key: KEYS[name]!(random),
        value: random.below(5) === 0 ? undefined : randomBytes(random, random.below(20)),
      }))
      expect(walk(entriesOf(operations, random.below(8)))).toEqual(expected(operations))
    }
  })

  it('entries of any size, which stand anywhere in words, up to the last byte of the memory', () => {
    const random = new SeededRandom(SEED)
    for (let gap = 0; gap < 4; gap++) {
      const operations = Array.from({ length: 620 }, (_, size) => ({
        key: randomBytes(random, 1 + random.below(20)),
        value: randomBytes(random, size),
      }))
      for (const last of [0, 1, 2, 3]) {
        const all = [...operations, { key: randomBytes(random, 9), value: randomBytes(random, last) }]
        expect(walk(entriesOf(all, gap))).toEqual(expected(all))
      }
    }
  })
})
