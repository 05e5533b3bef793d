import { createHash } from 'node:crypto'
import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import type { File } from '../../src/env/env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { sleepFor } from '../../src/env/timers.js'
import type { TraceEvent } from './trace.js'

/** What the workload had been promised, and what it had begun, when the machine stopped. */
export interface Promised {
  isOpened: boolean
  position: number
  checkpoint: number | undefined
}

export interface ReplayedState {
  readonly name: string
  readonly afterEvent: number
  readonly fs: MemoryFileSystem
  readonly promised: Promised
}

export interface Start {
  readonly root: string
  /** What is there already, and durable, with what it holds at the least. */
  readonly files: ReadonlyMap<string, Buffer>
  readonly position: number
  /** How often each rule that leaves things to chance is drawn. */
  readonly draws: number
}

/** Releases of syncs that began and have not ended, in the order they began. */
class Syncs {
  readonly #begun = new Map<string, { release: () => void; done: Promise<void> }>()
  #release: (() => void) | undefined
  #isBeginning = false

  /** The stores that are opened on the states of a crash share this, and wait as others do. */
  turn(op: string): Promise<void> | undefined {
    if (this.#isBeginning) {
      return new Promise((resolve) => {
        this.#release = resolve
      })
    }
    return op === 'remove' ? undefined : sleepFor(0)
  }

  begin(id: string, file: File): void {
    this.#isBeginning = true
    const done = file.syncAsync()
    this.#isBeginning = false
    this.#begun.set(id, { release: this.#release!, done })
  }

  async end(id: string): Promise<void> {
    const begun = this.#begun.get(id)
    this.#begun.delete(id)
    begun?.release()
    await begun?.done
  }
}

/** Repeats a trace on files in memory, and shows after each event every different state a crash there may leave. */
export async function* replay(events: readonly TraceEvent[], start: Start): AsyncGenerator<ReplayedState> {
  const syncs = new Syncs()
  const time = { nowMs: () => Date.now(), sleep: sleepFor, turn: (op: string) => syncs.turn(op) }
  const fs = new MemoryFileSystem(1, time)
  makeDurable(fs, start.root, start.files)
  const files = new Map<string, File>()
  const promised: Promised = { isOpened: start.position > 0, position: start.position, checkpoint: undefined }
  const seen = new Set<string>()
  for (const [afterEvent, event] of events.entries()) {
    if (event.kind === 'say') note(promised, event.line)
    else if (event.kind === 'syncEnd' && !fs.stat(event.path)?.isDirectory) await syncs.end(event.id)
    else apply(fs, files, syncs, event)
    for (const { name, fs: state } of statesOf(fs, start.draws)) {
      const key = `${hashOf(state, start.root)} ${JSON.stringify(promised)}`
      if (seen.has(key)) continue
      seen.add(key)
      yield { name, afterEvent, fs: state, promised: { ...promised } }
    }
  }
}

function* statesOf(fs: MemoryFileSystem, draws: number): Generator<{ name: string; fs: MemoryFileSystem }> {
  yield* fs.crashStates(ALL_CRASH_POLICIES)
  for (let draw = 1; draw < draws; draw++) {
    for (const policy of ['prefix', 'blocks', 'sectors', 'names-subset', 'journaled'] as const) {
      yield { name: `${policy} ${draw}`, fs: fs.crash(policy, draw) }
    }
  }
}

function makeDurable(fs: MemoryFileSystem, root: string, files: ReadonlyMap<string, Buffer>): void {
  fs.makeDirectory(root)
  for (const [path, bytes] of files) {
    const directory = path.slice(0, path.lastIndexOf('/'))
    if (!fs.stat(directory)) fs.makeDirectory(directory)
    fs.writeFile(path, bytes)
  }
  // The root was there before everything: its own name, and those above it, are durable.
  for (let path = root; path !== ''; path = path.slice(0, path.lastIndexOf('/'))) {
    fs.syncDirectory(path)
    fs.syncDirectory(path.slice(0, path.lastIndexOf('/')) || '/')
  }
}

function note(promised: Promised, line: string): void {
  const [kind, number] = line.split(' ')
  if (kind === 'O') promised.isOpened = true
  else if (kind === 'A') promised.position = Number(number)
  else if (kind === 'C') promised.checkpoint = Number(number)
}

function apply(fs: MemoryFileSystem, files: Map<string, File>, syncs: Syncs, event: TraceEvent): void {
  switch (event.kind) {
    case 'create':
      files.set(event.path, fs.open(event.path, 'create'))
      return
    case 'makeDirectory':
      if (!fs.stat(event.path)) fs.makeDirectory(event.path)
      return
    case 'write':
      files.get(event.path)!.write(event.bytes, event.offset)
      return
    case 'sync':
    case 'syncEnd':
      if (fs.stat(event.path)?.isDirectory) fs.syncDirectory(event.path)
      else files.get(event.path)!.sync()
      return
    case 'syncBegin':
      // A directory's sync is taken for done at its end: see `syncEnd`.
      if (!fs.stat(event.path)?.isDirectory) syncs.begin(event.id, files.get(event.path)!)
      return
    case 'rename':
      fs.rename(event.path, event.to)
      return
    case 'link':
      fs.link(event.path, event.to)
      return
    case 'remove':
      fs.remove(event.path)
      files.delete(event.path)
      return
    default:
      throw new Error(`nothing to apply: ${event.kind}`)
  }
}

/** Of every name and byte below a directory. */
function hashOf(fs: MemoryFileSystem, directory: string): string {
  const hash = createHash('sha1')
  const visit = (path: string) => {
    for (const name of fs.list(path)) {
      const child = `${path}/${name}`
      hash.update(`${child}\n`)
      if (fs.stat(child)!.isDirectory) visit(child)
      else hash.update(fs.readFile(child)).update('\n')
    }
  }
  if (fs.stat(directory)) visit(directory)
  return hash.digest('hex')
}
