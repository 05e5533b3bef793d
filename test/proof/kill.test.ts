import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { hasStrace } from '../explorer/explore.js'
import type { Way } from '../kill/harness.js'
import { killAgainAndAgain } from '../kill/kill-again.js'
import { DEPTH, SEED } from './depth.js'

const KILLS = 150 * DEPTH
const CLIENTS = 8

it(`${KILLS} kills in every way, of ${CLIENTS} clients on one directory, lose and tear nothing (seed ${SEED})`, async () => {
  const canTrace = hasStrace()
  if (!canTrace) console.log('no strace: killed at random moments instead of at system calls')
  const ways: Way[] = ['random', canTrace ? 'system call' : 'random', 'stopped', 'system call', 'random']
  const deaths: Way[] = ['terminate', 'exit', 'memory']
  const wayOf = (kill: number) => (kill % 6 === 0 ? deaths[(kill / 6) % 3]! : ways[(kill % 6) % ways.length]!)
  const random = new SeededRandom(SEED)
  const isTraceless = (way: Way) => way === 'system call' && !canTrace
  const killed = await killAgainAndAgain(temporaryDirectory(), CLIENTS, KILLS, random, (kill) =>
    isTraceless(wayOf(kill)) ? 'random' : wayOf(kill),
  )
  expect(killed.checked).toBeGreaterThan(KILLS / 3)
}, 3_600_000)
