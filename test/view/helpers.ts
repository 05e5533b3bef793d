import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { Change, OpenOptions, ViewDefinition } from '../../src/index.js'
import { applyTo, openMemory, TINY } from '../store/helpers.js'

export type Db = Awaited<ReturnType<typeof openMemory>>['db']
export type Plain = ViewDefinition<string, string>

export const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
/** Everything stays in the log. */
export const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30, maxAgeMs: 10 ** 12 } }

/** A copy of the store, and how many changes touched each key's first letter. */
export const copy = (version: number | string, extra: Partial<Plain> = {}): Plain => ({
  version,
  apply(change, state) {
    for (const op of change.ops) {
      if (op.type === 'put') state.put(`k/${op.key}`, op.value)
      else if (op.type === 'del') state.del(`k/${op.key}`)
      else {
        const end = op.end && `k/${op.end.toString('latin1')}`
        state.clear(
          end === undefined ? { gte: `k/${op.start}`, lt: 'k0' } : { gte: `k/${op.start}`, lt: end },
        )
      }
    }
    state.put('version', String(version))
  },
  ...extra,
})

/** What `copy` makes of some changes. */
export function foldCopy(
  changes: readonly Change<string, string>[],
  version: number | string,
): Record<string, string> {
  const state = fold(changes)
  const found = Object.fromEntries([...state].map(([key, value]) => [`k/${key}`, value]))
  return changes.length === 0 ? {} : { ...found, version: String(version) }
}

/** What is left after applying changes in order. */
export function fold(changes: readonly Change<string, string>[]): Map<string, string> {
  const state = new Map<string, string>()
  for (const change of changes) applyTo(state, change)
  return new Map([...state].sort())
}

export async function changesOf(db: Db): Promise<Change<string, string>[]> {
  const changes: Change<string, string>[] = []
  for await (const change of db.changes()) changes.push(change)
  return changes
}

export async function openKept(options: OpenOptions = KEPT, env: MemoryEnv = memoryEnv({ seed: SEED })) {
  return openMemory(options, env)
}

/** Directories of views, half removed ones too. */
export function viewDirectories(env: MemoryEnv, store = '/store'): string[] {
  return env.fs.list(store).filter((name) => name.includes('.view'))
}
