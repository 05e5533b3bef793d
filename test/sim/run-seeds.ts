import { encryptionSwitch, isEncrypted } from '../encryption/share.js'
import { planOf } from './sim-operations.js'
import type { Plant } from './sim-run.js'
import { type SimResult, Simulation } from './simulation.js'

/** Runs one seed. @param only the operations that are kept; default: all. */
export async function runSeed(
  seed: number,
  ops: number,
  only?: readonly number[],
  plant?: Plant,
): Promise<SimResult> {
  const plan = planOf(seed, ops)
  const kept = only ? plan.ops.filter((_, index) => only.includes(index)) : plan.ops
  return new Simulation({ ...plan, ops: kept }, plant).run()
}

/** Runs many seeds; a line about them. Throws at the first that fails, with the command that repeats it. */
export async function runSeeds(first: number, count: number, ops: number, step = 1): Promise<string> {
  const sum = { turns: 0, crashes: 0, reopens: 0, faults: 0, detected: 0, encrypted: 0 }
  for (let i = 0; i < count; i++) {
    const seed = first + i * step
    try {
      const result = await runSeed(seed, ops)
      sum.turns += result.turns
      sum.crashes += result.crashes
      sum.reopens += result.reopens
      sum.faults += result.faults
      if (result.isDetected) sum.detected++
      if (isEncrypted(seed)) sum.encrypted++
    } catch (cause) {
      const repeat = `npm run sim -- --seed ${seed} --ops ${ops}${encryptionSwitch()}`
      throw new Error(`${cause}\n${isEncrypted(seed) ? 'encrypted, ' : ''}repeat it with: ${repeat}`, {
        cause,
      })
    }
  }
  const { turns, crashes, reopens, faults, detected, encrypted } = sum
  return (
    `simulation: ${count} seeds from ${first} of ${ops} operations, ${turns} turns, ${crashes} crashes, ` +
    `${reopens} reopens, ${faults} faults, ${detected} lying disks found out, ${encrypted} encrypted, 0 bad`
  )
}
