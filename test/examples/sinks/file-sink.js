// @ts-check
// A file that a warehouse loads: one line of JSON for each change, with its position, in order and without a double.
// A line that a crash cut off is cut away; the last whole line tells the position.
import { open } from 'node:fs/promises'

const TAIL_BYTES = 64 * 1024

export class FileSink {
  #path
  /** @type {import('node:fs/promises').FileHandle | undefined} */ #file

  /** @param {string} path */
  constructor(path) {
    this.#path = path
  }

  async position() {
    await this.close()
    this.#file = await open(this.#path, 'a+')
    const { line, end } = await this.#lastLine(this.#file)
    await this.#file.truncate(end)
    // A snapshot's lines have no position until all of them are there.
    return line === '' ? undefined : (JSON.parse(line).position ?? undefined)
  }

  async clear() {
    await this.#file?.truncate(0)
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} before
   * @param {number | undefined} after
   */
  async apply(changes, before, after) {
    const lines = changes.map(({ position, ops }) => ({
      position: after === undefined ? null : position,
      ops,
    }))
    if (before === undefined && after !== undefined) lines.push({ position: after, ops: [] })
    await this.#file?.appendFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    await this.#file?.datasync()
    return after
  }

  async close() {
    await this.#file?.close()
    this.#file = undefined
  }

  /** @param {import('node:fs/promises').FileHandle} file */
  async #lastLine(file) {
    const { size } = await file.stat()
    for (let bytes = TAIL_BYTES; ; bytes *= 4) {
      const start = Math.max(0, size - bytes)
      const tail = Buffer.alloc(size - start)
      await file.read(tail, 0, tail.length, start)
      const last = tail.lastIndexOf('\n')
      const previous = last > 0 ? tail.lastIndexOf('\n', last - 1) : -1
      if (start > 0 && previous < 0) continue
      return { line: last < 0 ? '' : tail.toString('utf8', previous + 1, last), end: start + last + 1 }
    }
  }
}
