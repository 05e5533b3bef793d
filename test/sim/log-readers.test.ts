import { describe, expect, it } from 'vitest'
import { LogReaders, type ReadersPlant, runReaders } from './log-readers.js'

/** Another one each time, and printed. */
const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const SEEDS = 8
const STEPS = 120
const PLANTS: readonly ReadersPlant[] = ['change-left-out', 'counts-twice']

describe('a consumer and a view through crashes and failing disks', () => {
  it(
    `agree with the log, which holds what was promised (first seed ${SEED})`,
    {
      timeout: 120_000,
    },
    async () => {
      console.log(await runReaders(SEED, SEEDS, STEPS))
    },
  )

  it.each(PLANTS)('finds a planted mistake: %s', { timeout: 120_000 }, async (plant) => {
    let found = 0
    for (let seed = 1; seed <= 20 && found === 0; seed++) {
      await new LogReaders(seed, plant).run(STEPS).catch(() => found++)
    }
    expect(found).toBe(1)
  })
})
