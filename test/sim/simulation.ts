import { open } from '../../src/index.js'
import { checkCheckpoint, checkContent } from './sim-checks.js'
import type { SimOp, SimPlan } from './sim-operations.js'
import { issueRead } from './sim-reads.js'
import { Detected, type Plant, SimRun, type Store } from './sim-run.js'
import { issueWrite } from './sim-writes.js'

type Of<K extends SimOp['kind']> = Extract<SimOp, { kind: K }>

const PATH = '/stores/db'

export interface SimResult {
  /** Equal for equal runs. */
  readonly digest: number
  readonly turns: number
  readonly crashes: number
  readonly reopens: number
  readonly faults: number
  /** Of everything that was read. */
  readonly transcript: number
  /** The store refused what a lying disk had done, with a typed error, and the history ended there. */
  readonly isDetected: boolean
}

/** One history, driven by one seed. Throws a `SimFailure` where the store does something it must not. */
export class Simulation {
  readonly #run: SimRun
  readonly #plan: SimPlan
  /** The newest checkpoint that was reported as durable. */
  #checkpoint: { readonly path: string; readonly position: number } | undefined
  #checkpointCount = 0
  #crashes = 0
  #reopens = 0

  constructor(plan: SimPlan, plant?: Plant) {
    this.#plan = plan
    this.#run = new SimRun(plan, plant)
  }

  async run(): Promise<SimResult> {
    const run = this.#run
    let isDetected = false
    try {
      run.repairDisk()
      if (this.#plan.rule) run.inject(this.#plan.rule)
      await this.#open(0)
      for (const op of this.#plan.ops) {
        run.operation++
        run.queue.note(op.kind)
        await this.#step(op)
        await run.turns(op.turns)
        if (this.#plan.isSequential) await run.drain()
        run.throwFailure()
      }
      await this.#finish()
    } catch (error) {
      if (!(error instanceof Detected)) throw error
      isDetected = true
    }
    const { digest, turns } = run.queue
    const { transcript } = run
    return {
      digest,
      turns,
      crashes: this.#crashes,
      reopens: this.#reopens,
      faults: run.fired,
      transcript,
      isDetected,
    }
  }

  async #step(op: SimOp): Promise<void> {
    const run = this.#run
    switch (op.kind) {
      case 'reopen':
        return this.#reopen()
      case 'crash':
        return this.#crash(op)
      case 'heal':
        return this.#heal()
      case 'checkpoint':
        return this.#takeCheckpoint()
      case 'readOnly':
        return this.#readOnly()
      case 'inject':
        return run.inject(op.rule)
      case 'fill':
        return run.fillDisk(op.freeBytes)
      case 'killWorker':
        return void run.world.killWorker()
      case 'wait':
        return op.turns < 5 ? run.turns(40) : this.#readIdle()
      case 'put':
      case 'del':
      case 'batch':
      case 'clear':
      case 'putIf':
      case 'batchIf':
      case 'sync':
      case 'flush':
      case 'compact':
        return issueWrite(run, op)
      default:
        return issueRead(run, op)
    }
  }

  /** For a while nothing is written, and then only read: what is done for the sake of reads is done now. */
  async #readIdle(): Promise<void> {
    const run = this.#run
    await run.turns(40)
    run.queue.nowMs += 1100
    for (let read = 0; read < 130; read++) run.guard(() => [...run.db.keysSync({ limit: 1 })])
    await run.turns(40)
  }

  async #reopen(): Promise<void> {
    const run = this.#run
    const isClean = await run.outcome('close', run.db.close())
    if (isClean) run.promise(run.db.position, true)
    await run.drain()
    this.#expectNothingOpen('after close')
    run.beginLife()
    this.#reopens++
    await this.#open(run.killPromise)
  }

  /** The process dies before one of the changes it is about to make, or at once. */
  async #crash({ policy, draw, steps }: Of<'crash'>): Promise<void> {
    const run = this.#run
    const { fs } = run.world
    const take = () => (policy === 'killed' ? fs.clone() : fs.crash(policy, draw))
    let left = steps
    let state: typeof fs | undefined
    fs.onStep = () => {
      if (state || left-- > 0) return
      state = take()
      run.isCrashed = true
    }
    for (let i = 0; steps > 0 && i < 60 && !state && (await run.turn()); i++);
    fs.onStep = undefined
    run.throwFailure()
    const promised = policy === 'killed' ? run.killPromise : run.powerPromise
    run.world.crash(state ?? take())
    run.beginLife()
    run.repairDisk()
    this.#crashes++
    await this.#open(promised)
    await this.#checkCheckpoint('after a crash')
  }

  /** The disk is sound again: a store that had stopped goes on, in the same process or by opening again. */
  async #heal(): Promise<void> {
    const run = this.#run
    run.repairDisk()
    if (!run.hasFailed) return
    const promised = run.killPromise
    await run.drain()
    if (run.queue.random.below(2) === 0) return this.#reopen()
    run.held = []
    run.isResuming = true
    const isDone = await run.outcome('resume', run.db.resume())
    run.isResuming = false
    this.#expectSound(isDone, 'resume')
    run.hasFailed = run.db.stats().health !== undefined
    await this.#checkRecovered(promised)
  }

  async #open(promised: number): Promise<void> {
    const run = this.#run
    for (let attempt = 1; ; attempt++) {
      const options = { ...this.#plan.options, env: run.world.env() }
      const before = run.fired
      let db: Store | undefined
      const opening = open<Buffer, Buffer>(PATH, options).then((opened) => {
        db = opened
      })
      await run.outcome('open', opening)
      if (db) {
        run.use(db)
        return this.#checkRecovered(promised)
      }
      this.#expectNothingOpen(`after an open that failed (${run.lastError})`)
      const isExplained = run.fired > before || run.isFull || this.#plan.isLying
      run.expect(isExplained, `open failed without a fault: ${run.lastError}`)
      run.repairDisk()
      if (attempt === 2) this.#expectSound(false, 'open')
    }
  }

  /** What is there is a state that there was, and holds what was promised. */
  async #checkRecovered(promised: number): Promise<void> {
    const run = this.#run
    const { position } = run.db
    run.expect(
      this.#plan.isLying || position >= promised,
      `recovered ${position}, but ${promised} was promised`,
    )
    run.expect(
      position <= run.model.issued,
      `recovered ${position}, but only ${run.model.issued} were written`,
    )
    if (this.#checkpoint && this.#checkpoint.position > position) this.#checkpoint = undefined
    run.model.truncate(position)
    run.killPromise = position
    run.powerPromise = position
    await run.outcome('reading all', checkContent(run.db, run.model, position, run.expect))
  }

  /** What another process sees that only reads: at least what was handed to the system. */
  async #readOnly(): Promise<void> {
    const run = this.#run
    const promised = run.killPromise
    const env = { ...run.world.env(), fs: run.world.fs.clone() }
    const options = { ...this.#plan.options, readOnly: true, env }
    let db: Store | undefined
    const opening = open<Buffer, Buffer>(PATH, options).then((opened) => {
      db = opened
    })
    await run.outcome('open to read', opening)
    run.expect(db !== undefined || this.#plan.isLying, `opening to read failed: ${run.lastError}`)
    if (!db) return
    const { position } = db
    run.expect(this.#plan.isLying || position >= promised, `read only shows ${position}, not ${promised}`)
    await run.outcome('reading only', checkContent(db, run.model, position, run.expect))
    await run.outcome('close', db.close())
  }

  async #takeCheckpoint(): Promise<void> {
    const run = this.#run
    const path = `/backups/${++this.#checkpointCount}/copy`
    const { issued } = run.model
    let position = -1
    const taking = run.db.checkpoint(path).then((done) => {
      position = done.position
    })
    if (!(await run.outcome('checkpoint', taking))) return
    run.expect(position >= issued, `a checkpoint of ${position} misses ${issued}`)
    this.#checkpoint = { path, position }
    await this.#checkCheckpoint('when it was taken')
  }

  async #checkCheckpoint(when: string): Promise<void> {
    const run = this.#run
    const checkpoint = this.#checkpoint
    if (!checkpoint || checkpoint.position > run.model.issued) return
    const { path, position } = checkpoint
    const { options, isLying } = this.#plan
    const env = run.world.env()
    // What a disk that lies has lost whole cannot be looked at.
    if (isLying && !env.fs.stat(path)) return
    const before = run.fired
    const check = checkCheckpoint(env, path, options, run.model, position, run.expect)
    const isSound = await run.outcome(`the checkpoint ${when}`, check)
    run.expect(
      isSound || isLying || run.fired > before || run.isFull,
      `no checkpoint ${when}: ${run.lastError}`,
    )
  }

  async #finish(): Promise<void> {
    const run = this.#run
    run.repairDisk()
    await this.#heal()
    await run.drain()
    await this.#reopen()
    this.#expectSound(await run.outcome('verify', run.db.verify()), 'verify')
    const { issued } = run.model
    this.#expectSound(
      await run.outcome('reading all', checkContent(run.db, run.model, issued, run.expect)),
      'reading all',
    )
    this.#expectSound(await run.outcome('close', run.db.close()), 'close')
    this.#expectNothingOpen('at the end')
    // Closed is durable.
    run.world.crash(run.world.fs.crash('strict'))
    run.beginLife()
    await this.#open(issued)
    await run.outcome('close', run.db.close())
  }

  /** Without a fault, only what a lying disk did may keep something from working. */
  #expectSound(isDone: boolean, what: string): void {
    if (isDone) return
    this.#run.expect(
      this.#plan.isLying,
      `${what} fails though nothing is wrong any more: ${this.#run.lastError}`,
    )
    throw new Detected()
  }

  #expectNothingOpen(when: string): void {
    const handles = this.#run.world.fs.openHandles()
    this.#run.expect(handles.length === 0, `${handles.join(', ')} still open ${when}`)
  }
}
