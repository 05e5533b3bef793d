/** Every name the store gives to a file. Anything else in the directory is not ours and is never touched. */
export type FileKind = 'log' | 'segment' | 'manifest' | 'current' | 'lock' | 'temporary'

export interface ParsedFileName {
  readonly kind: FileKind
  /** 0 for the kinds that carry no number. */
  readonly number: number
}

export const CURRENT_NAME = 'CURRENT'
export const LOCK_NAME = 'LOCK'
export const CURRENT_TEMPORARY_NAME = 'CURRENT.tmp'

const MIN_DIGITS = 6
const NUMBERED: readonly (readonly [FileKind, RegExp])[] = [
  ['log', /^(\d{6,})\.log$/],
  ['segment', /^(\d{6,})\.seg$/],
  ['manifest', /^MANIFEST-(\d{6,})$/],
  ['temporary', /^(\d{6,})\.(?:seg|log)\.tmp$/],
]

export function logFileName(number: number): string {
  return `${digits(number)}.log`
}

export function segmentFileName(number: number): string {
  return `${digits(number)}.seg`
}

export function manifestFileName(number: number): string {
  return `MANIFEST-${digits(number)}`
}

/** Undefined for a name that the store would not have given. */
export function parseFileName(name: string): ParsedFileName | undefined {
  if (name === CURRENT_NAME) return { kind: 'current', number: 0 }
  if (name === LOCK_NAME) return { kind: 'lock', number: 0 }
  if (name === CURRENT_TEMPORARY_NAME) return { kind: 'temporary', number: 0 }
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
