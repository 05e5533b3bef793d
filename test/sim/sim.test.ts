import { describe, expect, it } from 'vitest'
import { reduceList } from './reduce.js'
import { runSeed, runSeeds } from './run-seeds.js'
import type { Plant } from './sim-run.js'

/** Another one each time, and printed. */
const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const SEEDS = 25
const OPS = 250
const PLANTS: readonly Plant[] = ['syncs-lie', 'early-acknowledgement', 'lost-delete']

describe('the simulation', () => {
  it(`of ${SEEDS} seeds keeps every promise (first seed ${SEED})`, { timeout: 240_000 }, async () => {
    console.log(await runSeeds(SEED, SEEDS, OPS))
  })

  it('is the same for the same seed', { timeout: 120_000 }, async () => {
    for (const seed of [SEED, SEED + 1]) expect(await runSeed(seed, OPS)).toEqual(await runSeed(seed, OPS))
  })

  it.each(PLANTS)('finds a planted mistake: %s', { timeout: 240_000 }, async (plant) => {
    let found = 0
    for (let seed = 1; seed <= 40 && found === 0; seed++) {
      await runSeed(seed, OPS, undefined, plant).catch(() => found++)
    }
    expect(found).toBe(1)
  })

  it('shortens a failing history to what it takes', { timeout: 240_000 }, async () => {
    const fails = (only: readonly number[]) =>
      runSeed(1, 80, only, 'lost-delete').then(
        () => false,
        () => true,
      )
    const all = Array.from({ length: 80 }, (_, index) => index)
    expect(await fails(all)).toBe(true)
    const kept = await reduceList(all, fails)
    expect(await fails(kept)).toBe(true)
    expect(kept.length).toBeLessThan(12)
  })
})
