import { it } from 'vitest'
import { SEED } from '../proof/depth.js'
import { runSets } from './run-sets.js'

it(`one history reads the same under 12 sets of options (seed ${SEED})`, { timeout: 120_000 }, async () => {
  console.log(await runSets(SEED, 12, 200))
})
