import { expect, it } from 'vitest'
import { fuzz, GROWTH_BYTES_MAX } from './fuzz.js'
import { sampleStore } from './sample-store.js'
import { makeTargets } from './targets.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const EXECUTIONS = Number(process.env['VARVE_FUZZ'] ?? 5_000)

it(`${EXECUTIONS} hostile inputs with right checksums are taken or refused, never worse (seed ${SEED})`, async () => {
  const targets = makeTargets(await sampleStore())
  const { executions, findings, slowestMs, grownBytes } = await fuzz(targets, EXECUTIONS, SEED)
  console.log(
    `${executions} executions of ${targets.length} decoders, ${findings.length} kinds of outcome, ` +
      `slowest ${slowestMs.toFixed(0)} ms, memory +${(grownBytes / 2 ** 20).toFixed(0)} MiB, seed ${SEED}`,
  )
  expect(grownBytes).toBeLessThan(GROWTH_BYTES_MAX)
  // Every decoder both takes and refuses: inputs get past the checksums.
  for (const { name } of targets) {
    const own = findings.filter((finding) => finding.target === name)
    expect(
      own.map(({ outcome }) => outcome),
      name,
    ).toContain('taken')
  }
}, 600_000)
