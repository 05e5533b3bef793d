import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

  it('opens a store from a line on the command line and from stdin, by import and by require', () => {
    const directory = mkdtempSync(join(tmpdir(), 'varve-package-'))
    const program = (load: string, path: string) => `
      ${load}.then(async ({ open }) => {
        const db = await open(${JSON.stringify(join(directory, path))})
        await db.put('a', '1')
        await db.flush()
        await db.close()
        console.log('wrote')
      })`
    const byImport = program("import('varve')", 'a')
    const byRequire = program("Promise.resolve(require('varve'))", 'b')
    try {
      for (const [args, input] of [
        [['--eval', byImport], ''],
        [[], byRequire],
      ] as const) {
        const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', input })
        expect(stdout, stderr).toBe('wrote\n')
      }
    } finally {
      rmSync(directory, { recursive: true })
    }
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
