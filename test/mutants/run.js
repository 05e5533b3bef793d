// Applies each mutant to a copy of the sources and runs the tests that must find it: node test/mutants/run.js [text]
// With a text only mutants whose description holds it. Ends with 1 if one survives, or does not fit the source.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MUTANTS } from './mutants.js'

const COPIED = [
  'src',
  'test',
  'fixtures',
  'dist',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  'README.md',
]
const AT_ONCE = 2
const TIME_MAX_MS = 300_000

const only = process.argv[2]
const queue = MUTANTS.filter(({ what }) => !only || what.includes(only))
const rows = []

function makeCopy() {
  const directory = mkdtempSync(join(tmpdir(), 'varve-mutants-'))
  for (const name of COPIED) cpSync(name, join(directory, name), { recursive: true })
  symlinkSync(join(process.cwd(), 'node_modules'), join(directory, 'node_modules'))
  return directory
}

function run(directory, tests) {
  const child = spawn(
    'node_modules/.bin/vitest',
    ['run', '--bail', '1', '--testTimeout', String(TIME_MAX_MS), ...tests],
    {
      cwd: directory,
      env: { ...process.env, NO_COLOR: '1', VARVE_SEED: process.env.VARVE_SEED ?? '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIME_MAX_MS,
      killSignal: 'SIGKILL',
    },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      output += text
    })
  }
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, output })))
}

async function judge(directory, { what, file, find, replace, tests }) {
  const path = join(directory, 'src', file)
  const source = readFileSync(path, 'utf8')
  if (source.split(find).length !== 2) return { what, verdict: `DOES NOT FIT ${file}` }
  writeFileSync(
    path,
    source.replace(find, () => replace),
  )
  const { status, output } = await run(directory, tests)
  writeFileSync(path, source)
  const killer = /FAIL\s+(.+)/.exec(output)?.[1]
  return { what, verdict: killer ? 'killed' : status === 0 ? 'SURVIVES' : 'NO VERDICT', killer }
}

async function work() {
  const directory = makeCopy()
  try {
    for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
      const row = await judge(directory, mutant)
      rows.push(row)
      console.log(`${row.verdict.padEnd(9)} ${row.what}  <-  ${row.killer ?? ''}`)
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, work))
const killed = rows.filter(({ verdict }) => verdict === 'killed').length
console.log(`${killed} of ${rows.length} mutants killed`)
if (killed !== rows.length) process.exitCode = 1
