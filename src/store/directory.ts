import type { Env, FileLock } from '../env/env.js'
import {
  CURRENT_NAME,
  type FileKind,
  joinPath,
  LOCK_NAME,
  type ParsedFileName,
  parseFileName,
  parseViewDirectoryName,
} from '../env/file-names.js'
import { errorCode } from '../env/system-error.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { STORE_ID_BYTES } from '../log/log-format.js'

/** Files that only a store with a manifest has. */
const DATA_KINDS: readonly FileKind[] = ['log', 'segment', 'blob']

export interface DirectoryEntry extends ParsedFileName {
  readonly name: string
}

/** What a store's directory holds, sorted out; foreign names are not ours to touch and are left out. */
export interface DirectoryListing {
  readonly files: readonly DirectoryEntry[]
  readonly hasCurrent: boolean
  /** Whether views keep their data in it. */
  readonly hasViews: boolean
  /** Above every number in use. Ids of blob files are none. */
  readonly firstFreeNumber: number
}

export interface DirectoryOptions {
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly readOnly: boolean
}

/** Makes sure that `path` is a directory for a store. Creates at most the directory itself and its parents. */
export function prepareDirectory(env: Env, path: string, options: DirectoryOptions): string {
  const stat = attempt(path, () => env.fs.stat(path))
  if (stat && !stat.isDirectory) throw invalid(`${path} is a file`)
  let topmost: string | undefined
  if (!stat) {
    if (options.readOnly || !options.createIfMissing) throw invalid(`a store at ${path} does not exist`)
    topmost = attempt(path, () => env.fs.makeDirectory(path))
  }
  const directory = attempt(path, () => env.fs.realPath(path))
  const listing = listDirectory(env, directory)
  if (listing.hasCurrent && options.errorIfExists) throw invalid(`a store at ${path} exists already`)
  if (!listing.hasCurrent) {
    refuseWithoutCurrent(directory, listing)
    if (options.readOnly || !options.createIfMissing) throw invalid(`a store at ${path} does not exist`)
    refuseForeign(env, directory, listing)
    attempt(path, () => syncParents(env, path, topmost))
  }
  return directory
}

export function listDirectory(env: Env, directory: string): DirectoryListing {
  const names = attempt(directory, () => env.fs.list(directory))
  const files: DirectoryEntry[] = []
  let highest = 0
  for (const name of names) {
    const parsed = parseFileName(name)
    if (!parsed) continue
    files.push({ ...parsed, name })
    if (parsed.kind !== 'blob') highest = Math.max(highest, parsed.number)
  }
  const hasViews = names.some((name) => parseViewDirectoryName(name)?.isRemoved === false)
  return { files, hasCurrent: names.includes(CURRENT_NAME), hasViews, firstFreeNumber: highest + 1 }
}

/** Numbers of log files from `logNumber` on, ascending. */
export function logsFrom(listing: DirectoryListing, logNumber: number): number[] {
  const logs = listing.files.filter(({ kind, number }) => kind === 'log' && number >= logNumber)
  return logs.map(({ number }) => number).sort((a, b) => a - b)
}

/** What can't be removed harms nobody: its number is never used again, and the next open tries once more. */
export function removeIfThere(env: Env, path: string): void {
  try {
    if (env.fs.stat(path)) env.fs.remove(path)
  } catch {}
}

/**
 * The name of a new directory must be durable, and those of its parents, or all in it goes with them. All of them:
 * which ones are new is not known, where an earlier attempt had failed.
 * @param topmost the uppermost one that was made now.
 */
export function syncParents(env: Env, path: string, topmost: string | undefined): void {
  let child = path
  let isNew = topmost !== undefined
  while (child.lastIndexOf('/') >= 0 && child !== '/') {
    const parent = child.slice(0, Math.max(1, child.lastIndexOf('/')))
    try {
      env.fs.syncDirectory(parent)
    } catch (error) {
      // What we may not open we have not made; but what was made now must be durable.
      const code = errorCode(error)
      if (isNew || (code !== 'EACCES' && code !== 'EPERM')) throw error
    }
    if (child === topmost) isNew = false
    child = parent
  }
}

/** Logs or segments without CURRENT are a damaged store, not none. */
function refuseWithoutCurrent(directory: string, listing: DirectoryListing): void {
  const data = listing.files.find(({ kind }) => DATA_KINDS.includes(kind))
  if (data) throw corruption(joinPath(directory, CURRENT_NAME), 0, `the file is missing beside ${data.name}`)
}

/** A directory that holds something else is not turned into a store. */
function refuseForeign(env: Env, directory: string, listing: DirectoryListing): void {
  const ours = new Set(listing.files.map(({ name }) => name))
  const foreign = attempt(directory, () => env.fs.list(directory)).find(
    (name) => !ours.has(name) && !isHarmless(name),
  )
  if (!foreign) return
  throw new VarveError('VARVE_FORMAT_VERSION', `${directory} is not a store: it holds ${foreign}`, {
    file: joinPath(directory, foreign),
  })
}

function isHarmless(name: string): boolean {
  return name.startsWith('.') || name === 'lost+found' || name === LOCK_NAME
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    throw ioError(error, 'opening', path)
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}

export function takeLock(env: Env, path: string): FileLock {
  try {
    return env.fs.lock(path)
  } catch (error) {
    if (error instanceof VarveError && error.code === 'VARVE_LOCKED') {
      const message = `${error.message}: a store is open for writing once at a time, and readOnly reads beside it`
      throw new VarveError('VARVE_LOCKED', message, {
        file: path,
        ...(error.pid === undefined ? {} : { pid: error.pid }),
      })
    }
    throw ioError(error, 'locking', path)
  }
}

export function newStoreId(env: Env): Buffer {
  const storeId = Buffer.alloc(STORE_ID_BYTES)
  env.random.fill(storeId)
  return storeId
}
