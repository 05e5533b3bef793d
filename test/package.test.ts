import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  exports: Record<string, string | { types: string; default: string }>
  scripts: Record<string, string>
}

describe('the package', () => {
  it('exports what the build made, with its types', () => {
    const targets = Object.values(manifest.exports).flatMap((target) =>
      typeof target === 'string' ? [target] : [target.types, target.default],
    )
    expect(targets.filter((path) => !existsSync(path))).toEqual([])
  })

  it('works by require as by import', () => {
    const program = `
      const { open } = require('varve')
      import('varve').then((module) => {
        if (module.open !== open) throw new Error('two copies')
        console.log('one copy')
      })`
    const { stdout, stderr } = spawnSync(process.execPath, ['--eval', program], { encoding: 'utf8' })
    expect(stdout, stderr).toBe('one copy\n')
  })

  it('ships what is built and nothing of tests or benchmarks, and runs no script when it is installed', () => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      encoding: 'utf8',
    })
    const [{ files }] = JSON.parse(output) as [{ files: { path: string }[] }]
    const strays = files.filter(
      ({ path }) =>
        !/^(dist\/|src\/([\w/]+\/)?README\.md|README\.md|LICENSE|CHANGELOG\.md|package\.json)/.test(path),
    )
    expect(strays).toEqual([])
    expect(Object.keys(manifest.scripts).filter((name) => /install|prepare/.test(name))).toEqual([])
  })
})
