import fc from 'fast-check'
import { it } from 'vitest'
import type { OpenOptions } from '../../src/index.js'
import { History } from './histories.js'
import { encryption, isDiskSlow, operation, shape } from './operations.js'

const LENGTH_MIN = 200
const LENGTH_MAX = 220
const TIMEOUT_MS_MIN = 240_000
const HISTORY_MS_MAX = 1000

/** `VARVE_SEED` and `VARVE_RUNS` repeat or extend a run; `VARVE_SHRINK=1` looks for the shortest failing history. */
export function itMatchesTheModel(
  compaction: NonNullable<OpenOptions['compaction']>,
  runsDefault: number,
): void {
  const seed = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
  const numRuns = Number(process.env['VARVE_RUNS'] ?? runsDefault)
  it(
    `${compaction}: ${numRuns} random histories match a sorted array (seed ${seed})`,
    async () => {
      const history = fc.array(operation, { minLength: LENGTH_MIN, maxLength: LENGTH_MAX, size: 'max' })
      const property = fc.asyncProperty(
        shape,
        encryption,
        isDiskSlow,
        history,
        (options, encrypted, isSlow, operations) =>
          new History({ ...options, ...encrypted, compaction }, isSlow).run(operations),
      )
      await fc.assert(property, { seed, numRuns, endOnFailure: process.env['VARVE_SHRINK'] !== '1' })
    },
    Math.max(TIMEOUT_MS_MIN, numRuns * HISTORY_MS_MAX),
  )
}
