import fc from 'fast-check'
import type { OpenOptions, Range } from '../../src/index.js'
import { encryptionOf } from '../encryption/share.js'
import { blobsOf } from '../store/blob-share.js'

/** Few keys, so that histories collide; bytes that sort and end in awkward ways. */
const key = fc
  .array(fc.constantFrom(0, 0x61, 0x62, 0xff), { minLength: 0, maxLength: 3 })
  .map((bytes) => Buffer.from(bytes))

const value = fc.nat({ max: 1000 }).map((n) => Buffer.from(`${n}:${'x'.repeat(n % 97)}`))

const bound = fc.option(key, { nil: undefined, freq: 2 })

export const range: fc.Arbitrary<Range<Buffer>> = fc
  .record({
    lower: bound,
    upper: bound,
    isLowerOpen: fc.boolean(),
    isUpperOpen: fc.boolean(),
    prefix: fc.option(key, { nil: undefined, freq: 4 }),
  })
  .map(({ lower, upper, isLowerOpen, isUpperOpen, prefix }) => ({
    ...(lower && { [isLowerOpen ? 'gt' : 'gte']: lower }),
    ...(upper && { [isUpperOpen ? 'lt' : 'lte']: upper }),
    ...(prefix && { prefix }),
  }))

const change = fc.record({ key, value: fc.option(value, { nil: undefined, freq: 4 }) })

/** A step of an iterator: go on, or seek first. */
const step = fc.option(key, { nil: undefined, freq: 5 })

export const operation = fc.oneof(
  { weight: 30, arbitrary: fc.record({ type: fc.constant('put' as const), key, value }) },
  { weight: 10, arbitrary: fc.record({ type: fc.constant('del' as const), key }) },
  {
    weight: 10,
    arbitrary: fc.record({ type: fc.constant('batch' as const), ops: fc.array(change, { maxLength: 12 }) }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('clear' as const), range }) },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('conditional' as const),
      key,
      value,
      condition: fc.constantFrom('current' as const, 'absent' as const, 'stale' as const),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({ type: fc.constant('get' as const), key, snapshot: fc.nat({ max: 3 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('getMany' as const),
      keys: fc.array(key, { maxLength: 6 }),
      snapshot: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 9,
    arbitrary: fc.record({
      type: fc.constant('iterate' as const),
      range,
      reverse: fc.boolean(),
      limit: fc.constantFrom(-1, -1, 0, 1, 3, 10),
      steps: fc.array(step, { maxLength: 8 }),
      isSync: fc.boolean(),
      snapshot: fc.nat({ max: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('snapshot' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('release' as const), snapshot: fc.nat({ max: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const), range }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
)

export type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

/** Sizes so small that two hundred operations reach every level. */
export const shape: fc.Arbitrary<OpenOptions<Buffer, Buffer>> = fc.record({
  memtableBytes: fc.constantFrom(1024, 1500, 4096),
  segmentBytes: fc.constantFrom(64, 300, 2000),
  blockBytes: fc.constantFrom(1, 60, 400),
  levelRatio: fc.constantFrom(2, 4),
  l0SegmentsMax: fc.constantFrom(1, 2, 4),
  memory: fc.constantFrom(65_536, 2 ** 20),
  compression: fc.constantFrom('lz4' as const, 'none' as const),
})

/** Of some of the stores. */
export const encryption = fc.nat().map((seed) => ({ ...blobsOf(seed), ...encryptionOf(seed) }))

/** Whether every read of a block seems to take long, so that all of them go the asynchronous way. */
export const isDiskSlow = fc.oneof(
  { weight: 3, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
)
