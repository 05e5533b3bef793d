import { afterAll, expect, it } from 'vitest'
import { GROWTH_BYTES_MAX } from '../damage/sweep.js'
import { sweepAll } from '../damage/sweep-all.js'
import { encryptionIf, underSwitch } from '../encryption/share.js'
import { SEED } from './depth.js'

const CASES_MIN = 100_000

let cases = 0

const STORES = [
  ['crashed', {}],
  ['crashed', { compression: 'none' }],
  ['crashed', { compaction: 'tiered' }],
  ['crashed', { compression: 'none', segmentBytes: 600 }],
  ['checkpoint', { compression: 'none' }],
] as const

/** One of them is encrypted, another one each time. */
const ENCRYPTED = SEED % STORES.length

it.each(
  STORES.map(([end, options], i) => [end, options, underSwitch(i === ENCRYPTED)] as const),
)('a store (%s, %j) with any damage to one file reads the same or says which', async (end, options, isEncrypted) => {
  const report = await sweepAll(end, options, encryptionIf(isEncrypted))
  cases += report.cases
  expect(report.grownBytes).toBeLessThan(GROWTH_BYTES_MAX)
})

afterAll(() => {
  expect(cases).toBeGreaterThan(CASES_MIN)
})
