import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import type { CrashPolicy } from '../../src/env/crash-states.js'
import type { Env, File } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { TINY } from '../store/helpers.js'
import { BTree, checkTree, inPlace, type Page, readPages, type WritePages } from './b-tree.js'

const PATH = '/tree'
const LOG = '/log'
const KEYS = Array.from({ length: 24 }, (_, i) => `k${String((i * 11) % 24).padStart(2, '0')}`)

type Wal = Database<number, Page>
const WAL_OPTIONS = {
  ...TINY,
  keyEncoding: 'json',
  valueEncoding: 'json',
  durability: 'disk',
  log: { maxBytes: 2 ** 30 },
} as const

/** What may be on disk if the machine stops now, and what had been acknowledged by then. */
interface CrashState {
  readonly fs: MemoryFileSystem
  readonly acknowledged: readonly string[]
  readonly begun: string | undefined
}

/** Inserts keys and takes every state that a crash can leave, before and after each write and sync of any file. */
async function crashStates(
  keys: readonly string[],
  policies: readonly (CrashPolicy | 'all')[],
  makeWriter: (env: Env, file: File) => Promise<WritePages>,
): Promise<CrashState[]> {
  const inner = memoryEnv()
  const states: CrashState[] = []
  const acknowledged: string[] = []
  let begun: string | undefined
  const take = () => {
    if (begun === undefined) return
    for (const policy of policies) {
      const fs = policy === 'all' ? inner.fs.clone() : inner.fs.crash(policy)
      states.push({ fs, acknowledged: [...acknowledged], begun })
    }
  }
  const env = observed(inner, take)
  const file = env.fs.open(PATH, 'create')
  env.fs.syncDirectory('/')
  const tree = new BTree(new Map(), await makeWriter(env, file))
  for (const key of keys) {
    begun = key
    await tree.insert(key)
    take()
    acknowledged.push(key)
  }
  return states
}

function observed(inner: MemoryEnv, take: () => void): Env {
  const wrap = (file: File): File => ({
    path: file.path,
    write: (bytes, offset) => {
      take()
      const taken = file.write(bytes, offset)
      take()
      return taken
    },
    read: (into, offset) => file.read(into, offset),
    readAsync: (into, offset) => file.readAsync(into, offset),
    sync: () => {
      file.sync()
      take()
    },
    syncAsync: async () => {
      await file.syncAsync()
      take()
    },
    sizeBytes: () => file.sizeBytes(),
    close: () => file.close(),
  })
  const fs = new Proxy(inner.fs, {
    get(target, name) {
      if (name === 'open') return (path: string, mode: 'read' | 'create') => wrap(target.open(path, mode))
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { ...inner, fs }
}

/** What is wrong with what a crash left, once it was recovered; undefined if nothing is. */
function faultOf(pages: ReadonlyMap<number, Page | undefined>, state: CrashState): string | undefined {
  const keys: string[] = []
  const fault = checkTree(pages, keys)
  if (fault) return fault
  const missing = state.acknowledged.find((key) => !keys.includes(key))
  if (missing) return `${missing} is lost`
  const expected = state.acknowledged.length
  const isOld = keys.length === expected
  const isNew = keys.length === expected + 1 && keys.includes(state.begun!)
  return isOld || isNew ? undefined : `${keys.length} keys instead of ${expected}, or one more`
}

/** Pages are in the log, durable, before any of them is written in place. */
function logged(log: Wal, file: File): WritePages {
  const write = inPlace(file)
  return async (pages) => {
    await log.batch([...pages].map(([key, value]) => ({ type: 'put', key, value })))
    await write(pages)
  }
}

async function recoverFromLog(state: CrashState): Promise<Map<number, Page | undefined>> {
  const pages = readPages(state.fs, PATH)
  const log = (await open(LOG, { ...WAL_OPTIONS, env: memoryEnv({ fs: state.fs }) } as OpenOptions<
    number,
    Page
  >)) as Wal
  try {
    for await (const { ops } of log.changes({ after: 0 })) {
      for (const op of ops) if (op.type === 'put') pages.set(op.key, op.value)
    }
    return pages
  } finally {
    await log.close()
  }
}

describe('a tree that is written in place', () => {
  it('D4: is corrupted by a crash between the pages of a split, without a log', async () => {
    const policies = ['strict', 'prefix', 'data-kept-names-lost', 'all'] as const
    const states = await crashStates(KEYS, policies, async (_env, file) => inPlace(file))
    const faults = new Set(
      states.map((state) => faultOf(readPages(state.fs, PATH), state)?.replace(/\d+/g, 'n')).filter(Boolean),
    )
    expect(states.length).toBeGreaterThan(400)
    expect([...faults]).toContain('a dangling pointer to page n')
    expect(faults.size).toBeGreaterThan(1)
  })

  it('D5: recovers from a crash at any of its steps as the old tree or the new one, with this log', async () => {
    let log: Wal | undefined
    const states = await crashStates(KEYS.slice(0, 13), ['strict', 'prefix', 'all'], async (env, file) => {
      log = (await open(LOG, { ...WAL_OPTIONS, env } as OpenOptions<number, Page>)) as Wal
      return logged(log, file)
    })
    let torn = 0
    for (const state of states) {
      if (faultOf(readPages(state.fs, PATH), state)) torn++
      expect(faultOf(await recoverFromLog(state), state)).toBeUndefined()
    }
    // The log had something to do.
    expect(torn).toBeGreaterThan(10)
    await log!.close()
  })
})
