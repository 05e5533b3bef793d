import { expect } from 'vitest'
import { restoreBackup } from '../../src/backup.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { open } from '../../src/index.js'
import { blobsOf } from '../store/blob-share.js'
import { dump, pad, STORE, TINY } from '../store/helpers.js'

export const BACKUPS = '/backups'
/** The log between two backups stays. */
export const KEEP = { log: { maxBytes: 1 << 20 } }

type State = ReadonlyMap<string, string>

interface Moment {
  readonly position: number
  readonly state: State
}

/** A store, and what it held at each of its positions. */
export class Recorded {
  readonly db: Database
  readonly env: MemoryEnv
  readonly #random: SeededRandom
  readonly #states: Moment[]

  private constructor(db: Database, env: MemoryEnv, seed: number, states: Moment[]) {
    this.db = db
    this.env = env
    this.#random = new SeededRandom(seed)
    this.#states = states
  }

  static async open(seed: number, options: OpenOptions = {}, env = memoryEnv({ seed })): Promise<Recorded> {
    const db = await open(STORE, { ...TINY, ...blobsOf(seed), ...options, env } as OpenOptions)
    return new Recorded(db, env, seed, [{ position: 0, state: new Map() }])
  }

  async reopen(options: OpenOptions = {}): Promise<Recorded> {
    await this.db.close()
    const db = await open(STORE, { ...TINY, ...options, env: this.env } as OpenOptions)
    return new Recorded(db, this.env, this.#random.uint32(), this.#states)
  }

  /** So many batches of puts, deletions and range deletions. */
  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const state = new Map(this.#states.at(-1)!.state)
      const position = await this.#writeOne(state)
      this.#states.push({ position, state })
    }
  }

  stateAt(position: number): Record<string, string> {
    const { state } = this.#states.findLast((entry) => entry.position <= position)!
    return Object.fromEntries([...state].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  #writeOne(state: Map<string, string>): Promise<number> {
    const first = this.#random.below(40)
    const kind = this.#random.below(20)
    if (kind === 0) {
      const range = { gte: `k${pad(first)}`, lt: `k${pad(first + 5)}` }
      for (const key of state.keys()) if (key >= range.gte && key < range.lt) state.delete(key)
      return this.db.clear(range)
    }
    if (kind < 4) {
      state.delete(`k${pad(first)}`)
      return this.db.del(`k${pad(first)}`)
    }
    const ops = Array.from({ length: 1 + this.#random.below(3) }, (_, i) => ({
      type: 'put' as const,
      key: `k${pad(first + i)}`,
      value: `${this.#random.uint32()}`.repeat(1 + this.#random.below(12)),
    }))
    for (const { key, value } of ops) state.set(key, value)
    return this.db.batch(ops)
  }
}

let targets = 0

/** What a restored store holds, read and verified. */
export async function restored(
  env: MemoryEnv,
  options: Parameters<typeof restoreBackup>[2] = {},
): Promise<{ position: number; state: Record<string, string> }> {
  const path = `/restored-${targets++}`
  const { position } = await restoreBackup(BACKUPS, path, { ...options, env })
  const { encryption } = options
  const db = await open(path, { ...TINY, ...(encryption && { encryption }), env } as OpenOptions)
  try {
    await db.verify()
    expect(db.position).toBe(position)
    return { position, state: await dump(db) }
  } finally {
    await db.close()
    expect(env.fs.stat(`${path}.partial`) ?? env.fs.stat(`${path}.log.partial`)).toBeUndefined()
  }
}

/** Paths of all files in a directory of backups. */
export function filesOf(env: MemoryEnv): string[] {
  return env.fs.list(BACKUPS).flatMap((name) => {
    const path = `${BACKUPS}/${name}`
    return env.fs.stat(path)!.isDirectory ? env.fs.list(path).map((inner) => `${path}/${inner}`) : [path]
  })
}
