import { it } from 'vitest'
import { encryptionSwitch } from '../encryption/share.js'
import { reduceList } from '../sim/reduce.js'
import { runSeed, runSeeds } from '../sim/run-seeds.js'
import { planOf } from '../sim/sim-operations.js'

/** What `npm run sim` asks for; nothing in other runs. */
const seed = Number(process.env['VARVE_SIM_SEED'] ?? 0)
const ops = Number(process.env['VARVE_SIM_OPS'] ?? 500)
const seeds = Number(process.env['VARVE_SIM_SEEDS'] ?? 1)
const only = process.env['VARVE_SIM_ONLY']
const reduces = process.env['VARVE_SIM_REDUCE'] === '1'

it.runIf(seed > 0)(`seed ${seed}`, { timeout: 3_600_000 }, async () => {
  const kept = only ? only.split(',').map(Number) : Array.from({ length: ops }, (_, index) => index)
  if (seeds > 1) console.log(await runSeeds(seed, seeds, ops))
  else if (reduces) await reduce(kept)
  else console.log(await runSeed(seed, ops, kept))
})

/** Prints the shortest part of the history that still fails, and how to run it. */
async function reduce(all: readonly number[]): Promise<void> {
  const fails = (part: readonly number[]) =>
    runSeed(seed, ops, part).then(
      () => false,
      () => true,
    )
  if (!(await fails(all))) throw new Error('the history does not fail')
  const kept = await reduceList(all, fails)
  const plan = planOf(seed, ops)
  for (const index of kept) console.log(index, JSON.stringify(plan.ops[index]).slice(0, 400))
  console.log(`npm run sim -- --seed ${seed} --ops ${ops} --only ${kept.join(',')}${encryptionSwitch()}`)
  await runSeed(seed, ops, kept)
}
