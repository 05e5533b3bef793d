import type { Env } from '../env/env.js'
import { CURRENT_NAME, joinPath, LOCK_NAME, type ParsedFileName, parseFileName } from '../env/file-names.js'
import { corruption, ioError, VarveError } from '../errors.js'

export interface DirectoryEntry extends ParsedFileName {
  readonly name: string
}

/** What a store's directory holds, sorted out; foreign names are not ours to touch and are left out. */
export interface DirectoryListing {
  readonly files: readonly DirectoryEntry[]
  readonly hasCurrent: boolean
  /** Above every number in use. */
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
  if (!stat) {
    if (options.readOnly || !options.createIfMissing) throw invalid(`a store at ${path} does not exist`)
    attempt(path, () => {
      const topmost = env.fs.makeDirectory(path)
      if (topmost) syncParents(env, path, topmost)
    })
  }
  const directory = attempt(path, () => env.fs.realPath(path))
  const listing = listDirectory(env, directory)
  if (listing.hasCurrent && options.errorIfExists) throw invalid(`a store at ${path} exists already`)
  if (!listing.hasCurrent) {
    refuseWithoutCurrent(directory, listing)
    if (options.readOnly || !options.createIfMissing) throw invalid(`a store at ${path} does not exist`)
    refuseForeign(env, directory, listing)
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
    highest = Math.max(highest, parsed.number)
  }
  return { files, hasCurrent: names.includes(CURRENT_NAME), firstFreeNumber: highest + 1 }
}

/** The new names up to the one that was there before must be durable, or the store goes with them. */
function syncParents(env: Env, path: string, topmost: string): void {
  for (let child = path; ; ) {
    const parent = child.slice(0, Math.max(1, child.lastIndexOf('/')))
    env.fs.syncDirectory(parent)
    if (child === topmost || parent === child || parent === '/') return
    child = parent
  }
}

/** Logs or segments without CURRENT are a damaged store, not none. */
function refuseWithoutCurrent(directory: string, listing: DirectoryListing): void {
  const data = listing.files.find(({ kind }) => kind === 'log' || kind === 'segment')
  if (data) throw corruption(joinPath(directory, CURRENT_NAME), 0, `the file is missing beside ${data.name}`)
}

/** A directory that holds something else is not turned into a store. */
function refuseForeign(env: Env, directory: string, listing: DirectoryListing): void {
  const ours = new Set(listing.files.map(({ name }) => name))
  const foreign = env.fs.list(directory).find((name) => !ours.has(name) && !isHarmless(name))
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
