import { it } from 'vitest'
import { runClients } from '../histories/run-clients.js'
import { DEPTH, SEED } from './depth.js'

const HISTORIES = 150 * DEPTH

it(
  `${HISTORIES} histories of concurrent clients are linearizable (seed ${SEED})`,
  { timeout: 36_000_000 },
  async () => {
    console.log(await runClients(SEED, HISTORIES))
  },
)
