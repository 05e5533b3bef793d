import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KILLS = Number(process.env['VARVE_KILLS'] ?? 100)
const WRITERS = 4
const CHILD = fileURLToPath(new URL('child.js', import.meta.url))
/** A child that neither ends nor is killed is ended by this. */
const KILL_MS = 15_000

/** What is known of one writer: batches up to `acknowledged` must be there, none above `started` may be. */
interface Writer {
  acknowledged: number
  started: number
}

interface Life {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly errors: string
  readonly hasChecked: boolean
  readonly isDone: boolean
}

/** Takes note of every whole line; `onAcknowledged` after each batch. */
function listen(child: ChildProcess, writers: Writer[], onAcknowledged: () => void): Promise<Life> {
  let rest = ''
  let errors = ''
  let hasChecked = false
  let isDone = false
  const take = (line: string) => {
    const [kind, ...numbers] = line.split(' ')
    const [first, second] = numbers.map(Number) as [number, number]
    if (kind === 'V') {
      // What was found is in segments now: it must stay.
      for (const [i, text] of numbers.entries()) {
        writers[i]!.acknowledged = Number(text)
        writers[i]!.started = Number(text)
      }
      hasChecked = true
    } else if (kind === 'S') writers[first]!.started = second
    else if (kind === 'A') {
      writers[first]!.acknowledged = second
      onAcknowledged()
    } else if (kind === 'D') isDone = true
  }
  child.stdout!.on('data', (text: Buffer) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) take(line)
  })
  child.stderr!.on('data', (text: Buffer) => {
    errors += text
  })
  return new Promise((resolve) => {
    // 'close' comes after the last byte of both pipes.
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, errors, hasChecked, isDone }))
  })
}

function start(directory: string, mode: 'write' | 'check', writers: readonly Writer[]): ChildProcess {
  const known = JSON.stringify(writers.map(({ acknowledged, started }) => [acknowledged, started]))
  return spawn(process.execPath, [CHILD, directory, mode, known], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: KILL_MS,
    killSignal: 'SIGKILL',
  })
}

/** Kills one child at a random moment: while it starts, opens and recovers, or among its writes. */
async function liveAndDie(directory: string, writers: Writer[], random: SeededRandom): Promise<Life> {
  const child = start(directory, 'write', writers)
  const kill = () => child.kill('SIGKILL')
  let timer: NodeJS.Timeout | undefined
  const isEarly = random.below(4) === 0
  if (isEarly) timer = setTimeout(kill, 40 + random.below(120))
  let left = 1 + random.below(150)
  const delayMs = random.below(4)
  const life = await listen(child, writers, () => {
    if (isEarly || --left !== 0) return
    if (delayMs === 0) kill()
    else timer = setTimeout(kill, delayMs)
  })
  clearTimeout(timer)
  return life
}

it(`${KILLS} kills at random moments lose nothing that was acknowledged and tear nothing (seed ${SEED})`, async () => {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'varve-kill-')))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  const random = new SeededRandom(SEED)
  const writers: Writer[] = Array.from({ length: WRITERS }, () => ({ acknowledged: 0, started: 0 }))
  let checked = 0
  for (let kill = 1; kill <= KILLS; kill++) {
    const { signal, exitCode, errors, hasChecked } = await liveAndDie(directory, writers, random)
    expect({ kill, signal, exitCode, errors }).toEqual({
      kill,
      signal: 'SIGKILL',
      exitCode: null,
      errors: '',
    })
    if (hasChecked) checked++
  }
  const last = start(directory, 'check', writers)
  const { exitCode, errors, isDone } = await listen(last, writers, () => {})
  expect({ exitCode, errors, isDone }).toEqual({ exitCode: 0, errors: '', isDone: true })
  const batches = writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  console.log(`${KILLS} kills, ${checked + 1} recoveries checked, ${batches} batches, 0 lost, 0 torn`)
  expect(checked).toBeGreaterThan(KILLS / 2)
  expect(batches).toBeGreaterThan(KILLS * 10)
}, 120_000)
