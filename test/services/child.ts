import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export type ChildEvent = Record<string, unknown> & { readonly type: string }

/** A process of a program of these tests or of an example, which prints what it does as JSON lines. */
export class Child {
  readonly events: ChildEvent[] = []
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>
  #errors = ''
  #wake: () => void = () => {}

  /** @param program relative to this folder */
  constructor(program: string, args: readonly string[], environment: Record<string, string> = {}) {
    const path = fileURLToPath(new URL(program, import.meta.url))
    this.#process = spawn(process.execPath, [path, ...args], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process.stderr!.on('data', (text) => {
      this.#errors += text
    })
    createInterface({ input: this.#process.stdout! }).on('line', (line) => {
      this.events.push(JSON.parse(line))
      this.#wake()
    })
    this.#ended = once(this.#process, 'close').then(() => this.#wake())
    LIVING.add(this)
    void this.#ended.then(() => LIVING.delete(this))
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null
  }

  count(type: string): number {
    return this.events.filter((event) => event.type === type).length
  }

  /** Waits for what it has printed; false: it was killed by itself before. Fails if it ended by an error. */
  async until(condition: (events: readonly ChildEvent[]) => boolean): Promise<boolean> {
    while (!condition(this.events)) {
      if (this.hasEnded) {
        await this.#ended
        if (condition(this.events)) return true
        if (this.#process.signalCode === 'SIGKILL') return false
        throw new Error(`the process ended with ${this.#process.exitCode}: ${this.#errors}`)
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return true
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<{ code: number | null; errors: string }> {
    if (!this.hasEnded) this.#process.kill(signal)
    await this.#ended
    return { code: this.#process.exitCode, errors: this.#errors }
  }

  async end(): Promise<{ code: number | null; signal: NodeJS.Signals | null; errors: string }> {
    await this.#ended
    return { code: this.#process.exitCode, signal: this.#process.signalCode, errors: this.#errors }
  }
}

const LIVING = new Set<Child>()

/** For the end of each test, however it ended. */
export async function killChildren(): Promise<void> {
  for (const child of LIVING) await child.kill()
}
