import { SeededRandom } from '../../src/env/seeded-random.js'

interface Task {
  readonly label: string
  readonly run: () => void
  readonly dueMs: number
}

/** Everything that is going to happen: completions of I/O, timers, messages. One at a time is drawn by a seed. */
export class SimQueue {
  readonly random: SeededRandom
  nowMs = 0
  turns = 0
  /** Equal for equal runs. */
  digest = 0x811c9dc5
  readonly #tickMs: number
  #ready: Task[] = []
  #timers: Task[] = []

  /** @param tickMs how much time passes whenever somebody looks at the clock. */
  constructor(seed: number, tickMs: number) {
    this.random = new SeededRandom(seed)
    this.#tickMs = tickMs
  }

  get isEmpty(): boolean {
    return this.#ready.length + this.#timers.length === 0
  }

  look(): number {
    this.nowMs += this.#tickMs
    return this.nowMs
  }

  push(label: string, run: () => void): void {
    this.#ready.push({ label, run, dueMs: 0 })
  }

  after(delayMs: number, label: string, run: () => void): () => void {
    const task = { label, run, dueMs: this.nowMs + delayMs }
    this.#timers.push(task)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== task)
    }
  }

  /** What waits is forgotten: its process is dead. */
  clear(): void {
    this.#ready = []
    this.#timers = []
  }

  /** Lets one thing happen, and everything that follows from it at once. False: nothing is left to happen. */
  async turn(): Promise<boolean> {
    await settle()
    const task = this.#draw()
    if (!task) return false
    this.turns++
    this.note(task.label)
    task.run()
    await settle()
    return true
  }

  note(text: string): void {
    let hash = this.digest
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    this.digest = hash >>> 0
  }

  #draw(): Task | undefined {
    if (this.#ready.length === 0) this.#nextTimer()
    for (const task of this.#timers.filter(({ dueMs }) => dueMs <= this.nowMs)) {
      this.#timers = this.#timers.filter((other) => other !== task)
      this.#ready.push(task)
    }
    if (this.#ready.length === 0) return undefined
    return this.#ready.splice(this.random.below(this.#ready.length), 1)[0]
  }

  /** Nothing is ready: time goes on to when the next timer is due. */
  #nextTimer(): void {
    if (this.#timers.length === 0) return
    this.nowMs = Math.max(this.nowMs, Math.min(...this.#timers.map(({ dueMs }) => dueMs)))
  }
}

/** Until every promise that can go on has gone on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
