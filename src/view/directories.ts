import type { Env } from '../env/env.js'
import {
  joinPath,
  parseFileName,
  parseViewDirectoryName,
  removedViewName,
  type ViewDirectoryName,
  viewDirectoryName,
} from '../env/file-names.js'
import { readFully, writeFully } from '../env/write-fully.js'
import { ioError, VarveError } from '../errors.js'

const COPY_BYTES = 1024 * 1024

export interface ViewDirectory extends ViewDirectoryName {
  readonly name: string
  readonly path: string
}

/** The directories of views within that of their store. Foreign names are not seen, and never touched. */
export class ViewDirectories {
  readonly #env: Env
  readonly #root: string

  constructor(env: Env, root: string) {
    this.#env = env
    this.#root = root
  }

  /** Those of one view; without a name of all. */
  list(view?: string): ViewDirectory[] {
    const found: ViewDirectory[] = []
    for (const name of this.#names()) {
      const parsed = parseViewDirectoryName(name)
      if (parsed && (view === undefined || parsed.view === view)) {
        found.push({ ...parsed, name, path: joinPath(this.#root, name) })
      }
    }
    return found
  }

  #names(): string[] {
    try {
      return this.#env.fs.list(this.#root)
    } catch (error) {
      throw ioError(error, 'reading', this.#root)
    }
  }

  /** A path that no directory of the view has or had since it was opened; nothing is created. */
  next(view: string, version: string, atLeast: number): { readonly path: string; readonly build: number } {
    const build = Math.max(atLeast, ...this.list(view).map((directory) => directory.build + 1))
    return { path: joinPath(this.#root, viewDirectoryName(view, version, build)), build }
  }

  /**
   * Removes a view's directory. From the rename on it is none any more, whatever happens: the next open of the
   * store removes the rest.
   */
  async remove(path: string): Promise<void> {
    const { fs } = this.#env
    if (!fs.stat(path)) return
    const removed = removedViewName(path)
    try {
      fs.rename(path, removed)
      fs.syncDirectory(this.#root)
    } catch (error) {
      throw ioError(error, 'removing', path)
    }
    await this.#finish(removed)
  }

  /** Removes what a crash left of removals. What cannot be removed now stays for the next time. */
  async removeLeftovers(): Promise<void> {
    for (const directory of this.list().filter(({ isRemoved }) => isRemoved)) {
      await this.#finish(directory.path).catch(() => {})
    }
  }

  /** A copy of a checkpoint of a view, links where the file system can. It appears at `to` once it is whole. */
  async copy(from: string, to: string): Promise<void> {
    const { fs } = this.#env
    const staged = removedViewName(to)
    if (!fs.stat(from)?.isDirectory) throw invalid(`there is no checkpoint of a view at ${from}`)
    try {
      fs.makeDirectory(staged)
      for (const name of fs.list(from)) {
        const kind = parseFileName(name)?.kind
        const isImmutable = kind === 'segment' || kind === 'blob'
        const isData = isImmutable || kind === 'manifest' || kind === 'current'
        if (!isData) throw invalid(`${from} is no checkpoint of a view: it holds ${name}`)
        const isLinked = isImmutable && fs.link(joinPath(from, name), joinPath(staged, name))
        if (!isLinked) await this.#copyFile(joinPath(from, name), joinPath(staged, name))
      }
      fs.syncDirectory(staged)
      fs.rename(staged, to)
      fs.syncDirectory(this.#root)
    } catch (error) {
      await this.#finish(staged).catch(() => {})
      throw ioError(error, 'installing', from)
    }
  }

  async #finish(path: string): Promise<void> {
    const { fs } = this.#env
    if (!fs.stat(path)) return
    for (const name of fs.list(path)) {
      // Only what a store puts there.
      if (parseFileName(name)) await fs.removeAsync(joinPath(path, name))
    }
    fs.remove(path)
    fs.syncDirectory(this.#root)
  }

  async #copyFile(from: string, to: string): Promise<void> {
    const { fs, clock } = this.#env
    const source = fs.open(from, 'read')
    try {
      const target = fs.open(to, 'create')
      try {
        const sizeBytes = source.sizeBytes()
        const buffer = Buffer.allocUnsafeSlow(Math.min(COPY_BYTES, sizeBytes))
        for (let offset = 0; offset < sizeBytes; offset += COPY_BYTES) {
          const piece = buffer.subarray(0, Math.min(COPY_BYTES, sizeBytes - offset))
          readFully(source, piece, offset)
          writeFully(target, piece, offset)
          await clock.sleep(0)
        }
        await target.syncAsync()
      } finally {
        target.close()
      }
    } finally {
      source.close()
    }
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
