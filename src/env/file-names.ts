/** Every name the store gives to a file. Anything else in the directory is not ours and is never touched. */
export type FileKind = 'log' | 'segment' | 'blob' | 'manifest' | 'current' | 'lock' | 'temporary'

export interface ParsedFileName {
  readonly kind: FileKind
  /** Of a blob file its id; 0 for the kinds that carry no number. */
  readonly number: number
}

export const CURRENT_NAME = 'CURRENT'
export const LOCK_NAME = 'LOCK'
export const CURRENT_TEMPORARY_NAME = 'CURRENT.tmp'

const MIN_DIGITS = 6
const BLOB_DIGITS = 12
const BLOB = /^([0-9a-f]{12})\.blob(\.tmp)?$/
const NUMBERED: readonly (readonly [FileKind, RegExp])[] = [
  ['log', /^(\d{6,})\.log$/],
  ['segment', /^(\d{6,})\.seg$/],
  ['manifest', /^MANIFEST-(\d{6,})$/],
  ['temporary', /^(\d{6,})\.(?:seg|log)\.tmp$/],
]

export function logFileName(number: number): string {
  return `${digits(number)}.log`
}

/** Where a log file is written that takes the place of the one of that number. */
export function temporaryLogName(number: number): string {
  return `${logFileName(number)}.tmp`
}

export function segmentFileName(number: number): string {
  return `${digits(number)}.seg`
}

/** Twelve hex digits: an id is no number of the store's, and does not look like one. */
export function blobFileName(id: number): string {
  return `${id.toString(16).padStart(BLOB_DIGITS, '0')}.blob`
}

export function manifestFileName(number: number): string {
  return `MANIFEST-${digits(number)}`
}

/** Undefined for a name that the store would not have given. */
export function parseFileName(name: string): ParsedFileName | undefined {
  if (name === CURRENT_NAME) return { kind: 'current', number: 0 }
  if (name === LOCK_NAME) return { kind: 'lock', number: 0 }
  if (name === CURRENT_TEMPORARY_NAME) return { kind: 'temporary', number: 0 }
  const [, blobId, suffix] = BLOB.exec(name) ?? []
  if (blobId !== undefined)
    return { kind: suffix ? 'temporary' : 'blob', number: suffix ? 0 : Number.parseInt(blobId, 16) }
  for (const [kind, pattern] of NUMBERED) {
    const text = pattern.exec(name)?.[1]
    if (text === undefined) continue
    const number = Number(text)
    // One number has one name: `0000001.log` beside `000001.log` would be two files for one number.
    return Number.isSafeInteger(number) && digits(number) === text ? { kind, number } : undefined
  }
  return undefined
}

export function joinPath(directory: string, name: string): string {
  return `${directory}/${name}`
}

function digits(number: number): string {
  return String(number).padStart(MIN_DIGITS, '0')
}

/** What the name of a view's directory says. */
export interface ViewDirectoryName {
  readonly view: string
  readonly version: string
  /** Tells builds of one version apart; never used twice while a directory of that number is there. */
  readonly build: number
  /** The directory is on its way out: whatever is left in it goes. */
  readonly isRemoved: boolean
}

const VIEW_DIRECTORY = /^((?:[a-z0-9_]|%[0-9a-f]{2})+)@((?:[a-z0-9_.]|%[0-9a-f]{2})+)-(\d{6,})\.view(\.tmp)?$/
const REMOVED_SUFFIX = '.tmp'

/** Capital letters are written as bytes too: some file systems do not tell them apart. */
export function viewDirectoryName(view: string, version: string, build: number): string {
  return `${plain(view, /[a-z0-9_]/)}@${plain(version, /[a-z0-9_.]/)}-${digits(build)}.view`
}

/** The name that a view's directory gets before it is removed. */
export function removedViewName(name: string): string {
  return `${name}${REMOVED_SUFFIX}`
}

/** Undefined for a name that `viewDirectoryName` and `removedViewName` would not have given. */
export function parseViewDirectoryName(name: string): ViewDirectoryName | undefined {
  const match = VIEW_DIRECTORY.exec(name)
  if (!match) return undefined
  const [, view, version, build, suffix] = match
  const parsed = { view: fromPlain(view!), version: fromPlain(version!), build: Number(build) }
  const given = viewDirectoryName(parsed.view, parsed.version, parsed.build)
  if (!Number.isSafeInteger(parsed.build) || `${given}${suffix ?? ''}` !== name) return undefined
  return { ...parsed, isRemoved: suffix !== undefined }
}

function plain(text: string, allowed: RegExp): string {
  let written = ''
  for (const byte of new TextEncoder().encode(text)) {
    const char = String.fromCharCode(byte)
    written += byte < 128 && allowed.test(char) ? char : `%${byte.toString(16).padStart(2, '0')}`
  }
  return written
}

function fromPlain(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // Bytes that are no UTF-8: writing them again gives another name.
    return ''
  }
}
