import type { FileSystem } from './env.js'

/**
 * Removes files that nobody needs any more, in the background. What could not be removed is left for the next
 * open, which removes it as an orphan.
 */
export class FileRemover {
  readonly #fs: FileSystem
  readonly #running = new Set<Promise<void>>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  remove(path: string): void {
    const running = this.#fs
      .removeAsync(path)
      .catch(() => {})
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Until every removal so far has come to its end. */
  async done(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
