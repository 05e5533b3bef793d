import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import { VarveError } from '../errors.js'
import type { FileLock } from './env.js'
import { errorCode } from './system-error.js'

const FLOCK_HELPERS: readonly string[] = ['/usr/bin/flock', '/bin/flock']
const HELPER_BUSY = 1
const HELPER_TIMEOUT_MS = 10_000
const SETTLE_MS = 20
const MAX_HOLDER_BYTES = 4096
const MAC_EXCLUSIVE = 0x20 | 0x4
const WINDOWS_EXCLUSIVE = 0x10000000
const REFUSALS = new Set(
  process.platform === 'win32' ? ['EBUSY', 'EPERM', 'EACCES'] : ['EAGAIN', 'EWOULDBLOCK'],
)

/** What the LOCK file says about who holds it. */
interface Holder {
  readonly pid: number
  readonly host: string
  /** `kernel`: the system frees the lock with the process. `file`: only these words hold it. */
  readonly kind: 'kernel' | 'file'
  readonly token: string
  readonly startTime?: string
  readonly bootId?: string
  readonly namespace?: string
}

// On the global object, since two copies of this package in one process must still see one another.
const REGISTRY = Symbol.for('varve.locks')
const registered = globalThis as { [REGISTRY]?: Set<string> }
registered[REGISTRY] ??= new Set()
const held = registered[REGISTRY]

/**
 * Takes the lock on `path`. The kernel's lock where there is one: it goes with the process. Elsewhere the file
 * names its holder, which is replaced only when it is certainly dead.
 */
export function lockFile(path: string, helpers: readonly string[] = FLOCK_HELPERS): FileLock {
  const before = fs.statSync(path, { bigint: true, throwIfNoEntry: false })
  if (before !== undefined && held.has(identityOf(before))) throw lockedError(path, process.pid)
  const opened = openLock(path)
  const { fd } = opened
  try {
    const identity = identityOf(fs.fstatSync(fd, { bigint: true }))
    if (held.has(identity)) throw lockedError(path, process.pid)
    const isKernel = opened.isExclusive || takeKernelLock(fd, path, helpers)
    claim(fd, path, isKernel)
    held.add(identity)
    return new HeldLock(fd, identity)
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}

class HeldLock implements FileLock {
  readonly #fd: number
  readonly #identity: string
  #isReleased = false

  constructor(fd: number, identity: string) {
    this.#fd = fd
    this.#identity = identity
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    try {
      fs.ftruncateSync(this.#fd, 0)
    } catch {
      // The words are for messages; without a living holder they lock nobody out.
    } finally {
      held.delete(this.#identity)
      fs.closeSync(this.#fd)
    }
  }
}

function openLock(path: string): { fd: number; isExclusive: boolean } {
  const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | (fs.constants.O_NOFOLLOW ?? 0)
  const exclusive =
    process.platform === 'darwin' ? MAC_EXCLUSIVE : process.platform === 'win32' ? WINDOWS_EXCLUSIVE : 0
  if (exclusive !== 0) {
    try {
      return { fd: fs.openSync(path, flags | exclusive, 0o600), isExclusive: true }
    } catch (error) {
      const code = errorCode(error)
      if (code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') {
        throw REFUSALS.has(code ?? '') && fs.existsSync(path) ? lockedError(path, holderPid(path)) : error
      }
    }
  }
  return { fd: fs.openSync(path, flags, 0o600), isExclusive: false }
}

/** flock(2) belongs to the open file, which we keep; the helper only asks for it. */
function takeKernelLock(fd: number, path: string, helpers: readonly string[]): boolean {
  if (process.platform === 'win32') return false
  for (const helper of helpers) {
    if (!fs.existsSync(helper)) continue
    const status = runHelper(helper, fd)
    if (status === 0) return true
    if (status === HELPER_BUSY) throw lockedError(path, readHolder(fd)?.pid)
  }
  return false
}

function runHelper(helper: string, fd: number): number | null {
  try {
    const stdio: ('ignore' | number)[] = ['ignore', 'ignore', 'ignore', fd]
    return spawnSync(helper, ['-n', '3'], { stdio, timeout: HELPER_TIMEOUT_MS, env: {} }).status
  } catch {
    // Node's permission model forbids child processes.
    return null
  }
}

function claim(fd: number, path: string, isKernel: boolean): void {
  const previous = readHolder(fd)
  const isObstacle = previous !== undefined && !(isKernel && previous.kind === 'kernel')
  if (isObstacle && !isCertainlyDead(previous)) throw lockedError(path, previous.pid)
  const self = describeSelf(isKernel ? 'kernel' : 'file')
  const words = new TextEncoder().encode(`${JSON.stringify(self)}\n`)
  fs.writeSync(fd, words, 0, words.length, 0)
  fs.ftruncateSync(fd, words.length)
  if (isKernel) return
  // Two processes may both have found a dead holder; after a pause only the later words are there.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SETTLE_MS)
  const now = readHolder(fd)
  if (now?.token !== self.token) throw lockedError(path, now?.pid)
}

function isCertainlyDead(holder: Holder): boolean {
  const self = describeSelf('file')
  if (holder.host !== self.host) return false
  if (holder.bootId !== self.bootId) return holder.bootId !== undefined && self.bootId !== undefined
  if (holder.namespace !== self.namespace) return false
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    return errorCode(error) === 'ESRCH'
  }
  const startTime = startTimeOf(holder.pid)
  return holder.startTime !== undefined && startTime !== undefined && startTime !== holder.startTime
}

function describeSelf(kind: Holder['kind']): Holder {
  const startTime = startTimeOf(process.pid)
  const bootId = attempt(() => fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim())
  const namespace = attempt(() => fs.readlinkSync('/proc/self/ns/pid'))
  return {
    pid: process.pid,
    host: os.hostname(),
    kind,
    token: randomUUID(),
    ...(startTime === undefined ? {} : { startTime }),
    ...(bootId === undefined ? {} : { bootId }),
    ...(namespace === undefined ? {} : { namespace }),
  }
}

/** Clock ticks from boot to the start of a process: tells it from a later one with the same id. */
function startTimeOf(pid: number): string | undefined {
  const line = attempt(() => fs.readFileSync(`/proc/${pid}/stat`, 'latin1'))
  // The second field is the program's name, which may hold spaces and parentheses.
  return line?.slice(line.lastIndexOf(')') + 2).split(' ')[19]
}

function readHolder(fd: number): Holder | undefined {
  const buffer = Buffer.alloc(MAX_HOLDER_BYTES)
  const length = attempt(() => fs.readSync(fd, buffer, 0, buffer.length, 0)) ?? 0
  const value = attempt(() => JSON.parse(buffer.toString('utf8', 0, length)) as Partial<Holder> | null)
  const isHolder =
    Number.isSafeInteger(value?.pid) && (value?.pid ?? 0) > 0 && typeof value?.host === 'string'
  return isHolder ? (value as Holder) : undefined
}

function holderPid(path: string): number | undefined {
  const fd = attempt(() => fs.openSync(path, fs.constants.O_RDONLY))
  if (fd === undefined) return undefined
  try {
    return readHolder(fd)?.pid
  } finally {
    fs.closeSync(fd)
  }
}

function lockedError(path: string, pid: number | undefined): VarveError {
  const who =
    pid === undefined
      ? 'another process'
      : pid === process.pid
        ? `this process (pid ${pid})`
        : `process ${pid}`
  return new VarveError('VARVE_LOCKED', `${path} is held by ${who}`, {
    file: path,
    ...(pid === undefined ? {} : { pid }),
  })
}

function identityOf(stat: fs.BigIntStats): string {
  return `${stat.dev}:${stat.ino}`
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}
