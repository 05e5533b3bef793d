import type { FaultCounter, FaultRule } from '../../src/env/faults.js'
import { type Database, type Snapshot, VarveError } from '../../src/index.js'
import { SimModel } from './sim-model.js'
import type { SimPlan } from './sim-operations.js'
import { SimQueue } from './sim-queue.js'
import { SimWorld } from './sim-world.js'

export type Store = Database<Buffer, Buffer>

/** A mistake that is put in on purpose: a simulation that does not find it is worth nothing. */
export type Plant = 'syncs-lie' | 'early-acknowledgement' | 'lost-delete'

/** The store did something it must not. */
export class SimFailure extends Error {}

/** The history ends here: what a lying disk did was found out. */
export class Detected extends Error {}

export interface Held {
  readonly snapshot: Snapshot
  readonly position: number
}

interface Expectations<T> {
  check?(result: T): void
  onError?(code: string): void
  /** Codes that need no fault to explain them. */
  readonly codes?: readonly string[]
}

const TURNS_MAX = 400_000
/** Whatever a fault may lead to. */
const FAULT_CODES = ['VARVE_IO', 'VARVE_NO_SPACE', 'VARVE_POISONED', 'VARVE_CORRUPTION', 'VARVE_BACKGROUND']

/** Long strings by their length and start: what they are is compared with the model, byte by byte. */
function shortened(_: string, value: unknown): unknown {
  return typeof value === 'string' && value.length > 40 ? `${value.length}:${value.slice(0, 24)}` : value
}

/** What is known while a history runs: the store, the model, what was promised, what is in flight. */
export class SimRun {
  readonly plan: SimPlan
  readonly plant: Plant | undefined
  readonly queue: SimQueue
  readonly world: SimWorld
  readonly model = new SimModel()
  db!: Store
  held: Held[] = []
  operation = 0
  /** Set once a crash state was taken: what happens after it in this life happens to nobody. */
  isCrashed = false
  isFull = false
  /** Faults may be waiting. */
  isFaulty = false
  isResuming = false
  /** Of everything that was read: equal for equal histories, whatever the options. */
  transcript = 0x811c9dc5
  /** What a kill, and what a power loss, must leave at least. */
  killPromise = 0
  powerPromise = 0
  lastError: unknown
  readonly #counters: FaultCounter[] = []
  readonly #inFlight = new Set<string>()
  #life = 0
  #fillCount = 0
  #failure: unknown

  constructor(plan: SimPlan, plant: Plant | undefined) {
    this.plan = plan
    this.plant = plant
    this.queue = new SimQueue(plan.seed, plan.tickMs)
    this.world = new SimWorld(this.queue, plan.seed)
  }

  /** How often a fault happened; a full disk counts as one. */
  get fired(): number {
    return this.#counters.reduce((sum, { fired }) => sum + fired, this.#fillCount)
  }

  /** Writes have stopped. */
  hasFailed = false

  /** The store that the history goes on with. */
  use(db: Store): void {
    this.db = db
    this.hasFailed = db.stats().health !== undefined
    db.on('store.failed', () => {
      if (db === this.db) this.hasFailed = true
    })
  }

  inject(rule: FaultRule): void {
    const counter = this.world.fs.inject(rule)
    this.isFaulty = true
    this.#counters.push(counter)
  }

  /** Leaves so many bytes free. */
  fillDisk(freeBytes: number): void {
    const { fs } = this.world
    fs.setCapacity(fs.usedBytes + freeBytes)
    this.isFull = true
    this.#fillCount++
  }

  /** The disk is sound again, and large. */
  repairDisk(): void {
    this.world.fs.clearFaults()
    this.world.fs.setCapacity(Number.POSITIVE_INFINITY)
    this.isFull = false
    this.isFaulty = false
    if (this.plant !== 'syncs-lie') return
    this.world.fs.inject({ op: 'sync', path: /\.log$/, repeat: 'forever', effect: { lies: true } })
  }

  /** Adds what was read to the transcript. */
  note(shown: unknown): void {
    const line = `${this.operation}${JSON.stringify(shown, shortened)}`
    let hash = this.transcript
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193)
    this.transcript = hash >>> 0
  }

  promise(position: number, isDurable: boolean): void {
    this.killPromise = Math.max(this.killPromise, position)
    if (isDurable) this.powerPromise = Math.max(this.powerPromise, position)
  }

  /** Another process: whatever the last one waited for is forgotten. */
  beginLife(): void {
    this.#life++
    this.isCrashed = false
    this.#inFlight.clear()
    this.held = []
  }

  release(index: number): void {
    this.held.splice(index, 1)[0]?.snapshot.close()
  }

  /** Follows something that runs beside the rest of the history. */
  track<T>(what: string, running: Promise<T>, { check, onError, codes }: Expectations<T> = {}): void {
    const life = this.#life
    const name = `${what} of operation ${this.operation}`
    this.#inFlight.add(name)
    const attempt = (action: () => void) => {
      if (life !== this.#life) return
      this.#inFlight.delete(name)
      if (this.isCrashed) return
      try {
        action()
      } catch (error) {
        this.#failure ??= error
      }
    }
    running.then(
      (result) => attempt(() => check?.(result)),
      (error) =>
        attempt(() => {
          this.#judge(name, error, codes)
          onError?.((error as VarveError).code)
        }),
    )
  }

  /** Something that runs at once, and throws only what a fault explains. */
  guard(action: () => void): void {
    try {
      action()
    } catch (error) {
      this.#judge('a synchronous call', error)
    }
  }

  /** Lets things happen until it has settled; whether it went well. */
  async outcome(what: string, running: Promise<unknown>): Promise<boolean> {
    let settled: 'well' | 'badly' | undefined
    running.then(
      () => {
        settled = 'well'
      },
      (error) => {
        settled = 'badly'
        this.lastError = error
        try {
          this.#judge(what, error)
        } catch (failure) {
          this.#failure ??= failure
        }
      },
    )
    while (!settled) {
      const isRunning = await this.turn()
      if (!settled) this.expect(isRunning, `${what} never ends: nothing is left to happen`)
    }
    this.throwFailure()
    return settled === 'well'
  }

  /** Until everything in flight has settled. */
  async drain(): Promise<void> {
    while (this.#inFlight.size > 0) {
      const isRunning = await this.turn()
      const [name] = this.#inFlight
      if (name) this.expect(isRunning, `${name} never ends: nothing is left to happen`)
    }
    this.throwFailure()
  }

  turn(): Promise<boolean> {
    this.expect(this.queue.turns < TURNS_MAX, 'the history does not come to an end')
    return this.queue.turn()
  }

  async turns(count: number): Promise<void> {
    for (let i = 0; i < count && (await this.turn()); i++);
  }

  readonly expect = (isRight: boolean, message: string): void => {
    if (!isRight) throw new SimFailure(`operation ${this.operation}: ${message}`)
  }

  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  /** An error must be typed, and explained by a fault. */
  #judge(what: string, error: unknown, codes: readonly string[] = []): void {
    if (!(error instanceof VarveError)) throw error
    if (codes.includes(error.code) || error.code === 'VARVE_CLOSED') return
    if (FAULT_CODES.includes(error.code) && (this.fired > 0 || this.isResuming)) return
    throw new SimFailure(`operation ${this.operation}: ${what}: ${error.code}: ${error.message}`, {
      cause: error,
    })
  }
}
