import { VarveError } from '../errors.js'
import { CRASH_POLICIES, CRASH_RULES, type CrashPolicy, type CrashRule, crashTree } from './crash-states.js'
import type { File, FileLock, FileStat, FileSystem, OpenMode } from './env.js'
import {
  type Fault,
  type FaultCounter,
  FaultPlan,
  type FaultRule,
  lingers,
  type MemoryOperation,
  throwFault,
} from './faults.js'
import { type MemoryDisk, MemoryFile } from './memory-file.js'
import { allNodes, copyTree, DirectoryNode, FileNode, type MemoryNode, withoutName } from './memory-nodes.js'
import { isBelow, mustReplace, namesOf } from './memory-paths.js'
import { type OperationRecord, OperationTrace, traced } from './operation-trace.js'
import { SeededRandom } from './seeded-random.js'
import { systemError } from './system-error.js'
import { sleepFor } from './timers.js'

/** A change that is about to happen. */
export interface MemoryStep {
  /** 0 for the first. */
  readonly index: number
  readonly op: MemoryOperation
  readonly path: string
}

export interface CrashState {
  readonly name: CrashPolicy | 'all'
  readonly fs: MemoryFileSystem
}

/** Where time comes from, and how asynchronous operations wait for their turn. */
export interface MemoryTime {
  nowMs(): number
  sleep(delayMs: number): Promise<void>
  /** Undefined: at once. */
  turn(op: MemoryOperation, path: string): Promise<void> | undefined
}

const REAL_TIME: MemoryTime = {
  nowMs: () => Date.now(),
  sleep: sleepFor,
  turn: (op) => (op === 'remove' ? undefined : sleepFor(0)),
}
/** Operations that change nothing on disk. */
const HARMLESS: ReadonlySet<MemoryOperation> = new Set(['open', 'read', 'close', 'stat', 'list'])

let deviceCount = 0

/**
 * Files in memory, which knows of every byte and name whether it would outlast a power loss, and can be told to
 * fail. Stricter than any real file system: without a sync of the directory a name is not durable.
 */
export class MemoryFileSystem implements FileSystem {
  /** Called before each change; may take crash states, or throw to stop there. */
  onStep: ((step: MemoryStep) => void) | undefined
  readonly #seed: number
  readonly #device = ++deviceCount
  readonly #time: MemoryTime
  readonly #disk: MemoryDisk
  readonly #faults: FaultPlan
  readonly #trace = new OperationTrace()
  readonly #locks = new Map<number, string>()
  #root = new DirectoryNode(1)
  #nodeCount = 1
  #order = 0
  #stepCount = 0
  #capacityBytes = Number.POSITIVE_INFINITY
  #hasPower = true

  constructor(seed = 1, time: MemoryTime = REAL_TIME) {
    this.#seed = seed
    this.#time = time
    this.#faults = new FaultPlan(new SeededRandom(seed))
    this.#disk = {
      trace: this.#trace,
      openFiles: new Set(),
      usedBytes: 0,
      begin: (op, syscall, path) => this.#begin(op, syscall, path),
      turn: (op, path) => time.turn(op, path),
      linger: (fault) => this.#linger(fault),
      nowMs: () => time.nowMs(),
      nextOrder: () => ++this.#order,
      freeBytes: () => this.#capacityBytes - this.#disk.usedBytes,
      released: (node) => {
        if (node.nameCount === 0 && node.openCount === 0) this.#disk.usedBytes -= node.live.length
      },
    }
  }

  /** Bytes that files take, open ones without a name included. */
  get usedBytes(): number {
    return this.#disk.usedBytes
  }

  /** Changes of the disk so far. */
  get stepCount(): number {
    return this.#stepCount
  }

  /** As the system opens a file. */
  open(path: string, mode: OpenMode): File {
    return this.#perform(mode === 'create' ? 'create' : 'open', 'open', path, () => {
      if (mode === 'create') return new MemoryFile(path, this.#createFile(path), this.#disk, true)
      const node = this.#find(path, 'open')
      if (node.kind === 'directory') throw systemError('EISDIR', 'open', path)
      return new MemoryFile(path, node, this.#disk, false)
    })
  }

  stat(path: string): FileStat | undefined {
    const node = this.#perform('stat', 'stat', path, () => this.#lookUp(path))
    if (node === undefined) return undefined
    return {
      sizeBytes: node.kind === 'file' ? node.live.length : 0,
      modifiedMs: node.modifiedMs,
      identity: `memory-${this.#device}:${node.id}`,
      isDirectory: node.kind === 'directory',
    }
  }

  list(path: string): string[] {
    return this.#perform('list', 'scandir', path, () =>
      [...this.#directory(path, 'scandir').names.keys()].sort(),
    )
  }

  makeDirectory(path: string): string | undefined {
    let directory = this.#root
    let topmost: string | undefined
    const names = namesOf(path)
    for (const [index, name] of names.entries()) {
      const here = `/${names.slice(0, index + 1).join('/')}`
      let next = directory.names.get(name)
      if (next === undefined) {
        next = this.#perform('create', 'mkdir', here, () => this.#add(directory, name, this.#newDirectory()))
        topmost ??= here
      }
      if (next.kind === 'file') {
        throw systemError(index === names.length - 1 ? 'EEXIST' : 'ENOTDIR', 'mkdir', path)
      }
      directory = next
    }
    return topmost
  }

  /** As the system renames: what had the new name is gone. */
  rename(from: string, to: string): void {
    this.#perform('rename', 'rename', from, () => this.#move(from, to), to)
  }

  async removeAsync(path: string): Promise<void> {
    const turn = this.#time.turn('remove', path)
    if (turn) await turn
    const fault = this.#begin('remove', 'unlink', path)
    if (lingers(fault)) await this.#linger(fault)
    traced(this.#trace, { op: 'remove', syscall: 'unlink', path }, () =>
      this.#carryOut(fault, 'unlink', path, () => this.#remove(path)),
    )
  }

  /** Also removes a directory that is empty. */
  remove(path: string): void {
    this.#perform('remove', 'unlink', path, () => this.#remove(path))
  }

  link(from: string, to: string): boolean {
    return this.#perform(
      'link',
      'link',
      from,
      () => {
        const node = this.#find(from, 'link')
        const [parent, name] = this.#parent(to, 'link')
        if (parent.names.has(name)) throw systemError('EEXIST', 'link', to)
        if (node.kind === 'directory') return false
        this.#add(parent, name, node)
        return true
      },
      to,
    )
  }

  syncDirectory(path: string): void {
    traced(this.#trace, { op: 'syncDirectory', syscall: 'fsync', path }, () =>
      this.#settle(path, this.#begin('syncDirectory', 'fsync', path), this.#order),
    )
  }

  async syncDirectoryAsync(path: string): Promise<void> {
    const last = this.#order
    const turn = this.#time.turn('syncDirectory', path)
    if (turn) await turn
    const fault = this.#begin('syncDirectory', 'fsync', path)
    if (lingers(fault)) await this.#linger(fault)
    traced(this.#trace, { op: 'syncDirectory', syscall: 'fsync', path }, () =>
      this.#settle(path, fault, last),
    )
  }

  lock(path: string): FileLock {
    const known = this.#lookUp(path)
    const node = known ?? this.#perform('create', 'open', path, () => this.#createFile(path))
    if (this.#locks.has(node.id)) {
      const message = `${path} is held by this process (pid ${process.pid})`
      throw new VarveError('VARVE_LOCKED', message, { file: path, pid: process.pid })
    }
    this.#locks.set(node.id, path)
    let isReleased = false
    return {
      release: () => {
        if (!isReleased) this.#locks.delete(node.id)
        isReleased = true
      },
    }
  }

  resolve(path: string): string {
    return path.startsWith('/') ? path : `/${path}`
  }

  realPath(path: string): string {
    this.#find(path, 'realpath')
    return `/${namesOf(path).join('/')}`
  }

  // --- for tests ---

  /** Makes an operation fail, or misbehave, in the way of the rule. */
  inject(rule: FaultRule): FaultCounter {
    return this.#faults.inject(rule)
  }

  /** Ends every fault. */
  clearFaults(): void {
    this.#faults.clear()
  }

  /** The size of the disk; what is there already counts. */
  setCapacity(bytes: number): void {
    this.#capacityBytes = bytes
  }

  /** Paths of the files not closed yet, under the names they were opened with. */
  openFiles(): string[] {
    return [...this.#disk.openFiles].map((file) => file.path).sort()
  }

  /** Everything that is held and must be let go: open files and locks. */
  openHandles(): string[] {
    return [...this.openFiles(), ...[...this.#locks.values()].map((path) => `lock ${path}`)]
  }

  /** Keeps every operation from now on, with what was written: see `replayOperations`. */
  recordOperations(): void {
    this.#trace.keepAll()
  }

  /** The operations, oldest first: the last few hundred, or all since `recordOperations`. */
  ops(): readonly OperationRecord[] {
    return this.#trace.all()
  }

  /** Nothing changes any more and everything fails: what is left is told by `crash`. */
  cutPower(): void {
    this.#hasPower = false
  }

  /** Whether anybody holds a lock. */
  hasLocks(): boolean {
    return this.#locks.size > 0
  }

  /** All bytes of a file. */
  readFile(path: string): Uint8Array {
    const node = this.#find(path, 'open')
    if (node.kind === 'directory') throw systemError('EISDIR', 'read', path)
    return node.live.view().slice()
  }

  /** Puts a file there, durable at once, without a step, a fault or a limit. Its directory must exist. */
  writeFile(path: string, bytes: Uint8Array): void {
    const [parent, name] = this.#parent(path, 'open')
    const known = parent.names.get(name)
    if (known?.kind === 'directory') throw systemError('EISDIR', 'open', path)
    const before = known?.live.length ?? 0
    const node = known ?? this.#newFile()
    if (known === undefined) {
      node.nameCount++
      parent.names.set(name, node)
    }
    parent.pending = parent.pending.map((op) => withoutName(op, name))
    parent.durableNames.set(name, node)
    this.#keepDirectories(path)
    replaceContent(node, bytes)
    this.#disk.usedBytes += bytes.length - before
  }

  /** An independent copy as a killed process leaves it: nothing locked, nothing open, no faults, no less durable. */
  clone(): MemoryFileSystem {
    return this.#with(copyTree(this.#root))
  }

  /** What a power loss now may leave. @param draw another number, another of the states that a rule allows. */
  crash(policy: CrashPolicy | CrashRule, draw = 0): MemoryFileSystem {
    const rule = typeof policy === 'string' ? CRASH_RULES[policy] : policy
    return this.#with(crashTree(this.#root, rule, this.#randomForCrash(draw)).root)
  }

  /** `strict` and `all` always, and of the others those that differ from one another. */
  *crashStates(policies: readonly CrashPolicy[] = CRASH_POLICIES): Iterable<CrashState> {
    yield { name: 'all', fs: this.clone() }
    const seen = new Set<string>()
    for (const policy of policies) {
      const { root, key } = crashTree(this.#root, CRASH_RULES[policy], this.#randomForCrash())
      if (seen.has(key)) continue
      seen.add(key)
      yield { name: policy, fs: this.#with(root) }
    }
  }

  #randomForCrash(draw = 0): SeededRandom {
    const mixed = Math.imul(this.#seed, 0x9e3779b1) + Math.imul(draw, 0x85ebca6b)
    return new SeededRandom(mixed + this.#order + this.#stepCount)
  }

  #with(root: DirectoryNode): MemoryFileSystem {
    const copy = new MemoryFileSystem(this.#seed, this.#time)
    copy.#root = root
    copy.#nodeCount = this.#nodeCount
    copy.#order = this.#order
    for (const node of allNodes(root)) {
      if (node.kind === 'file' && node.nameCount > 0) copy.#disk.usedBytes += node.live.length
    }
    return copy
  }

  #step(op: MemoryOperation, path: string): void {
    const index = this.#stepCount++
    this.onStep?.({ index, op, path })
  }

  #begin(op: MemoryOperation, syscall: string, path: string, otherPath?: string): Fault | undefined {
    if (this.#hasPower && !HARMLESS.has(op)) this.#step(op, path)
    const fault = this.#hasPower ? this.#faults.take(op, path, otherPath) : undefined
    if (fault !== undefined && 'cutsPower' in fault.effect) this.#hasPower = false
    if (!this.#hasPower) throw systemError('EIO', syscall, path)
    return fault
  }

  #perform<T>(op: MemoryOperation, syscall: string, path: string, action: () => T, to?: string): T {
    const record = { op, syscall, path, ...(to === undefined ? {} : { to }) }
    return traced(this.#trace, record, () => {
      const result = this.#carryOut(this.#begin(op, syscall, path, to), syscall, path, action)
      if (result instanceof MemoryFile) Object.assign(record, { file: result.number })
      return result
    })
  }

  #carryOut<T>(fault: Fault | undefined, syscall: string, path: string, action: () => T): T {
    throwFault(fault, 'before', syscall, path)
    const result = action()
    if (fault?.when === 'after' && result instanceof MemoryFile) result.release()
    throwFault(fault, 'after', syscall, path)
    return result
  }

  async #linger({ effect }: Fault): Promise<void> {
    if ('hangs' in effect) await new Promise<never>(() => {})
    if ('delayMs' in effect) await this.#time.sleep(effect.delayMs)
  }

  #keepDirectories(path: string): void {
    let directory = this.#root
    for (const name of namesOf(path).slice(0, -1)) {
      const next = directory.names.get(name)
      if (next?.kind !== 'directory') return
      directory.durableNames.set(name, next)
      directory = next
    }
  }

  #createFile(path: string): FileNode {
    const [parent, name] = this.#parent(path, 'open')
    if (parent.names.has(name)) throw systemError('EEXIST', 'open', path)
    return this.#add(parent, name, this.#newFile())
  }

  #newFile(): FileNode {
    return new FileNode(++this.#nodeCount)
  }

  #newDirectory(): DirectoryNode {
    return new DirectoryNode(++this.#nodeCount)
  }

  #add<N extends MemoryNode>(directory: DirectoryNode, name: string, node: N): N {
    if (node.kind === 'file') node.nameCount++
    directory.change({ order: ++this.#order, added: name, node })
    return node
  }

  #move(from: string, to: string): void {
    const [source, removed] = this.#parent(from, 'rename')
    const [target, added] = this.#parent(to, 'rename')
    const node = this.#find(from, 'rename')
    if (isBelow(to, from)) throw systemError('EINVAL', 'rename', to)
    if (isBelow(from, to)) throw systemError('ENOTEMPTY', 'rename', to)
    const replaced = target.names.get(added)
    // POSIX: two names of one file stay as they are.
    if (replaced === node) return
    mustReplace(node, replaced, to)
    const order = ++this.#order
    if (source === target) source.change({ order, removed, added, node })
    else {
      target.change({ order, added, node })
      source.change({ order, removed })
    }
    if (replaced !== undefined) this.#unnamed(replaced)
  }

  #remove(path: string): void {
    const node = this.#find(path, 'unlink')
    if (node.kind === 'directory' && node.names.size > 0) throw systemError('ENOTEMPTY', 'rmdir', path)
    const [parent, name] = this.#parent(path, 'unlink')
    parent.change({ order: ++this.#order, removed: name })
    this.#unnamed(node)
  }

  /** @param last names that changed later stay pending. */
  #settle(path: string, fault: Fault | undefined, last: number): void {
    const directory = this.#directory(path, 'open')
    if (fault !== undefined && 'lies' in fault.effect) return
    this.#carryOut(fault, 'fsync', path, () => directory.settle(last))
  }

  #unnamed(node: MemoryNode): void {
    if (node.kind === 'directory') return
    node.nameCount--
    this.#disk.released(node)
  }

  #find(path: string, syscall: string): MemoryNode {
    let node: MemoryNode = this.#root
    for (const name of namesOf(path)) {
      if (node.kind !== 'directory') throw systemError('ENOTDIR', syscall, path)
      const next = node.names.get(name)
      if (next === undefined) throw systemError('ENOENT', syscall, path)
      node = next
    }
    return node
  }

  #lookUp(path: string): MemoryNode | undefined {
    let node: MemoryNode | undefined = this.#root
    for (const name of namesOf(path)) {
      if (node?.kind !== 'directory') return undefined
      node = node.names.get(name)
    }
    return node
  }

  #directory(path: string, syscall: string): DirectoryNode {
    const node = this.#find(path, syscall)
    if (node.kind === 'file') throw systemError('ENOTDIR', syscall, path)
    return node
  }

  #parent(path: string, syscall: string): [DirectoryNode, string] {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) throw systemError('EBUSY', syscall, path)
    return [this.#directory(`/${names.join('/')}`, syscall), name]
  }
}

function replaceContent(node: FileNode, bytes: Uint8Array): void {
  const fresh = new FileNode(0)
  fresh.live.write(bytes, 0)
  node.live = fresh.live
  node.durable = fresh.live.fork()
  node.writes = []
  node.modifiedMs = Date.now()
}
