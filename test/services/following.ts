import type { SourceEvent, SourceOptions } from '../examples/postgres-source/postgres-source.js'
import { followPostgres } from '../examples/postgres-source/postgres-source.js'
import type { RowStore } from './postgres-helpers.js'

/** A source that runs in this process until it is stopped. */
export class Following {
  readonly events: SourceEvent[] = []
  readonly ended: Promise<void>
  readonly #stop = new AbortController()
  #hasEnded = false
  #wake: () => void = () => {}

  constructor(store: RowStore, connectionString: string, options: Partial<SourceOptions> = {}) {
    this.ended = followPostgres(store, {
      connection: { connectionString },
      publication: 'published',
      slot: 'following',
      signal: this.#stop.signal,
      ...options,
      onEvent: (event) => {
        this.events.push(event)
        options.onEvent?.(event)
        this.#wake()
      },
    }).finally(() => {
      this.#hasEnded = true
      this.#wake()
    })
    this.ended.catch(() => {})
  }

  count(type: SourceEvent['type']): number {
    return this.events.filter((event) => event.type === type).length
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#hasEnded) return this.ended
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  streaming(): Promise<void> {
    return this.until(() => this.count('streaming') > 0)
  }

  applied(transactions: number): Promise<void> {
    return this.until(() => this.count('applied') >= transactions)
  }

  /** As its signal ends it, at any moment. */
  abort(): void {
    this.#stop.abort()
  }

  async stop(): Promise<void> {
    this.abort()
    await this.ended
  }
}
