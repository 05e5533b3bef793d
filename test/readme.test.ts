import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect, it } from 'vitest'

/** What the examples import beside Varve. A package that is not installed leaves out the examples that want it. */
const PACKAGES = ['classic-level', 'abstract-level', 'many-level', 'lmdb', 'minisearch']
/** The peers of the benchmarks are installed for those alone. */
const PLACES = ['node_modules', 'bench/peers/node_modules']

interface Example {
  readonly name: string
  readonly program: string
  /** The block of text after it; none: it prints nothing. */
  readonly output: string
}

const guides = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) =>
  path.endsWith('README.md'),
)
const documents = ['README.md', ...guides.map((path) => join('src', path)).sort()]

function examplesOf(document: string): Example[] {
  const blocks = readFileSync(document, 'utf8').matchAll(
    /^```[jt]s\n([\s\S]*?)^```\n(?:\n```text\n([\s\S]*?)^```\n)?/gm,
  )
  return [...blocks].map(([, program, output = ''], i) => ({
    name: `${document}, example ${i + 1}`,
    program: program!,
    output,
  }))
}

it("the READMEs' examples are whole programs and print what stands below them", () => {
  const examples = documents.flatMap(examplesOf)
  expect(examples.length).toBeGreaterThan(10)
  for (const { name, program } of examples) expect(program, name).toMatch(/^import /)
  const root = mkdtempSync(join(tmpdir(), 'varve-readme-'))
  try {
    mkdirSync(join(root, 'node_modules'))
    symlinkSync(resolve('.'), join(root, 'node_modules/varve'))
    for (const name of PACKAGES) {
      const place = PLACES.find((candidate) => existsSync(join(candidate, name)))
      if (place) symlinkSync(resolve(place, name), join(root, 'node_modules', name))
    }
    const isMissing = (name: string) => !existsSync(join(root, 'node_modules', name))
    const runs = examples.filter(({ name, program }) => {
      const missing = PACKAGES.filter((each) => program.includes(`from '${each}'`) && isMissing(each))
      if (missing.length > 0) console.log(`${name} was not run: ${missing} is not installed`)
      return missing.length === 0
    })
    const files = runs.map(({ program }, i) => {
      const file = join(root, String(i), 'example.mjs')
      mkdirSync(dirname(file))
      writeFileSync(file, program)
      return file
    })
    const run = spawnSync(process.execPath, ['test/readme-runner.js', ...files], { encoding: 'utf8' })
    expect(run.stderr).toBe('')
    const outputs = JSON.parse(run.stdout) as string[]
    for (const [i, { name, output }] of runs.entries()) expect(outputs[i], name).toBe(output)
  } finally {
    rmSync(root, { recursive: true })
  }
})
