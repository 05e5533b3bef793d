import { it } from 'vitest'
import { runReaders } from '../sim/log-readers.js'
import { DEPTH, SEED } from './depth.js'

const SEEDS = 150 * DEPTH

it(
  `a consumer and a view agree with the log through ${SEEDS} histories, from ${SEED} on`,
  {
    timeout: 36_000_000,
  },
  async () => {
    console.log(await runReaders(SEED, SEEDS, 150))
  },
)
