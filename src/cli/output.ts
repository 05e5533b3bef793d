import { once } from 'node:events'
import { complain, EXIT_FINDING } from './failure.js'

const FLUSH_BYTES = 64 * 1024

/** A reader such as `head` that has seen enough closes the pipe: that is no failure. A full disk is. */
export function endOnBrokenOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    complain(`writing the output: ${error.message}`)
    process.exit(EXIT_FINDING)
  })
}

/** Buffered stdout that waits for a slow reader. Ends with `flush`. */
export class Output {
  #chunks: Uint8Array[] = []
  #bytes = 0

  async write(...parts: readonly (string | Uint8Array)[]): Promise<void> {
    for (const part of parts) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part
      this.#chunks.push(bytes)
      this.#bytes += bytes.length
    }
    if (this.#bytes >= FLUSH_BYTES) await this.flush()
  }

  async flush(): Promise<void> {
    if (this.#bytes === 0) return
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#bytes = 0
    if (!process.stdout.write(joined)) await once(process.stdout, 'drain')
  }
}

/** Runs `produce` with an output that is flushed after it, even when it throws: what came before a damage counts. */
export async function withOutput(produce: (output: Output) => Promise<void>): Promise<void> {
  const output = new Output()
  try {
    await produce(output)
  } finally {
    await output.flush()
  }
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  printLine(JSON.stringify(value))
}
