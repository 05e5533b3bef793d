import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { type Database, type OpenOptions, open, VarveError, type View } from '../../src/index.js'
import { encryptionNote, encryptionOf } from '../encryption/share.js'
import { blobsOf } from '../store/blob-share.js'
import { SimQueue } from './sim-queue.js'
import { SimWorld } from './sim-world.js'

type Db = Database<string, string>
type Durability = NonNullable<OpenOptions['durability']>

const PATH = '/stores/db'
const TURNS_MAX = 60_000
const KEYS = 6
const DATA = 'd/'
const COUNT = 'n/'

/** A mistake that is put in on purpose. */
export type ReadersPlant = 'change-left-out' | 'counts-twice'

export interface ReadersResult {
  readonly turns: number
  readonly crashes: number
  readonly faults: number
  readonly checks: number
  readonly changes: number
}

/**
 * One history of writers, a consumer that counts each key's puts in the store itself, and a view that counts them
 * too, through crashes and failing disks. Whatever happens: the log holds each write that was promised, once; both
 * counts are those of the log, up to one position.
 */
export class LogReaders {
  readonly #seed: number
  readonly #random: SeededRandom
  readonly #queue: SimQueue
  readonly #world: SimWorld
  readonly #options: OpenOptions
  readonly #plant: ReadersPlant | undefined
  #db!: Db
  #view!: View
  #abort = new AbortController()
  #writes = 0
  /** Not acknowledged yet: the log shows none of them to its readers. */
  readonly #inFlight = new Set<object>()
  /** Values that were acknowledged: what a kill, and what a power loss must leave. */
  readonly #kept = new Set<string>()
  readonly #durable = new Set<string>()
  #life = 0
  #crashes = 0
  #faults = 0
  #checks = 0
  #changes = 0

  constructor(seed: number, plant?: ReadersPlant) {
    this.#seed = seed
    this.#plant = plant
    this.#random = new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ 0x7e57)
    this.#queue = new SimQueue(seed, this.#pick([0.001, 0.01, 0.5]))
    this.#world = new SimWorld(this.#queue, seed)
    this.#options = {
      durability: this.#pick<Durability>(['os', 'disk', { intervalMs: 5 }]),
      memtableBytes: this.#pick([1024, 2048, 8000]),
      segmentBytes: this.#pick([400, 3000]),
      l0SegmentsMax: this.#pick([1, 3]),
      memory: 2 ** 20,
      workers: this.#pick([0, 1]),
      log: { maxBytes: 2 ** 30 },
      ...blobsOf(seed),
      ...encryptionOf(seed),
    }
  }

  async run(steps: number): Promise<ReadersResult> {
    await this.#open()
    for (let i = 0; i < steps; i++) {
      await this.#step()
      await this.#turns(this.#random.below(4))
    }
    this.#repair()
    await this.#reopen()
    await this.#check()
    await this.#await('close', this.#close())
    const { turns } = this.#queue
    return {
      turns,
      crashes: this.#crashes,
      faults: this.#faults,
      checks: this.#checks,
      changes: this.#changes,
    }
  }

  async #step(): Promise<void> {
    const draw = this.#random.below(100)
    if (draw < 72) return this.#write()
    if (draw < 78) return void this.#db.flush().catch(accept)
    if (draw < 82) return this.#turns(30)
    if (draw < 86) return this.#crash()
    if (draw < 90) return this.#inject()
    if (draw < 94) return this.#check()
    if (draw < 96) return void this.#world.killWorker()
    await this.#turns(10)
    return this.#reopen()
  }

  #write(): void {
    const life = this.#life
    const db = this.#db
    const isBatch = this.#random.below(4) === 0
    const values = Array.from({ length: isBatch ? 1 + this.#random.below(3) : 1 }, () => `${++this.#writes}`)
    const puts = values.map((value) => ({
      type: 'put' as const,
      key: `${DATA}${this.#random.below(KEYS)}`,
      value: value.padEnd(this.#pick([8, 60, 300]), '.'),
    }))
    const durability = this.#pick<Durability>(['os', 'disk', 'os'])
    this.#inFlight.add(puts)
    const writing = db.batch(puts, { durability })
    void writing.catch(() => {}).then(() => this.#inFlight.delete(puts))
    writing.then(() => {
      if (life !== this.#life) return
      for (const { value } of puts) {
        this.#kept.add(value)
        if (durability === 'disk') this.#durable.add(value)
      }
    }, accept)
  }

  /** The process dies, or the power goes. */
  async #crash(): Promise<void> {
    const policy = this.#pick([...ALL_CRASH_POLICIES, 'killed', 'killed', 'killed'] as const)
    const { fs } = this.#world
    const left = policy === 'killed' ? fs.clone() : fs.crash(policy, this.#random.below(1000))
    this.#life++
    this.#abort.abort()
    this.#world.crash(left)
    this.#crashes++
    const promised = policy === 'killed' ? this.#kept : this.#durable
    const needed = [...promised]
    this.#repair()
    await this.#open()
    await this.#checkLog(needed)
  }

  #inject(): void {
    const op = this.#pick(['write', 'sync', 'syncDirectory', 'create', 'read'] as const)
    const path = this.#pick([/\.log$/, /\.seg$/, /MANIFEST/, /\.view\//])
    const errno = this.#pick(['EIO', 'ENOSPC'])
    const counter = this.#world.fs.inject({ op, path, nth: 1 + this.#random.below(3), effect: { errno } })
    this.#faults++
    void counter
  }

  async #reopen(): Promise<void> {
    this.#repair()
    const needed = [...this.#kept]
    await this.#await('close', this.#close().catch(accept))
    this.#life++
    await this.#open()
    await this.#checkLog(needed)
  }

  async #close(): Promise<void> {
    this.#abort.abort()
    await this.#db.close()
  }

  #repair(): void {
    this.#world.fs.clearFaults()
  }

  async #open(): Promise<void> {
    this.#abort = new AbortController()
    this.#inFlight.clear()
    const options = { ...this.#options, env: this.#world.env() } as OpenOptions
    const db = (await this.#await('open', open(PATH, options))) as Db
    this.#db = db
    const consumer = await this.#await('consumer', db.consumer('counter', { from: 'start' }))
    const { signal } = this.#abort
    const plant = this.#plant
    consumer
      .run(
        async (change, tx) => {
          for (const op of change.ops) {
            if (op.type !== 'put' || !op.key.startsWith(DATA)) continue
            const key = COUNT + op.key.slice(DATA.length)
            const count = Number((await tx.get(key)) ?? 0) + 1
            if (plant !== 'change-left-out' || change.position % 40 > 0) tx.put(key, `${count}`)
          }
        },
        { live: true, signal },
      )
      .catch(accept)
    this.#view = await this.#await('view', this.#openView(db))
    this.#view.ready.catch(accept)
  }

  #openView(db: Db): Promise<View> {
    const step = this.#plant === 'counts-twice' ? 2 : 1
    return db.view('counts', {
      version: 1,
      memory: 2 ** 20,
      async apply(change, state) {
        for (const op of change.ops) {
          if (op.type !== 'put' || !op.key.startsWith(DATA)) continue
          const key = op.key.slice(DATA.length)
          state.put(key, `${Number((await state.get(key)) ?? 0) + step}`)
        }
      },
    })
  }

  /** On a sound disk, and with everything in flight at its end, all of them have come to the same. */
  async #check(): Promise<void> {
    this.#repair()
    if (this.#db.stats().health !== undefined) return this.#reopen()
    const db = this.#db
    const snapshot = await this.#atRest(db)
    if (!snapshot) return this.#reopen()
    const { position } = snapshot
    try {
      const counts = await this.#await('reading', db.entries({ prefix: COUNT, snapshot }).all())
      const found = new Map(counts.map(([key, value]) => [key.slice(COUNT.length), value]))
      const viewed = new Map(await this.#await('the view', this.#view.entries({ atLeast: position }).all()))
      const { counted } = await this.#history(position)
      this.#expectSame('the consumer', found, counted)
      if (this.#view.position === position) this.#expectSame('the view', viewed, counted)
    } finally {
      snapshot.close()
    }
    this.#checks++
  }

  /** Once both have come to the end of the log, what there is then; undefined where a fault has stopped one of them. */
  async #atRest(db: Db): Promise<ReturnType<Db['snapshot']> | undefined> {
    for (let i = 0; i < 1500; i++) {
      const counter = db.stats().consumers.find(({ name }) => name === 'counter')
      if (db.stats().health !== undefined || this.#view.status === 'failed') return undefined
      if (counter?.lag === 0 && this.#view.lag === 0 && this.#inFlight.size === 0) {
        const { position } = db
        // What a consumer has handed over counts as dealt with a moment before it is committed.
        const isSynced = await this.#await('sync', db.sync()).then(
          () => true,
          () => false,
        )
        if (!isSynced) return undefined
        const snapshot = db.snapshot()
        if (snapshot.position === position) return snapshot
        snapshot.close()
      }
      await this.#turns(1)
    }
    return undefined
  }

  async #checkLog(needed: readonly string[]): Promise<void> {
    const { values } = await this.#history(this.#db.position)
    const missing = needed.find((value) => !values.has(value))
    this.#expect(missing === undefined, `write ${missing?.slice(0, 8)} was promised and is gone`)
    // What is there now was on disk, or is again.
    for (const set of [this.#kept, this.#durable]) {
      set.clear()
      for (const value of values) set.add(value)
    }
  }

  /** What the log says, from its start. */
  async #history(upTo: number): Promise<{ counted: Map<string, string>; values: Set<string> }> {
    const counted = new Map<string, number>()
    const values = new Set<string>()
    const read = async () => {
      let last = 0
      for await (const { position, ops } of this.#db.changes({ after: 0 })) {
        this.#expect(position === last + 1, `the log shows ${position} after ${last}`)
        last = position
        if (position > upTo) return
        this.#changes++
        for (const op of ops) {
          if (op.type !== 'put' || !op.key.startsWith(DATA)) continue
          this.#expect(!values.has(op.value), `${op.value} is in the log twice`)
          values.add(op.value)
          const key = op.key.slice(DATA.length)
          counted.set(key, (counted.get(key) ?? 0) + 1)
        }
      }
    }
    await this.#await('the log', read())
    return { counted: new Map([...counted].map(([key, count]) => [key, `${count}`])), values }
  }

  #expectSame(who: string, found: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>): void {
    const show = (map: ReadonlyMap<string, string>) => JSON.stringify([...map].sort())
    this.#expect(show(found) === show(wanted), `${who} has ${show(found)}, the log ${show(wanted)}`)
  }

  #expect(isRight: boolean, message: string): void {
    if (!isRight) throw new Error(`readers of the log, seed ${this.#seed}: ${message}`)
  }

  async #await<T>(what: string, running: Promise<T>): Promise<T> {
    let isSettled = false
    const settle = () => {
      isSettled = true
    }
    running.then(settle, settle)
    while (!isSettled) {
      const isRunning = await this.#queue.turn()
      if (!isSettled) this.#expect(isRunning && this.#queue.turns < TURNS_MAX, `${what} never ends`)
    }
    return running
  }

  async #turns(count: number): Promise<void> {
    for (let i = 0; i < count && (await this.#queue.turn()); i++);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random.below(choices.length)]!
  }
}

/** What a failing disk, or the end of the process, may lead to. */
function accept(error: unknown): void {
  if (!(error instanceof VarveError)) throw error
}

/** Runs many seeds; a line about them. */
export async function runReaders(first: number, count: number, steps: number): Promise<string> {
  const sum = { turns: 0, crashes: 0, faults: 0, checks: 0, changes: 0 }
  for (let seed = first; seed < first + count; seed++) {
    const result = await new LogReaders(seed).run(steps).catch((cause: unknown) => {
      throw new Error(`readers of the log, seed ${seed}, ${steps} steps${encryptionNote(seed)}: ${cause}`, {
        cause,
      })
    })
    for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += result[name]
  }
  const { turns, crashes, faults, checks, changes } = sum
  return (
    `readers of the log: ${count} seeds from ${first} of ${steps} steps, ${turns} turns, ${crashes} crashes, ` +
    `${faults} faults, ${checks} comparisons, ${changes} changes read, 0 bad`
  )
}
