import { spawn } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KILLS = Number(process.env['VARVE_KILLS'] ?? 15)
const CHILD = fileURLToPath(new URL('consumer-child.js', import.meta.url))
/** A child that neither ends nor is killed is ended by this. */
const KILL_MS = 15_000

interface Life {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly errors: string
  /** The last message that was acknowledged, 0 if none was. */
  readonly acknowledged: number
  readonly counted: number | undefined
}

/** @param acknowledgements after so many, and `delayMs`, it is killed; Infinity: it ends by itself. */
function live(
  directory: string,
  mode: 'run' | 'check',
  durability: 'os' | 'disk',
  acknowledgements: number,
  delayMs: number,
): Promise<Life> {
  const child = spawn(process.execPath, [CHILD, directory, mode, durability], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: KILL_MS,
    killSignal: 'SIGKILL',
  })
  let rest = ''
  let errors = ''
  let left = acknowledgements
  let acknowledged = 0
  let counted: number | undefined
  const timers: NodeJS.Timeout[] = []
  child.stdout.on('data', (text: Buffer) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const [kind, number] = line.split(' ')
      if (kind === 'D') counted = Number(number)
      else acknowledged = Number(number)
      if (--left === 0) timers.push(setTimeout(() => child.kill('SIGKILL'), delayMs))
    }
  })
  child.stderr.on('data', (text: Buffer) => {
    errors += text
  })
  return new Promise((resolve) => {
    // 'close' comes after the last byte of both pipes.
    child.once('close', (exitCode, signal) => {
      for (const timer of timers) clearTimeout(timer)
      resolve({ exitCode, signal, errors, acknowledged, counted })
    })
  })
}

it(`a process that runs a consumer is killed ${KILLS} times: each message counts once (seed ${SEED})`, async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'varve-consumer-kill-')))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const random = new SeededRandom(SEED)
  let acknowledged = 0
  for (let kill = 1; kill <= KILLS; kill++) {
    const durability = random.below(2) === 0 ? 'os' : 'disk'
    const life = await live(directory, 'run', durability, 1 + random.below(120), random.below(6))
    expect({ kill, ...life }).toMatchObject({ kill, signal: 'SIGKILL', exitCode: null, errors: '' })
    acknowledged = Math.max(acknowledged, life.acknowledged)
  }
  const last = await live(directory, 'check', 'os', Number.POSITIVE_INFINITY, 0)
  expect(last).toMatchObject({ exitCode: 0, errors: '' })
  expect(last.counted).toBeGreaterThanOrEqual(acknowledged)
  console.log(`${KILLS} kills of a consumer, ${last.counted} messages, each counted once`)
}, 120_000)
