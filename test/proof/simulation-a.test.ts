import { it } from 'vitest'
import { runSeeds } from '../sim/run-seeds.js'
import { DEPTH, SEED } from './depth.js'

const SEEDS = 1000 * DEPTH

it(`${SEEDS} seeds of 500 operations, from ${SEED} on: the even steps`, { timeout: 36_000_000 }, async () => {
  console.log(await runSeeds(SEED, SEEDS, 500, 2))
})
