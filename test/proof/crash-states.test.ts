import { expect, it } from 'vitest'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import { CrashScript } from '../crash/crash-script.js'
import { CRASH_SCRIPTS } from '../crash/crash-scripts.js'
import { isEncrypted } from '../encryption/share.js'
import { DEPTH, SEED } from './depth.js'

const STATES_MIN = 9000
/** Of each script, about. */
const STATES_MAX = 1700 * DEPTH
/** Encrypted ones take several times as long to open. */
const ENCRYPTED_SHARE = 1 / 4

it(
  `no crash state of ${CRASH_SCRIPTS.length} scripts breaks a promise (seed ${SEED})`,
  {
    timeout: 36_000_000,
  },
  async () => {
    let states = 0
    let different = 0
    for (const [i, { options, run, everyRecovery }] of CRASH_SCRIPTS.entries()) {
      const script = new CrashScript(options, SEED + i, ALL_CRASH_POLICIES)
      await script.open()
      await run(script)
      await script.db.close()
      const statesMax = isEncrypted(SEED + i) ? STATES_MAX * ENCRYPTED_SHARE : STATES_MAX
      const checking = everyRecovery
        ? script.checkDuringRecovery(everyRecovery, statesMax)
        : script.checkAll(statesMax)
      const count = await checking
      states += count.states
      different += count.different
    }
    console.log(
      `crash states: ${states} of ${CRASH_SCRIPTS.length} scripts, ${different} different ones, each opened twice, ` +
        `seed ${SEED}, 0 bad`,
    )
    expect(states).toBeGreaterThanOrEqual(STATES_MIN)
  },
)
