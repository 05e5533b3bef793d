import { afterEach } from 'vitest'
import type { Clock } from '../../src/env/env.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { Change, OpenOptions } from '../../src/index.js'
import { type OpenedStore, openMemory, TINY } from '../store/helpers.js'

export type Db = OpenedStore['db']
export type Opened = Awaited<ReturnType<Db['consumer']>>

export const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
/** Everything stays in the log. */
export const KEPT: OpenOptions = { ...TINY, log: { maxBytes: 2 ** 30, maxAgeMs: 10 ** 12 } }

const opened: Db[] = []
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

export async function openKept(options: OpenOptions = KEPT, env?: MemoryEnv): Promise<OpenedStore> {
  const store = await openMemory(options, env)
  opened.push(store.db)
  return store
}

export const positionsOf = (changes: readonly { position: number }[]) =>
  changes.map(({ position }) => position)

/** What a consumer is given up to the end of the log. */
export async function drain(consumer: Opened): Promise<Change<string, string>[]> {
  const changes: Change<string, string>[] = []
  for await (const change of consumer.read()) changes.push(change)
  return changes
}

export async function changesOf(db: Db): Promise<Change<string, string>[]> {
  const changes = []
  for await (const change of db.changes()) changes.push(change)
  return changes
}

/** One turn of the event loop, or `count`. */
export async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** A clock that stands still until it is told how much time passes. */
export class HandClock implements Clock {
  #nowMs: number
  #timers: { readonly atMs: number; readonly callback: () => void }[] = []

  constructor(startMs = Date.now()) {
    this.#nowMs = startMs
  }

  wallMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  afterUnref(delayMs: number, callback: () => void): () => void {
    return this.after(delayMs, callback)
  }

  sleep(delayMs: number): Promise<void> {
    if (delayMs <= 0) return new Promise((resolve) => setImmediate(resolve))
    return new Promise((resolve) => this.after(delayMs, resolve))
  }

  get timerCount(): number {
    return this.#timers.length
  }

  /** Later at once, without a timer. */
  skip(ms: number): void {
    this.#nowMs += ms
  }

  /** Lets time pass, each timer at its time, and work that it starts come to its end. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      const [next] = this.#timers.sort((a, b) => a.atMs - b.atMs)
      if (!next || next.atMs > endMs) break
      this.#timers.shift()
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      next.callback()
      await turns(6)
    }
    this.#nowMs = endMs
    // The files in memory take their time by the real clock.
    await new Promise((resolve) => setTimeout(resolve, 1))
    await turns(6)
  }
}

/** Lets time pass until the work is done: what waits for a timer on its way goes on. */
export async function whilePassing<T>(clock: HandClock, work: Promise<T>): Promise<T> {
  let isDone = false
  const done = work.finally(() => {
    isDone = true
  })
  while (!isDone) await clock.pass(5)
  return done
}

export function handClockEnv(clock: HandClock, env: MemoryEnv = memoryEnv()): MemoryEnv {
  return { ...env, clock }
}
