import { expect, it } from 'vitest'
import { fuzz, GROWTH_BYTES_MAX } from '../fuzz/fuzz.js'
import { sampleStore } from '../fuzz/sample-store.js'
import { makeTargets } from '../fuzz/targets.js'
import { DEPTH, SEED } from './depth.js'

const EXECUTIONS = 200_000 * DEPTH

it(`${EXECUTIONS} hostile inputs with right checksums are taken or refused (seed ${SEED})`, async () => {
  const targets = makeTargets(await sampleStore())
  // The heap for what lives briefly grows once, whatever is decoded.
  await fuzz(targets, EXECUTIONS / 20, SEED + 1)
  const { executions, findings, slowestMs, grownBytes } = await fuzz(targets, EXECUTIONS, SEED)
  console.log(
    `${executions} executions of ${targets.length} decoders, ${findings.length} kinds of outcome, ` +
      `slowest ${slowestMs.toFixed(0)} ms, memory +${(grownBytes / 2 ** 20).toFixed(0)} MiB, seed ${SEED}`,
  )
  expect(grownBytes).toBeLessThan(GROWTH_BYTES_MAX)
}, 3_600_000)
