import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'

interface ManualTimer {
  readonly atMs: number
  readonly callback: () => void
}

/** A wall clock, and timers that nobody waits for, that go on only when they are told to. What is due already is not held. */
export class ManualClock {
  #nowMs: number
  /** The latest time that it has shown. */
  latestMs: number
  #timers: ManualTimer[] = []

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
    this.latestMs = nowMs
  }

  get nowMs(): number {
    return this.#nowMs
  }

  set nowMs(ms: number) {
    this.#nowMs = ms
    this.latestMs = Math.max(this.latestMs, ms)
  }

  /** An environment that goes by this clock; one clock may serve several. */
  env(fs?: MemoryFileSystem): MemoryEnv {
    const inner = memoryEnv(fs ? { fs } : {})
    const clock = {
      ...inner.clock,
      wallMs: () => this.nowMs,
      afterUnref: (delayMs: number, callback: () => void) => {
        const timer = { atMs: this.nowMs + delayMs, callback }
        this.#timers.push(timer)
        if (delayMs <= 0) setImmediate(() => this.#fire(timer))
        return () => {
          this.#timers = this.#timers.filter((other) => other !== timer)
        }
      },
    }
    return { ...inner, clock }
  }

  #fire(timer: ManualTimer): void {
    if (!this.#timers.includes(timer)) return
    this.#timers = this.#timers.filter((other) => other !== timer)
    timer.callback()
  }

  /** Timers that are waited for. */
  get timers(): number {
    return this.#timers.length
  }

  /** Lets time pass, and whatever was to happen in it begin. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)
      if (!next) break
      this.nowMs = Math.max(this.nowMs, next.atMs)
      this.#fire(next)
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.nowMs = endMs
    await new Promise((resolve) => setImmediate(resolve))
  }
}
