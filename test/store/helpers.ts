import { open } from '../../src/database.js'
import type { Env, File } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { VarveError } from '../../src/errors.js'
import type { Change, OpenOptions } from '../../src/index.js'

export const STORE = '/store'

/** Small enough that a few hundred bytes make flushes and merges. */
export const TINY: OpenOptions = {
  memory: 1 << 20,
  memtableBytes: 2048,
  segmentBytes: 4096,
  blockBytes: 256,
  l0SegmentsMax: 2,
  levelRatio: 4,
  workers: 0,
}

/** The code that it fails with; undefined when it does not fail. What is no VarveError is thrown on. */
export async function codeOf(action: () => unknown): Promise<string | undefined> {
  return (await failureOf(action))?.code
}

export async function failureOf(action: () => unknown): Promise<VarveError | undefined> {
  try {
    await action()
    return undefined
  } catch (error) {
    if (error instanceof VarveError) return error
    throw error
  }
}

/** Every file of a directory, by name, as hexadecimal. */
export function contents(fs: MemoryFileSystem, directory = STORE): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of fs.list(directory)) {
    const path = `${directory}/${name}`
    found[name] = fs.stat(path)!.isDirectory ? 'directory' : Buffer.from(fs.readFile(path)).toString('hex')
  }
  return found
}

export interface OpenedStore {
  readonly db: Awaited<ReturnType<typeof open<string, string>>>
  readonly env: MemoryEnv
}

export async function openMemory(
  options: OpenOptions = {},
  env: MemoryEnv = memoryEnv(),
): Promise<OpenedStore> {
  return { env, db: await open(STORE, { ...options, env } as OpenOptions) }
}

/** What one change leaves of a state. */
export function applyTo(state: Map<string, string>, { ops }: Change<string, string>): void {
  for (const op of ops) {
    if (op.type === 'put') state.set(op.key, op.value)
    else if (op.type === 'del') state.delete(op.key)
    else {
      for (const key of [...state.keys()]) {
        const bytes = Buffer.from(key)
        if (bytes.compare(op.start) >= 0 && (!op.end || bytes.compare(op.end) < 0)) state.delete(key)
      }
    }
  }
}

/** Everything that a store holds, by a second and a third way of reading it. */
export async function dump(db: OpenedStore['db']): Promise<Record<string, string>> {
  const found = Object.fromEntries(await db.entries().all())
  const backwards = Object.fromEntries(await db.entries({ reverse: true }).all())
  const keys = Object.keys(found)
  const values = await db.getMany(keys)
  const isSame =
    keys.every((key, i) => values[i] === found[key] && backwards[key] === found[key]) &&
    Object.keys(backwards).length === keys.length
  if (!isSame) throw new Error('two ways of reading the store do not agree')
  return found
}

/** What a store recovers from `fs`. */
export async function recovered(
  fs: MemoryFileSystem,
  options: OpenOptions = TINY,
): Promise<Record<string, string>> {
  const { db } = await openMemory(options, memoryEnv({ fs }))
  try {
    return await dump(db)
  } finally {
    await db.close()
  }
}

/** How often each operation was called on the files of a directory, and a gate before each `syncAsync`. */
export interface Watched {
  readonly env: Env
  readonly calls: string[]
  beforeSync: () => Promise<void>
}

export function watched(inner: MemoryEnv): Watched {
  const calls: string[] = []
  const watch: Watched = { env: inner, calls, beforeSync: async () => {} }
  const wrap = (file: File): File => ({
    path: file.path,
    write: (bytes, offset) => {
      calls.push(`write ${nameOf(file.path)}`)
      return file.write(bytes, offset)
    },
    read: (into, offset) => file.read(into, offset),
    readAsync: (into, offset) => file.readAsync(into, offset),
    sync: () => {
      calls.push(`sync ${nameOf(file.path)}`)
      file.sync()
    },
    syncAsync: async () => {
      calls.push(`sync ${nameOf(file.path)}`)
      await watch.beforeSync()
      await file.syncAsync()
    },
    sizeBytes: () => file.sizeBytes(),
    close: () => file.close(),
  })
  const fs = new Proxy(inner.fs, {
    get(target, name) {
      if (name === 'open') return (path: string, mode: 'read' | 'create') => wrap(target.open(path, mode))
      const value = Reflect.get(target, name, target) as unknown
      if (name === 'syncDirectory') {
        return (path: string) => {
          calls.push('syncDirectory')
          target.syncDirectory(path)
        }
      }
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return Object.assign(watch, { env: { ...inner, fs } })
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Until it is true, or a second has passed. */
export async function until(condition: () => boolean, waitMs = 1000): Promise<void> {
  const endMs = performance.now() + waitMs
  while (!condition() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 2))
}

export function pad(number: number): string {
  return String(number).padStart(5, '0')
}
