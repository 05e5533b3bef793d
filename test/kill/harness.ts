import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { SeededRandom } from '../../src/env/seeded-random.js'
import { SHARE_KEY } from '../encryption/share.js'

const CHILD = fileURLToPath(new URL('child.js', import.meta.url))
/** A child that neither ends nor is killed is ended by this. */
const KILL_MS = 15_000

/** What is known of one writer: batches up to `acknowledged` must be there, none above `started` may be. */
export interface Writer {
  acknowledged: number
  started: number
}

export interface Life {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly errors: string
  readonly hasChecked: boolean
  readonly isDone: boolean
  /** The process of the store itself, not of what runs it. */
  readonly pid: number
}

/** Takes note of every whole line; `onAcknowledged` after each batch. */
export function listen(
  child: ChildProcess,
  writers: Writer[],
  onAcknowledged: () => void,
  onStarted: (pid: number) => void = () => {},
): Promise<Life> {
  let rest = ''
  let errors = ''
  let hasChecked = false
  let isDone = false
  let pid = child.pid!
  const take = (line: string) => {
    const [kind, ...numbers] = line.split(' ')
    const [first, second] = numbers.map(Number) as [number, number]
    if (kind === 'P') {
      pid = first
      onStarted(pid)
    } else if (kind === 'V') {
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
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, errors, hasChecked, isDone, pid }))
  })
}

export function start(
  directory: string,
  mode: 'write' | 'check',
  writers: readonly Writer[],
  how: { readonly before?: readonly string[]; readonly death?: string; readonly isEncrypted?: boolean } = {},
): ChildProcess {
  const known = JSON.stringify(writers.map(({ acknowledged, started }) => [acknowledged, started]))
  const [program, ...args] = [...(how.before ?? []), process.execPath, CHILD, directory, mode, known]
  return spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      VARVE_DEATH: how.death ?? '',
      VARVE_KEY: how.isEncrypted ? SHARE_KEY.toString('hex') : '',
    },
    timeout: KILL_MS,
    killSignal: 'SIGKILL',
  })
}

export type Way = 'random' | 'system call' | 'stopped' | 'terminate' | 'exit' | 'memory'

/** System calls at which a process is killed, and the how many-th at most. */
const CALLS: readonly (readonly [string, number])[] = [
  ['pwrite64', 150],
  ['fdatasync', 40],
  ['fsync', 6],
  ['rename', 1],
  ['unlink', 4],
  ['openat', 90],
]
const STOPPED_MS = 150

/** Kills one child: while it starts, opens and recovers, or among its writes. */
export async function liveAndDie(
  directory: string,
  writers: Writer[],
  random: SeededRandom,
  way: Way = 'random',
  isEncrypted = false,
): Promise<Life> {
  const death = way === 'terminate' || way === 'exit' || way === 'memory' ? way : ''
  const [call, nth] = CALLS[random.below(CALLS.length)]!
  const inject = `inject=${call}:signal=KILL:when=${1 + random.below(nth)}`
  const before =
    way === 'system call' ? ['strace', '-f', '-o', '/dev/null', '-e', `trace=${call}`, '-e', inject] : []
  const child = start(directory, 'write', writers, { before, death, isEncrypted })
  let pid = child.pid!
  const kill = () => signal(pid, 'SIGKILL')
  let timer: NodeJS.Timeout | undefined
  const isEarly = death === '' && random.below(4) === 0
  if (isEarly && way !== 'system call') timer = setTimeout(kill, 40 + random.below(120))
  let left = (death === '' ? 1 : 60) + random.below(150)
  const delayMs = random.below(4)
  const life = await listen(
    child,
    writers,
    () => {
      if (isEarly || --left !== 0) return
      if (way === 'stopped') {
        // What it began before goes on in the system; nothing of it may count as done afterwards.
        signal(pid, 'SIGSTOP')
        timer = setTimeout(kill, STOPPED_MS)
      } else if (delayMs === 0) kill()
      else timer = setTimeout(kill, delayMs)
    },
    (started) => {
      pid = started
    },
  )
  clearTimeout(timer)
  return life
}

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It is gone already.
  }
}
