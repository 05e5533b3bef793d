import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { isEncrypted } from '../encryption/share.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { killAgainAndAgain } from './kill-again.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KILLS = Number(process.env['VARVE_KILLS'] ?? 15)

it(`${KILLS} kills at random moments lose nothing that was acknowledged and tear nothing (seed ${SEED})`, async () => {
  const killed = await killAgainAndAgain(
    temporaryDirectory(),
    4,
    KILLS,
    new SeededRandom(SEED),
    () => 'random',
    isEncrypted(SEED),
  )
  expect(killed.checked).toBeGreaterThan(KILLS / 2)
  expect(killed.batches).toBeGreaterThan(KILLS * 10)
}, 120_000)
