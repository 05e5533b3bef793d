import { it } from 'vitest'
import { runSets } from '../metamorphic/run-sets.js'
import { DEPTH, SEED } from './depth.js'

const SETS = 40 * DEPTH

it(
  `one history of 3000 operations reads the same under ${SETS} sets of options (seed ${SEED})`,
  {
    timeout: 36_000_000,
  },
  async () => {
    console.log(await runSets(SEED, SETS, 3000))
  },
)
