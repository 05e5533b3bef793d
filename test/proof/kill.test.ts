import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { underSwitch } from '../encryption/share.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { hasStrace } from '../explorer/explore.js'
import type { Way } from '../kill/harness.js'
import { killAgainAndAgain } from '../kill/kill-again.js'
import { DEPTH, SEED } from './depth.js'

const KILLS = 150 * DEPTH
/** Of these, on a directory of their own. */
const ENCRYPTED_KILLS = KILLS / 5
const CLIENTS = 8

it(`${KILLS} kills in every way, of ${CLIENTS} clients on one directory, lose and tear nothing (seed ${SEED})`, async () => {
  const canTrace = hasStrace()
  if (!canTrace) console.log('no strace: killed at random moments instead of at system calls')
  const ways: Way[] = ['random', canTrace ? 'system call' : 'random', 'stopped', 'system call', 'random']
  const deaths: Way[] = ['terminate', 'exit', 'memory']
  const wayOf = (kill: number) => (kill % 6 === 0 ? deaths[(kill / 6) % 3]! : ways[(kill % 6) % ways.length]!)
  const random = new SeededRandom(SEED)
  const possibleWayOf = (kill: number) =>
    wayOf(kill) === 'system call' && !canTrace ? 'random' : wayOf(kill)
  const killAgain = (kills: number, encrypted: boolean) =>
    killAgainAndAgain(temporaryDirectory(), CLIENTS, kills, random, possibleWayOf, encrypted)
  const plain = await killAgain(KILLS - ENCRYPTED_KILLS, underSwitch(false))
  const encrypted = await killAgain(ENCRYPTED_KILLS, underSwitch(true))
  expect(plain.checked + encrypted.checked).toBeGreaterThan(KILLS / 3)
}, 3_600_000)
