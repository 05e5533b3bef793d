import { expect } from 'vitest'
import { calmOps } from '../sim/sim-operations.js'
import { Simulation } from '../sim/simulation.js'
import { optionSets } from './option-sets.js'

/** One history under many sets of options: all of it must read the same. A line about it. */
export async function runSets(seed: number, setCount: number, opCount: number): Promise<string> {
  const ops = calmOps(seed, opCount)
  const kinds = new Set(ops.map(({ kind }) => kind))
  const transcripts = new Map<number, number[]>()
  for (const [index, options] of optionSets(setCount, seed).entries()) {
    const plan = {
      seed,
      options,
      tickMs: [0.001, 0.05, 1][index % 3]!,
      isLying: false,
      ops,
      isSequential: true,
    }
    try {
      const { transcript } = await new Simulation(plan).run()
      transcripts.set(transcript, [...(transcripts.get(transcript) ?? []), index])
    } catch (cause) {
      throw new Error(`option set ${index}, ${JSON.stringify(options)}, seed ${seed}: ${cause}`, { cause })
    }
  }
  expect(transcripts.size, `transcripts of the sets: ${JSON.stringify([...transcripts.values()])}`).toBe(1)
  return `metamorphic: ${setCount} sets of options x ${opCount} operations of ${kinds.size} kinds, seed ${seed}, all the same`
}
