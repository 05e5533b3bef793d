import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { CRASH_POLICIES } from '../../src/env/crash-states.js'
import type { MemoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { STORE, TINY } from './helpers.js'
import { ManualClock } from './manual-clock.js'

const KEYS = 12
const STEPS = 140
const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

interface Known {
  readonly value: string
  readonly expiresAt: number | undefined
}

/**
 * A store whose clock, writes and crashes come from a seed. The log is the judge: whatever it holds that the test did
 * not write must be the del of an entry that had expired by then, and the store is what the log folds to.
 */
class History {
  readonly #clock = new ManualClock()
  readonly #random: SeededRandom
  /** Positions of the dels that the test wrote itself. */
  readonly #own = new Set<number>()
  #env: MemoryEnv
  #db!: Database

  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
    this.#env = this.#clock.env()
  }

  async run(): Promise<void> {
    await this.#open()
    for (let step = 0; step < STEPS; step++) {
      await this.#step()
      if (step % 35 === 34) await this.#check()
    }
    await this.#settle()
    await this.#check()
    await this.#db.close()
  }

  async #open(): Promise<void> {
    const options = { ...TINY, durability: 'os', log: { maxBytes: 2 ** 30 }, env: this.#env }
    this.#db = await open(STORE, options as unknown as OpenOptions)
  }

  #below(end: number): number {
    return this.#random.uint32() % end
  }

  async #step(): Promise<void> {
    const key = `k${this.#below(KEYS)}`
    const ttlMs = 1 + this.#below(5000)
    const draw = this.#below(100)
    if (draw < 30) void this.#db.put(key, `${draw}`.repeat(9), { ttlMs })
    else if (draw < 42) await this.#db.put(key, `${draw}`)
    else if (draw < 50) this.#own.add(await this.#db.del(key))
    else if (draw < 54) await this.#db.clear({ gte: key, lt: 'k5' })
    else if (draw < 60) {
      await this.#db.batch([
        { type: 'put', key, value: 'batch', ttlMs },
        { type: 'put', key: `k${this.#below(KEYS)}`, value: 'batch' },
      ])
    } else if (draw < 66) await this.#db.update(key, (old) => `${old ?? ''}+`.slice(-20))
    else if (draw < 70) await this.#db.flush()
    else if (draw < 90) await this.#clock.pass(this.#below(3000))
    else if (draw < 92) this.#clock.nowMs -= this.#below(2000)
    else if (draw < 94) await this.#reopen()
    else if (draw < 97) await this.#crash()
    else await this.#settle()
  }

  async #reopen(): Promise<void> {
    await this.#db.close()
    await this.#open()
  }

  async #crash(): Promise<void> {
    const policy = CRASH_POLICIES[this.#below(CRASH_POLICIES.length)]!
    const fs = this.#below(2) === 0 ? this.#env.fs.clone() : this.#env.fs.crash(policy, this.#below(1000))
    await this.#db.close()
    this.#env = this.#clock.env(fs)
    await this.#open()
    for (const position of this.#own) if (position > this.#db.position) this.#own.delete(position)
  }

  /** Lets everything that is due go. */
  async #settle(): Promise<void> {
    await this.#clock.pass(20_000)
    const due = async () => {
      // A sweep that was still running when that time was over waits by this clock for the rest.
      await this.#clock.pass(500)
      return (await this.#entries()).filter(([, { expiresAt }]) => expiresAt !== undefined)
    }
    await expect.poll(due, { timeout: 5000, interval: 1 }).toEqual([])
  }

  async #entries(): Promise<[string, Known][]> {
    const found: [string, Known][] = []
    for (const key of await this.#db.keys().all()) {
      const entry = await this.#db.getEntry(key)
      if (entry) found.push([key, { value: entry.value, expiresAt: entry.expiresAt }])
    }
    return found
  }

  async #check(): Promise<void> {
    await this.#db.sync()
    const known = new Map<string, Known>()
    const upTo = this.#db.position
    for await (const { position, timestamp, ops } of this.#db.changes({ after: 0 })) {
      if (position > upTo) break
      for (const op of ops) {
        if (op.type === 'put') known.set(op.key, { value: op.value, expiresAt: op.expiresAt })
        else if (op.type === 'del') {
          const expiresAt = known.get(op.key)?.expiresAt ?? Number.POSITIVE_INFINITY
          if (!this.#own.has(position))
            expect(expiresAt, `${position}: ${op.key}, at ${timestamp}`).toBeLessThanOrEqual(
              this.#clock.latestMs,
            )
          known.delete(op.key)
        } else {
          for (const key of [...known.keys()])
            if (key >= op.start.toString() && (!op.end || key < op.end.toString())) known.delete(key)
        }
      }
      // Nothing is between the log and the store.
      if (position === upTo && this.#db.position === upTo)
        expect(await this.#entries()).toEqual([...known].sort(([a], [b]) => (a < b ? -1 : 1)))
    }
  }
}

describe('histories of entries that expire', () => {
  it.each(
    Array.from({ length: 6 }, (_, i) => SEED + i),
  )('with crashes and a clock that jumps, seed %i', async (seed) => {
    await new History(seed).run()
  })
})
