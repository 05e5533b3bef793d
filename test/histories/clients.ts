import { ALL_CRASH_POLICIES } from '../../src/env/crash-states.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { type Database, type OpenOptions, open, VarveError } from '../../src/index.js'
import { encryptionOf } from '../encryption/share.js'
import { SimQueue } from '../sim/sim-queue.js'
import { SimWorld } from '../sim/sim-world.js'
import { blobsOf } from '../store/blob-share.js'
import type { Call } from './linearizability.js'

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f']
const ACCOUNTS = 6
const OPENING_BALANCE = 100
const TURNS_MAX = 100_000

export const TOTAL = ACCOUNTS * OPENING_BALANCE

/** Concurrent clients of one store that crashes now and then; what each of them did and saw. */
export class Clients {
  readonly calls: Call[] = []
  /** Sums over all accounts, each as one reader saw it. */
  readonly sums: number[] = []
  transfers = 0
  crashes = 0
  /** Of the gets of this life: the last position that each may have seen. */
  #reads: { readonly index: number; readonly position: number }[] = []
  readonly #random: SeededRandom
  readonly #queue: SimQueue
  readonly #world: SimWorld
  readonly #options: OpenOptions
  #db!: Database
  #life = 0
  #clock = 0
  #unique = 0
  #clients = 0
  #running = 0
  #failure: unknown

  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
    this.#queue = new SimQueue(seed, 0.05)
    this.#world = new SimWorld(this.#queue, seed)
    this.#options = {
      durability: this.#random.below(2) === 0 ? 'disk' : 'os',
      memtableBytes: 1024,
      segmentBytes: 300,
      blockBytes: 100,
      l0SegmentsMax: 2,
      workers: this.#random.below(3),
      ...blobsOf(seed),
      ...encryptionOf(seed),
    }
  }

  /** `lives` lives of the store, each with `clients` clients that make `calls` calls. */
  async run(lives: number, clients: number, calls: number): Promise<void> {
    for (this.#life = 0; this.#life < lives; this.#life++) {
      const life = this.#life
      await this.#until(this.#open().then(() => this.#fillAccounts()))
      for (let i = 0; i < clients; i++) this.#start(this.#client(life, calls))
      this.#start(this.#bank(life, calls))
      this.#start(this.#auditor(life, calls))
      const crashAfter = this.#random.below(clients * calls * 3)
      for (let i = 0; this.#running > 0 && i < crashAfter; i++) await this.#turn()
      if (this.#failure !== undefined) throw this.#failure
      if (life < lives - 1) this.#crash()
      else while (this.#running > 0) await this.#turn()
    }
    this.#life = lives - 1
    await this.#until(this.#readAll())
    await this.#until(this.#db.close())
    if (this.#failure !== undefined) throw this.#failure
  }

  // --- clients ---

  async #client(life: number, calls: number): Promise<void> {
    const client = ++this.#clients
    for (let i = 0; i < calls; i++) {
      const key = KEYS[this.#random.below(KEYS.length)]!
      const draw = this.#random.below(10)
      if (draw < 4) await this.#call(life, { client, key, kind: 'get' }, () => this.#db.get(key))
      else if (draw < 5) await this.#call(life, { client, key, kind: 'del' }, () => this.#db.del(key))
      else if (draw < 8) {
        const value = `v${++this.#unique}`
        await this.#call(life, { client, key, kind: 'put', value }, () => this.#db.put(key, value))
      } else await this.#replace(life, client, key)
    }
  }

  /** Reads, then writes on condition that nobody wrote meanwhile. */
  async #replace(life: number, client: number, key: string): Promise<void> {
    const entry = await this.#db.getEntry(key)
    const value = `r${++this.#unique}`
    const options = { ifPosition: entry?.position ?? null }
    const call = { client, key, kind: 'replace', value, seen: entry?.value } as const
    await this.#call(life, call, () => this.#db.put(key, value, options))
  }

  async #call(life: number, call: Omit<Call, 'from' | 'to'>, action: () => Promise<unknown>): Promise<void> {
    const index = this.calls.length
    const from = ++this.#clock
    this.calls.push({ ...call, from, to: Number.POSITIVE_INFINITY })
    try {
      const answer = await action()
      if (life !== this.#life) return
      const seen = call.kind === 'get' ? { seen: answer as string | undefined } : {}
      if (call.kind === 'get') this.#reads.push({ index, position: this.#db.position })
      this.calls[index] = { ...call, ...seen, from, to: ++this.#clock }
    } catch (error) {
      if (!(error instanceof VarveError) || error.code !== 'VARVE_CONFLICT') throw error
      // It was refused: it never happened.
      if (life === this.#life)
        this.calls[index] = { ...call, kind: 'get', from, to: Number.POSITIVE_INFINITY }
    }
  }

  async #bank(life: number, calls: number): Promise<void> {
    for (let i = 0; i < calls && life === this.#life; i++) {
      const [from, to] = [this.#account(), this.#account()]
      const [debit, credit] = [await this.#db.getEntry(from), await this.#db.getEntry(to)]
      if (!debit || !credit || from === to) continue
      const amount = this.#random.below(20)
      const check = [
        { key: from, position: debit.position },
        { key: to, position: credit.position },
      ]
      const ops = [
        { type: 'put', key: from, value: `${Number(debit.value) - amount}` },
        { type: 'put', key: to, value: `${Number(credit.value) + amount}` },
      ] as const
      try {
        await this.#db.batch(ops, { check })
        this.transfers++
      } catch (error) {
        if (!(error instanceof VarveError) || error.code !== 'VARVE_CONFLICT') throw error
      }
    }
  }

  /** Adds up all accounts: by one iterator, or by a snapshot that is read key by key. */
  async #auditor(life: number, calls: number): Promise<void> {
    for (let i = 0; i < calls && life === this.#life; i++) {
      if (this.#random.below(2) === 0) {
        this.#note(life, (await this.#db.values({ prefix: 'account:' }).all()).map(Number))
        continue
      }
      const snapshot = this.#db.snapshot()
      const values: number[] = []
      for (let n = 0; n < ACCOUNTS; n++) values.push(Number(await this.#db.get(`account:${n}`, { snapshot })))
      snapshot.close()
      this.#note(life, values)
    }
  }

  #note(life: number, values: readonly number[]): void {
    if (life === this.#life) this.sums.push(values.reduce((sum, value) => sum + value, 0))
  }

  #account(): string {
    return `account:${this.#random.below(ACCOUNTS)}`
  }

  // --- the machine ---

  async #open(): Promise<void> {
    const options = { ...this.#options, env: this.#world.env() }
    this.#db = await open('/db', options)
  }

  async #fillAccounts(): Promise<void> {
    if (await this.#db.has('account:0')) return
    const ops = Array.from({ length: ACCOUNTS }, (_, n) => ({
      type: 'put' as const,
      key: `account:${n}`,
      value: `${OPENING_BALANCE}`,
    }))
    await this.#db.batch(ops, { durability: 'disk' })
  }

  async #readAll(): Promise<void> {
    for (const key of KEYS)
      await this.#call(this.#life, { client: 0, key, kind: 'get' }, () => this.#db.get(key))
    this.#note(this.#life, (await this.#db.values({ prefix: 'account:' }).all()).map(Number))
  }

  /** What `os` promises is kept by a kill alone; what `disk` promises by any crash. */
  #crash(): void {
    const policies = ALL_CRASH_POLICIES
    const policy = policies[this.#random.below(policies.length)]!
    const isPowerLoss = this.#options.durability === 'disk' && this.#random.below(3) > 0
    const { fs } = this.#world
    if (isPowerLoss) this.#forgetReadsAbove(this.#db.durablePosition)
    this.#reads = []
    this.#world.crash(isPowerLoss ? fs.crash(policy, this.#random.below(1000)) : fs.clone())
    this.#running = 0
    this.crashes++
  }

  /** What is written is read before it is on disk: whoever saw it knows nothing once the power is gone. */
  #forgetReadsAbove(durable: number): void {
    for (const { index, position } of this.#reads)
      if (position > durable) this.calls[index] = { ...this.calls[index]!, to: Number.POSITIVE_INFINITY }
  }

  #start(client: Promise<void>): void {
    const life = this.#life
    this.#running++
    client
      .catch((error) => {
        if (life === this.#life) this.#failure ??= error
      })
      .finally(() => {
        if (life === this.#life) this.#running--
      })
  }

  async #until(work: Promise<unknown>): Promise<void> {
    let isDone = false
    work.then(
      () => {
        isDone = true
      },
      (error) => {
        isDone = true
        this.#failure ??= error
      },
    )
    while (!isDone) await this.#turn()
    if (this.#failure !== undefined) throw this.#failure
  }

  async #turn(): Promise<void> {
    if (this.#queue.turns > TURNS_MAX) throw new Error('the clients do not come to an end')
    if (!(await this.#queue.turn()) && this.#running > 0) throw new Error('a call never ends')
  }
}
