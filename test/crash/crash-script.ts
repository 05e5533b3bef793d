import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { CRASH_POLICIES, type CrashPolicy } from '../../src/env/crash-states.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { CrashState } from '../../src/env/memory-file-system.js'
import { type Database, type OpenOptions, open } from '../../src/index.js'
import { encryptionNote, encryptionOf, isEncrypted } from '../encryption/share.js'
import { expectSame } from '../same.js'
import { blobsOf } from '../store/blob-share.js'

type State = ReadonlyMap<string, string>

/** A moment of the script: what a crash could leave, and what had been promised by then. */
interface Moment {
  readonly step: string
  readonly states: readonly CrashState[]
  readonly handedOver: number
  readonly durable: number
}

/** What was checked: states, each against what had been promised, and how many of them differ in any file. */
export interface CrashCount {
  states: number
  different: number
}

const PATH = '/stores/db'
/** What a check itself writes. */
const OWN_WRITES = 2
/** Where nothing else is said: each takes several times as long to open. */
const ENCRYPTED_STATES_MAX = 800
/** With values apart there are twice as many steps. */
const APART_STATES_MAX = 2000

/**
 * Runs a script on files in memory and keeps what a crash before each of its steps would leave. Every write goes
 * through `write` or `clear`, so that the state at every position is known.
 */
export class CrashScript {
  readonly env: MemoryEnv
  readonly #options: OpenOptions
  readonly #note: string
  readonly #statesMax: number
  readonly #policies: readonly CrashPolicy[]
  readonly #history: State[] = [new Map()]
  readonly #moments: Moment[] = []
  /** The position that was found in each state that was opened. */
  readonly #positions = new Map<string, number>()
  #checked = 0
  #handedOver = 0
  #durable = 0
  db!: Database

  constructor(options: OpenOptions, seed: number, policies: readonly CrashPolicy[] = CRASH_POLICIES) {
    this.#policies = policies
    this.env = memoryEnv({ seed })
    this.#options = { ...options, ...blobsOf(seed), ...encryptionOf(seed), workers: 0 }
    this.#note = encryptionNote(seed)
    const isApart = this.#options.blobMinBytes !== undefined
    const plainMax = isApart ? APART_STATES_MAX : Number.POSITIVE_INFINITY
    this.#statesMax = isEncrypted(seed) ? ENCRYPTED_STATES_MAX : plainMax
    this.env.fs.onStep = ({ index, op, path }) => {
      const states = [...this.env.fs.crashStates(policies)]
      const step = `${index} ${op} ${path}`
      this.#moments.push({ step, states, handedOver: this.#handedOver, durable: this.#durable })
    }
  }

  async open(): Promise<void> {
    this.db = await openOn(this.env, this.#options)
  }

  async reopen(): Promise<void> {
    await this.db.close()
    this.#promise(this.db.position, true)
    await this.open()
  }

  /** Sets and deletes (undefined) keys as one batch. */
  async write(changes: Record<string, string | undefined>, durability?: 'disk' | 'os'): Promise<void> {
    const next = new Map(this.#history[this.#history.length - 1])
    const ops = Object.entries(changes).map(([key, value]) => {
      if (value === undefined) next.delete(key)
      else next.set(key, value)
      return value === undefined ? ({ type: 'del', key } as const) : ({ type: 'put', key, value } as const)
    })
    this.#history.push(next)
    const position = await this.db.batch(ops, durability ? { durability } : {})
    this.#promise(position, durability === 'disk' || this.#options.durability === 'disk')
  }

  async clear(gte: string, lt: string): Promise<void> {
    const kept = [...this.#history[this.#history.length - 1]!].filter(([key]) => key < gte || key >= lt)
    this.#history.push(new Map(kept))
    this.#promise(await this.db.clear({ gte, lt }), this.#options.durability === 'disk')
  }

  async sync(): Promise<void> {
    this.#promise(await this.db.sync(), true)
  }

  #promise(position: number, isDurable: boolean): void {
    if (this.#options.durability !== 'memory') this.#handedOver = position
    if (isDurable) this.#durable = position
  }

  /** Opens the crash states twice. */
  async checkAll(statesMax = this.#statesMax): Promise<CrashCount> {
    this.env.fs.onStep = undefined
    const total = this.#moments.reduce((sum, { states }) => sum + states.length, 0)
    // Evenly spread where there are more than wanted.
    const stride = Math.max(1, Math.floor(total / statesMax))
    for (const [i, moment] of this.#moments.entries()) {
      if (i % stride !== 0) continue
      for (const state of moment.states) await this.#check(moment, state)
    }
    return this.#count()
  }

  /** For every `every`-th moment, crashes again at every step of the recovery. */
  async checkDuringRecovery(every: number, statesMax = this.#statesMax): Promise<CrashCount> {
    this.env.fs.onStep = undefined
    const chosen = this.#moments.filter((_, i) => i % every === 0)
    // First from all over the script, then those between.
    const spread = [...chosen.entries()].sort(([a], [b]) => ((a * 37) % 101) - ((b * 37) % 101))
    for (const [, moment] of spread) {
      if (this.#checked >= statesMax) break
      const [kill] = moment.states
      const fs = kill!.fs.clone()
      const nested: CrashState[] = []
      fs.onStep = () => nested.push(...fs.crashStates(this.#policies))
      const db = await openOn(memoryEnv({ fs }), this.#options)
      await db.close()
      fs.onStep = undefined
      for (const state of nested) await this.#check(moment, state)
    }
    return this.#count()
  }

  #count(): CrashCount {
    return { states: this.#checked, different: this.#positions.size }
  }

  /** Equal files are opened once: what they hold is known then, and only what was promised is another. */
  async #check(moment: Moment, { name, fs }: CrashState): Promise<void> {
    this.#checked++
    const promised = name === 'all' ? moment.handedOver : moment.durable
    const what = `before step ${moment.step}, ${name}${this.#note}`
    const files = digestOf(fs)
    const known = this.#positions.get(files)
    if (known !== undefined) {
      expect(known, what).toBeGreaterThanOrEqual(promised)
      return
    }
    const position = await this.#checkOnce(fs, promised, what)
    const again = await this.#checkOnce(fs, position + OWN_WRITES, `${what}, opened again`, OWN_WRITES)
    expect(again, what).toBe(position + OWN_WRITES)
    this.#positions.set(files, position)
  }

  /** What is there is the state at one position, at or after what was promised, and takes a write. */
  async #checkOnce(fs: CrashState['fs'], promised: number, what: string, own = 0): Promise<number> {
    const db = await openOn(memoryEnv({ fs }), this.#options).catch((error) => {
      throw new Error(`${what}: ${error}`, { cause: error })
    })
    const { position } = db
    expect(position, what).toBeGreaterThanOrEqual(promised)
    const found = new Map(await db.entries().all())
    found.delete('after')
    expectSame(found, this.#history[position - own], `${what}, at position ${position}`)
    await db.put('after', what, { durability: 'disk' })
    await db.del('after', { durability: 'disk' })
    await db.close()
    expect(fs.openFiles(), what).toEqual([])
    return position
  }
}

/** Of every name and every byte. */
function digestOf(fs: CrashState['fs']): string {
  const hash = createHash('sha1')
  const add = (directory: string): void => {
    for (const name of fs.list(directory)) {
      const path = directory + name
      if (fs.stat(path)!.isDirectory) {
        hash.update(`${path}/\n`)
        add(`${path}/`)
      } else {
        const bytes = fs.readFile(path)
        hash.update(`${path} ${bytes.length}\n`).update(bytes)
      }
    }
  }
  add('/')
  return hash.digest('hex')
}

function openOn(env: MemoryEnv, options: OpenOptions): Promise<Database> {
  const withEnv = { ...options, workers: 0, env }
  return open(PATH, withEnv)
}
