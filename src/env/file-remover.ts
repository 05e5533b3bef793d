import type { FileSystem } from './env.js'

/**
 * Removes files that nobody needs any more, in the background, one after another: of log files the older first, so
 * that what a crash leaves of them has no hole. What could not be removed is left for the next open, which removes
 * it as an orphan.
 */
export class FileRemover {
  readonly #fs: FileSystem
  #tail: Promise<void> = Promise.resolve()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  remove(path: string): void {
    this.#tail = this.#tail.then(() => this.#fs.removeAsync(path)).catch(() => {})
  }

  /** Until every removal so far has come to its end. */
  async done(): Promise<void> {
    await this.#tail
  }
}
