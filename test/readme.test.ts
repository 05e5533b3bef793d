import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const PROGRAMS = [...readFileSync('README.md', 'utf8').matchAll(/```js\n(import [\s\S]*?)```/g)].map(
  (match) => match[1]!,
)
const OUTPUT = [
  'Oslo\ncity:no:bergen Bergen\ncity:no:oslo Oslo\nBergen undefined\n',
  "2\n[ 'hello/mail:1', 'hello/mail:2' ]\n2 mail:1\n3 mail:2\n",
]

describe("the README's examples run as they are written", () => {
  it('and there is one for each output', () => expect(PROGRAMS.length).toBe(OUTPUT.length))

  it.each(PROGRAMS.map((program, i) => ({ program, expected: OUTPUT[i] })))('example %#', ({
    program,
    expected,
  }) => {
    const directory = mkdtempSync(join(tmpdir(), 'varve-readme-'))
    try {
      const main = new URL('../dist/index.js', import.meta.url).href
      writeFileSync(join(directory, 'example.mjs'), program.replace("'varve'", `'${main}'`))
      const run = spawnSync(process.execPath, ['example.mjs'], { cwd: directory, encoding: 'utf8' })
      expect(run.stderr).toBe('')
      expect(run.stdout).toBe(expected)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
