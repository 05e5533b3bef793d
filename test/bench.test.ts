import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const IMPORT = /^(?:import|export) (?:(\w+), )?(?:\* as \w+|\{([^}]*)\}|\w+) from '(\.[^']+)'/gm

const scripts = readdirSync('bench', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.js') && !path.includes('node_modules'))
  .map((path) => join('bench', path))

/** Imports of the script's that lead nowhere: a file that is not there, a name that it does not export. */
async function missingImports(script: string): Promise<string[]> {
  const missing: string[] = []
  for (const [, , list, from] of readFileSync(script, 'utf8').matchAll(IMPORT)) {
    const path = join(dirname(script), from!)
    const names = (list ?? '').split(',').map((name) => name.trim().replace(/ as .*/, ''))
    if (!existsSync(path)) missing.push(`${script}: ${from}`)
    // What stands in `bench` would run.
    else if (path.startsWith('dist')) {
      const exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>
      for (const name of names) if (name && !(name in exported)) missing.push(`${script}: ${name}`)
    } else {
      const text = readFileSync(path, 'utf8')
      for (const name of names)
        if (name && !new RegExp(`^export .*\\b${name}\\b`, 'm').test(text)) missing.push(`${script}: ${name}`)
    }
  }
  return missing
}

describe('a benchmark', () => {
  it('imports what is there', async () => {
    expect(scripts.length).toBeGreaterThan(30)
    expect((await Promise.all(scripts.map(missingImports))).flat()).toEqual([])
  })

  it.each(['read', 'scan', 'write'])('of the parts of the store runs: %s', async (name) => {
    const { stdout } = await promisify(execFile)(process.execPath, [`bench/${name}.bench.js`, '--small'])
    expect(stdout).toMatch(/ ns .*\/s/)
  })
})
