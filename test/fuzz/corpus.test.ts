import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { fuzz, outcomeOf } from './fuzz.js'
import { sampleStore } from './sample-store.js'
import { makeTargets } from './targets.js'

/** One input of each outcome that fuzzing found, a line each; written anew by `REWRITE=1`. */
const CORPUS = 'fixtures/corrupt'
const targets = makeTargets(await sampleStore())

interface Case {
  readonly outcome: string
  readonly input: string
}

const fileOf = (target: string) => `${CORPUS}/${target.replaceAll(' ', '-')}.jsonl`

if (process.env['REWRITE'] === '1') {
  const { findings } = await fuzz(targets, 100_000, 1)
  for (const { name } of targets) {
    const own = findings.filter(({ target }) => target === name)
    const lines = own.map(({ outcome, input }) =>
      JSON.stringify({ outcome, input: input.toString('base64') }),
    )
    writeFileSync(fileOf(name), `${lines.join('\n')}\n`)
  }
}

it('every decoder has inputs in the corpus', () => {
  expect(readdirSync(CORPUS).sort()).toEqual(
    targets.map(({ name }) => fileOf(name).slice(CORPUS.length + 1)).sort(),
  )
})

it.each(
  targets.map((target) => [target.name, target] as const),
)('known hostile inputs end as they did: %s', async (name, target) => {
  const cases = readFileSync(fileOf(name), 'utf8').trimEnd().split('\n')
  for (const line of cases) {
    const { outcome, input } = JSON.parse(line) as Case
    expect(await outcomeOf(target, Buffer.from(input, 'base64'))).toBe(outcome)
  }
})
