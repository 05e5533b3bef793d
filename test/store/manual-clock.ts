import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'

/** A wall clock, and timers that nobody waits for, that go on only when they are told to. */
export class ManualClock {
  nowMs: number
  #timers: { readonly atMs: number; readonly callback: () => void }[] = []

  constructor(nowMs = 1_700_000_000_000) {
    this.nowMs = nowMs
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
        return () => {
          this.#timers = this.#timers.filter((other) => other !== timer)
        }
      },
    }
    return { ...inner, clock }
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
      this.#timers = this.#timers.filter((other) => other !== next)
      next.callback()
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.nowMs = endMs
    await new Promise((resolve) => setImmediate(resolve))
  }
}
