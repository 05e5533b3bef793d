import type { Env, FileLock } from '../env/env.js'
import {
  blobFileName,
  joinPath,
  LOCK_NAME,
  logFileName,
  parseFileName,
  segmentFileName,
} from '../env/file-names.js'
import { errorCode } from '../env/system-error.js'
import { readFully, writeFully } from '../env/write-fully.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { syncParents } from '../store/directory.js'
import {
  type BackupFile,
  type BackupRecord,
  backupFileName,
  decodeBackup,
  encodeBackup,
  parseBackupFileName,
} from './backup-format.js'

/** A list of a million files; what is larger was not written by us. */
const RECORD_BYTES_MAX = 256 * 2 ** 20
const TEMPORARY_SUFFIX = '.tmp'
const STORE_FOLDER = /^[0-9a-f]{32}$/

/** The files of a directory of backups: names, records, and what is left over. Paths come from numbers alone. */
export class BackupDirectory {
  readonly env: Env
  /** Absolute. */
  readonly path: string
  readonly key: Uint8Array | undefined

  constructor(env: Env, path: string, key: Uint8Array | undefined) {
    this.env = env
    this.path = path
    this.key = key
  }

  /** Creates the directory if it is not there, durably. @throws VarveError `VARVE_FORMAT_VERSION` where it holds something else. */
  create(): void {
    this.#attempt('opening', () => {
      const stat = this.env.fs.stat(this.path)
      if (stat && !stat.isDirectory) throw invalid(`${this.path} is a file`)
      if (stat && this.numbers().length > 0) return
      const topmost = stat ? undefined : this.env.fs.makeDirectory(this.path)
      this.#refuseForeign()
      syncParents(this.env, this.path, topmost)
    })
  }

  /** One at a time makes or removes backups. @throws VarveError `VARVE_LOCKED`. */
  lock(): FileLock {
    return this.#attempt('locking', () => this.env.fs.lock(joinPath(this.path, LOCK_NAME)))
  }

  /** The numbers of all backups, ascending. */
  numbers(): number[] {
    const stat = this.#attempt('reading', () => this.env.fs.stat(this.path))
    if (!stat?.isDirectory) throw invalid(`there are no backups at ${this.path}`)
    const names = this.#attempt('reading', () => this.env.fs.list(this.path))
    return names.flatMap((name) => parseBackupFileName(name) ?? []).sort((a, b) => a - b)
  }

  read(number: number): BackupRecord {
    const path = joinPath(this.path, backupFileName(number))
    return this.#attempt('reading', () => {
      if (!this.env.fs.stat(path)) throw corruption(path, 0, 'the file is missing')
      const file = this.env.fs.open(path, 'read')
      try {
        const sizeBytes = file.sizeBytes()
        if (sizeBytes > RECORD_BYTES_MAX) throw corruption(path, RECORD_BYTES_MAX, `${sizeBytes} bytes`)
        const bytes = Buffer.alloc(sizeBytes)
        readFully(file, bytes, 0)
        return decodeBackup(bytes, number, this.key, path)
      } finally {
        file.close()
      }
    })
  }

  /** Once it has its name it counts, so what it names is durable by then. */
  async write(record: BackupRecord): Promise<void> {
    const path = joinPath(this.path, backupFileName(record.number))
    const temporary = `${path}${TEMPORARY_SUFFIX}`
    try {
      this.remove(temporary)
      const file = this.env.fs.open(temporary, 'create')
      try {
        writeFully(file, encodeBackup(record, this.key), 0)
        await file.syncAsync()
      } finally {
        file.close()
      }
      this.env.fs.rename(temporary, path)
      this.env.fs.syncDirectory(this.path)
    } catch (error) {
      throw ioError(error, 'writing', path)
    }
  }

  /** The backup is no longer there; its files are left over. */
  drop(number: number): void {
    this.remove(joinPath(this.path, backupFileName(number)))
    this.#attempt('syncing', () => this.env.fs.syncDirectory(this.path))
  }

  /** Creates the folder for a store's files, durably. */
  makeFolder(storeId: Buffer): void {
    const folder = this.folderOf(storeId)
    this.#attempt('writing', () => {
      this.env.fs.makeDirectory(folder)
      this.env.fs.syncDirectory(this.path)
    })
    this.checkFolder(storeId)
  }

  folderOf(storeId: Buffer): string {
    return joinPath(this.path, storeId.toString('hex'))
  }

  pathOf(storeId: Buffer, file: Pick<BackupFile, 'kind' | 'number'>): string {
    return joinPath(this.folderOf(storeId), nameOf(file))
  }

  /** A link could lead to any file of this machine. */
  checkFolder(storeId: Buffer): void {
    const folder = this.folderOf(storeId)
    const isThere = this.#attempt('reading', () => this.env.fs.stat(folder))?.isDirectory
    if (!isThere) throw corruption(folder, 0, 'the directory is missing')
    this.#attempt('reading', () => {
      const { fs } = this.env
      if (fs.realPath(folder) !== joinPath(fs.realPath(this.path), storeId.toString('hex')))
        throw corruption(folder, 0, 'a link')
    })
  }

  /** Every file of ours that no backup in `needed`, paths, names: its path and size. */
  *leftovers(needed: ReadonlySet<string>): Generator<{ readonly path: string; readonly sizeBytes: number }> {
    const { fs } = this.env
    for (const name of fs.list(this.path)) {
      const path = joinPath(this.path, name)
      if (name.endsWith(TEMPORARY_SUFFIX) && parseBackupFileName(name.slice(0, -TEMPORARY_SUFFIX.length)))
        yield { path, sizeBytes: fs.stat(path)?.sizeBytes ?? 0 }
      if (!STORE_FOLDER.test(name) || !fs.stat(path)?.isDirectory) continue
      for (const inner of fs.list(path)) {
        const kind = parseFileName(inner)?.kind
        const innerPath = joinPath(path, inner)
        const isOurs = kind === 'segment' || kind === 'blob' || kind === 'log' || kind === 'temporary'
        if (isOurs && !needed.has(innerPath))
          yield { path: innerPath, sizeBytes: fs.stat(innerPath)?.sizeBytes ?? 0 }
      }
    }
  }

  /** Removes what a crash, or a backup that is gone, left; returns its bytes. */
  async collect(needed: ReadonlySet<string>): Promise<number> {
    let freedBytes = 0
    try {
      for (const { path, sizeBytes } of [...this.leftovers(needed)]) {
        await this.env.fs.removeAsync(path)
        freedBytes += sizeBytes
      }
    } catch (error) {
      throw ioError(error, 'cleaning up', this.path)
    }
    return freedBytes
  }

  /** Whatever is at `path`, if anything. */
  remove(path: string): void {
    try {
      this.env.fs.remove(path)
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw ioError(error, 'removing', path)
    }
  }

  #refuseForeign(): void {
    const foreign = this.env.fs
      .list(this.path)
      .find((name) => !isOurs(name) && !name.startsWith('.') && name !== 'lost+found')
    if (foreign === undefined) return
    const message = `${this.path} is not a directory of backups: it holds ${foreign}`
    throw new VarveError('VARVE_FORMAT_VERSION', message, { file: joinPath(this.path, foreign) })
  }

  #attempt<T>(doing: string, action: () => T): T {
    try {
      return action()
    } catch (error) {
      throw ioError(error, doing, this.path)
    }
  }
}

/** The name of a file of a store, there and here. */
export function nameOf({ kind, number }: Pick<BackupFile, 'kind' | 'number'>): string {
  if (kind === 'log') return logFileName(number)
  return kind === 'segment' ? segmentFileName(number) : blobFileName(number)
}

function isOurs(name: string): boolean {
  const whole = name.endsWith(TEMPORARY_SUFFIX) ? name.slice(0, -TEMPORARY_SUFFIX.length) : name
  return name === LOCK_NAME || STORE_FOLDER.test(name) || parseBackupFileName(whole) !== undefined
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
