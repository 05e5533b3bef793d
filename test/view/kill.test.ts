import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { SEED } from './helpers.js'

const KILLS = Number(process.env['VARVE_VIEW_KILLS'] ?? 6)
const CHILD = fileURLToPath(new URL('child.js', import.meta.url))

interface Life {
  readonly signal: NodeJS.Signals | null
  readonly exitCode: number | null
  readonly errors: string
  readonly checked: number
}

/** Kills the child after so many lines of what it wrote; 0: lets it end. */
function live(directory: string, mode: 'write' | 'check', lines: number): Promise<Life> {
  const child = spawn(process.execPath, [CHILD, directory, mode], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  })
  let errors = ''
  let checked = 0
  let left = lines
  let rest = ''
  child.stderr.on('data', (text: Buffer) => {
    errors += text
  })
  child.stdout.on('data', (text: Buffer) => {
    const whole = (rest + text).split('\n')
    rest = whole.pop()!
    for (const line of whole) {
      if (line.startsWith('C')) checked++
      else if (--left === 0) child.kill('SIGKILL')
    }
  })
  return new Promise((resolve) => {
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, errors, checked }))
  })
}

it(`views of a process that is killed ${KILLS} times are what the log says each time (seed ${SEED})`, async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'varve-views-')))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const random = new SeededRandom(SEED)
  for (let kill = 1; kill <= KILLS; kill++) {
    const life = await live(directory, 'write', 1 + random.below(60))
    expect({ kill, ...life }).toEqual({ kill, signal: 'SIGKILL', exitCode: null, errors: '', checked: 1 })
  }
  const last = await live(directory, 'check', 0)
  expect(last).toEqual({ signal: null, exitCode: 0, errors: '', checked: 1 })
  expect(readdirSync(directory).filter((name) => name.includes('.view'))).toEqual([])
}, 120_000)
