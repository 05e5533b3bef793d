import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { build, type Metafile } from 'esbuild'
import { afterEach, describe, expect, it } from 'vitest'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true })
})

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-bundle-'))
  directories.push(directory)
  return directory
}

const PROGRAM = `
import { open } from 'varve'
async function main() {
  const options = { memtableBytes: 1 << 17, segmentBytes: 1 << 17 }
  const db = await open('data', options)
  for (let i = 0; i < 4000; i++) db.put('key' + (i % 1500), 'value '.repeat(20) + i)
  await db.flush()
  await db.compact()
  const { flushes, compactions } = db.stats().jobs
  await db.close()
  const again = await open('data', options)
  const { entries } = await again.verify()
  console.log(flushes > 1, compactions > 0, entries, (await again.get('key7'))?.slice(-4))
  await again.close()
}
main().catch((error) => { console.error(error); process.exitCode = 1 })
`

/** Bundles a program as the README says, next to nothing of what is installed. */
async function bundle(
  format: 'cjs' | 'esm',
  program: string,
): Promise<{ directory: string; metafile: Metafile }> {
  const directory = temporaryDirectory()
  const outdir = temporaryDirectory()
  writeFileSync(join(directory, 'app.js'), program)
  // Installed, as far as the bundler can tell.
  mkdirSync(join(directory, 'node_modules'))
  symlinkSync(resolve('.'), join(directory, 'node_modules/varve'))
  symlinkSync(resolve('node_modules/lz4-wasm'), join(directory, 'node_modules/lz4-wasm'))
  const { metafile } = await build({
    absWorkingDir: directory,
    entryPoints: { app: 'app.js', 'varve-worker': 'varve/worker', lz4_wasm_bg: 'lz4-wasm/lz4_wasm_bg.wasm' },
    loader: { '.wasm': 'copy' },
    ...{ bundle: true, platform: 'node', format, outdir, metafile: true, logLevel: 'silent' },
  })
  writeFileSync(
    join(outdir, 'package.json'),
    JSON.stringify({ type: format === 'esm' ? 'module' : 'commonjs' }),
  )
  return { directory: outdir, metafile }
}

function run(directory: string): { stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['app.js'], { cwd: directory, encoding: 'utf8' })
}

describe('a program bundled by esbuild', () => {
  it.each([
    'cjs',
    'esm',
  ] as const)('as %s flushes, merges and opens again, on a thread of its own', async (format) => {
    const { directory } = await bundle(format, PROGRAM)
    const worker = join(directory, 'varve-worker.js')
    const note = "process.getBuiltinModule('fs').writeFileSync('thread', 'started')\n"
    writeFileSync(worker, note + readFileSync(worker, 'utf8'))
    expect(run(directory)).toMatchObject({ stderr: '', stdout: 'true true 1500 3007\n' })
    expect(readFileSync(join(directory, 'thread'), 'utf8')).toBe('started')
  })

  it('does without the thread where its file is missing, and says which file of WebAssembly is', async () => {
    const { directory } = await bundle('cjs', PROGRAM)
    rmSync(join(directory, 'varve-worker.js'))
    expect(run(directory)).toMatchObject({ stderr: '', stdout: 'true true 1500 3007\n' })
    rmSync(join(directory, 'lz4_wasm_bg.wasm'))
    expect(run(directory).stderr).toMatch(
      /VarveError: cannot read lz4-wasm\/lz4_wasm_bg.wasm: copy that file to/,
    )
  })

  it('holds what it imports and nothing else', async () => {
    const { metafile } = await bundle('esm', "import { open } from 'varve'\nconsole.log(open)")
    const inputs = Object.keys(
      metafile.outputs[Object.keys(metafile.outputs).find((path) => path.endsWith('app.js'))!]!.inputs,
    )
    expect(
      inputs.filter((path) => /hono|minisearch|abstract-level|commander|cli-progress|dist\/cli/.test(path)),
    ).toEqual([])
    const one = await bundle('esm', "import { VarveError } from 'varve'\nconsole.log(VarveError)")
    const bytes = Object.entries(one.metafile.outputs).find(([path]) => path.endsWith('app.js'))![1].bytes
    expect(bytes).toBeLessThan(200_000)
  })
})
