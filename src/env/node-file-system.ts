import fs from 'node:fs'
import { resolve } from 'node:path'
import type { File, FileLock, FileStat, FileSystem, OpenMode } from './env.js'
import { lockFile } from './file-lock.js'
import { errorCode, systemError } from './system-error.js'

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
const IS_WINDOWS = process.platform === 'win32'
// Both are undefined on Windows. O_NONBLOCK keeps the open of a FIFO somebody left there from hanging.
const SAFE_FLAGS = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0)
const READ_FLAGS = fs.constants.O_RDONLY | SAFE_FLAGS
const CREATE_FLAGS = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL | SAFE_FLAGS
const NO_LINKS = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])
const WINDOWS_RETRIES = 8

/** A file held by its descriptor. */
export class NodeFile implements File {
  readonly path: string
  readonly #fd: number
  #running = 0
  #isClosed = false

  constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  write(bytes: Uint8Array, offset: number): number {
    this.#mustBeOpen('write')
    return fs.writeSync(this.#fd, bytes, 0, bytes.length, offset)
  }

  read(into: Uint8Array, offset: number): number {
    this.#mustBeOpen('read')
    let done = 0
    while (done < into.length) {
      const count = fs.readSync(this.#fd, into, done, into.length - done, offset + done)
      if (count === 0) break
      done += count
    }
    return done
  }

  async readAsync(into: Uint8Array, offset: number): Promise<number> {
    this.#mustBeOpen('read')
    this.#running++
    try {
      let done = 0
      while (done < into.length) {
        const count = await readOnce(this.#fd, into, done, offset + done)
        if (count === 0) break
        done += count
      }
      return done
    } finally {
      this.#finish()
    }
  }

  sync(): void {
    this.#mustBeOpen('fdatasync')
    fs.fdatasyncSync(this.#fd)
  }

  async syncAsync(): Promise<void> {
    this.#mustBeOpen('fdatasync')
    this.#running++
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fdatasync(this.#fd, (error) => (error ? reject(error) : resolve()))
      })
    } finally {
      this.#finish()
    }
  }

  sizeBytes(): number {
    this.#mustBeOpen('fstat')
    return fs.fstatSync(this.#fd).size
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    // A descriptor closed under a running call could be given to another file before that call reaches the system.
    if (this.#running === 0) closeQuietly(this.#fd)
  }

  #finish(): void {
    this.#running--
    if (this.#isClosed && this.#running === 0) closeQuietly(this.#fd)
  }

  #mustBeOpen(syscall: string): void {
    if (this.#isClosed) throw systemError('EBADF', syscall, this.path)
  }
}

/** The real file system. */
export class NodeFileSystem implements FileSystem {
  open(path: string, mode: OpenMode): File {
    const fd = mode === 'create' ? fs.openSync(path, CREATE_FLAGS, FILE_MODE) : fs.openSync(path, READ_FLAGS)
    if (mode === 'read') mustBeRegular(fd, path)
    return new NodeFile(path, fd)
  }

  stat(path: string): FileStat | undefined {
    try {
      const stat = fs.statSync(path, { bigint: true, throwIfNoEntry: false })
      if (stat === undefined) return undefined
      return {
        sizeBytes: Number(stat.size),
        modifiedMs: Number(stat.mtimeMs),
        identity: `${stat.dev}:${stat.ino}`,
        isDirectory: stat.isDirectory(),
      }
    } catch (error) {
      if (errorCode(error) === 'ENOTDIR') return undefined
      throw error
    }
  }

  list(path: string): string[] {
    return fs.readdirSync(path).sort()
  }

  makeDirectory(path: string): string | undefined {
    return fs.mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE })
  }

  rename(from: string, to: string): void {
    patiently(() => fs.renameSync(from, to))
  }

  /** Also removes a directory that is empty. */
  remove(path: string): void {
    patiently(() => {
      try {
        fs.unlinkSync(path)
      } catch (error) {
        const code = errorCode(error)
        const mayBeDirectory = code === 'EISDIR' || code === 'EPERM'
        if (!mayBeDirectory || !fs.lstatSync(path).isDirectory()) throw error
        fs.rmdirSync(path)
      }
    })
  }

  async removeAsync(path: string): Promise<void> {
    await fs.promises.unlink(path)
  }

  link(from: string, to: string): boolean {
    try {
      fs.linkSync(from, to)
      return true
    } catch (error) {
      if (NO_LINKS.has(errorCode(error) ?? '')) return false
      throw error
    }
  }

  syncDirectory(path: string): void {
    // Windows has no fsync of directories.
    if (IS_WINDOWS) return
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  }

  async syncDirectoryAsync(path: string): Promise<void> {
    if (IS_WINDOWS) return
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY)
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(fd, (error) => (error ? reject(error) : resolve()))
      })
    } finally {
      fs.closeSync(fd)
    }
  }

  lock(path: string): FileLock {
    return lockFile(path)
  }

  resolve(path: string): string {
    return resolve(path)
  }

  realPath(path: string): string {
    return fs.realpathSync.native(path)
  }
}

function closeQuietly(fd: number): void {
  try {
    fs.closeSync(fd)
  } catch (error) {
    // Not ours, or closed twice: that is a mistake of the program. Else the descriptor is gone all the same.
    if (errorCode(error) === 'EBADF') throw error
  }
}

function readOnce(fd: number, into: Uint8Array, at: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, into, at, into.length - at, position, (error, count) =>
      error ? reject(error) : resolve(count),
    )
  })
}

function mustBeRegular(fd: number, path: string): void {
  const stat = fs.fstatSync(fd)
  if (stat.isFile()) return
  fs.closeSync(fd)
  throw systemError(stat.isDirectory() ? 'EISDIR' : 'EINVAL', 'open', path)
}

/** Windows refuses for a moment to rename or remove what a virus scanner or indexer has open. */
function patiently(action: () => void): void {
  for (let attempt = 0; ; attempt++) {
    try {
      action()
      return
    } catch (error) {
      const code = errorCode(error)
      const isTransient = IS_WINDOWS && (code === 'EPERM' || code === 'EBUSY' || code === 'EACCES')
      if (!isTransient || attempt >= WINDOWS_RETRIES) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5 * 2 ** attempt)
    }
  }
}
