import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { VarveError } from '../../src/errors.js'
import { contentsAfter } from './operations.js'
import { type ReplayedState, replay, type Start } from './replay.js'
import { parseTrace, straceArguments, type TraceEvent } from './trace.js'

export type Workload = 'creation' | 'puts' | 'checkpoint' | 'close' | 'retained' | 'recovery'

export interface Exploration {
  readonly events: number
  readonly states: number
  /** System calls by kind. */
  readonly counts: Readonly<Record<string, number>>
}

const WORKLOAD = fileURLToPath(new URL('workload.js', import.meta.url))
const OPTIONS = { memory: 2 ** 20, memtableBytes: 2 ** 16, workers: 0 }
const INSTALL_MS_MAX = 120_000

/** Whether strace can be used; installs Debian's package where this is root. */
export function hasStrace(): boolean {
  const works = () => spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0
  if (works()) return true
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) => spawnSync('apt-get', args, { env, timeout: INSTALL_MS_MAX }).status === 0
  const install = () => apt('install', '-y', '--no-install-recommends', 'strace')
  if (!install() && apt('update')) install()
  return works()
}

/** Runs a workload on a real directory and returns what it asked of the system. */
export function record(root: string, workload: Workload, killAfter?: number): Promise<TraceEvent[]> {
  mkdirSync(root, { recursive: true })
  const output = join(root, '..', `${workload}.strace`)
  const args = [...straceArguments(output), process.execPath, WORKLOAD, root, workload, '1']
  return new Promise((resolve, reject) => {
    const child = spawn('strace', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = 0
    let errors = ''
    child.stderr.on('data', (text: Buffer) => {
      errors += text
    })
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString().split('\n').length - 1
      if (killAfter !== undefined && said >= killAfter) child.kill('SIGKILL')
    })
    child.once('close', (status) => {
      if (status !== 0 && killAfter === undefined)
        reject(new Error(`${workload} ended with ${status}: ${errors}`))
      else resolve(parseTrace(readFileSync(output, 'latin1'), root))
    })
  })
}

/** The files below a real directory, by path. */
export function filesBelow(directory: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    if (statSync(path).isDirectory()) for (const [child, bytes] of filesBelow(path)) files.set(child, bytes)
    else if (name !== 'LOCK') files.set(path, readFileSync(path))
  }
  return files
}

/** Opens every state that a crash during these events may leave, and checks it. Throws at the first bad one. */
export async function explore(events: readonly TraceEvent[], start: Start): Promise<Exploration> {
  let states = 0
  for await (const state of replay(events, start)) {
    const fault = await findFault(state, start.root)
    if (fault) throw new Error(`after event ${state.afterEvent} of ${events.length}, ${state.name}: ${fault}`)
    states++
  }
  const counts: Record<string, number> = {}
  for (const { kind } of events) counts[kind] = (counts[kind] ?? 0) + 1
  return { events: events.length, states, counts }
}

async function findFault({ fs, promised }: ReplayedState, root: string): Promise<string | undefined> {
  const fault = await findStoreFault(fs, `${root}/store`, promised.isOpened, promised.position)
  if (fault) return fault
  const copy = `${root}/copy`
  if (promised.checkpoint === undefined) {
    // It appears whole or not at all.
    return fs.stat(copy) ? findStoreFault(fs, copy, true, 0) : undefined
  }
  return findStoreFault(fs, copy, true, promised.checkpoint, promised.checkpoint)
}

/** Undefined if the store opens and holds a prefix of what was written, with all that was promised. */
async function findStoreFault(
  fs: MemoryFileSystem,
  path: string,
  mustExist: boolean,
  promised: number,
  atMost = Number.MAX_SAFE_INTEGER,
): Promise<string | undefined> {
  let position = -1
  try {
    const env = memoryEnv({ fs })
    const db = await open(path, { ...OPTIONS, createIfMissing: !mustExist, env })
    try {
      position = db.position
      const found = JSON.stringify(await db.entries().all())
      const wanted = [...contentsAfter(position)].sort(([a], [b]) =>
        Buffer.compare(Buffer.from(a), Buffer.from(b)),
      )
      if (found !== JSON.stringify(wanted)) return `position ${position} reads ${found.slice(0, 300)}`
    } finally {
      await db.close()
    }
  } catch (error) {
    if (error instanceof VarveError) return `${error.code}: ${error.message}`
    throw error
  }
  if (position < promised) return `position ${position}, but ${promised} was promised`
  return position > atMost ? `position ${position} beyond ${atMost}` : undefined
}
