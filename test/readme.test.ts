import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

it("the README's example runs as it is written and prints what it shows", () => {
  const directory = mkdtempSync(join(tmpdir(), 'varve-readme-'))
  try {
    const readme = readFileSync('README.md', 'utf8')
    const example = /```js\n([\s\S]*?)```/.exec(readme)![1]!
    const main = new URL('../dist/index.js', import.meta.url).href
    writeFileSync(join(directory, 'example.mjs'), example.replace("'varve'", `'${main}'`))
    const { stdout, stderr } = spawnSync(process.execPath, ['example.mjs'], {
      cwd: directory,
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(stdout).toBe('Oslo\ncity:no:bergen Bergen\ncity:no:oslo Oslo\nBergen undefined\n')
  } finally {
    rmSync(directory, { recursive: true })
  }
})
