import { afterAll, expect, it } from 'vitest'
import { GROWTH_BYTES_MAX } from '../damage/sweep.js'
import { sweepAll } from '../damage/sweep-all.js'

const CASES_MIN = 100_000

let cases = 0

it.each([
  ['closed', {}],
  ['closed', { compression: 'none' }],
  ['closed', { compression: 'none', blockBytes: 4096 }],
  ['closed', { compaction: 'tiered' }],
  ['closed', { compression: 'none', segmentBytes: 600 }],
  ['checkpoint', {}],
] as const)('a store (%s, %j) with any damage to one file reads the same or says which', async (end, options) => {
  const report = await sweepAll(end, options)
  cases += report.cases
  expect(report.grownBytes).toBeLessThan(GROWTH_BYTES_MAX)
})

afterAll(() => {
  expect(cases).toBeGreaterThan(CASES_MIN)
})
