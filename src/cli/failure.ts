import { CommanderError } from 'commander'
import { VarveError, type VarveErrorCode } from '../errors.js'

export const EXIT_FINDING = 1
export const EXIT_WRONG_USE = 2

/** The caller asked for something that cannot be done: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What helps, where the code alone says it. */
const MENDS: Partial<Record<VarveErrorCode, string>> = {
  VARVE_LOCKED: 'end that process, or use a command that only reads',
  VARVE_NO_SPACE: 'make room and run it again',
  VARVE_CORRUPTION: 'varve verify says where, varve repair makes it open again',
  VARVE_FORMAT_VERSION: 'use the version of varve that wrote it',
}

/** A file of a directory of backups, which is no store to be repaired. */
const OF_BACKUPS = /\/[0-9a-f]{32}\/\d+\.(?:seg|log)$|\.backup$/

/** Says on stderr what went wrong, and returns the exit status for it. */
export function exitStatusOf(error: unknown): number {
  // Commander has printed its message already; help and version end here too, with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_WRONG_USE
  if (error instanceof UsageError) {
    complain(error.message)
    return EXIT_WRONG_USE
  }
  if (error instanceof VarveError) {
    const isBackup = error.code === 'VARVE_CORRUPTION' && OF_BACKUPS.test(error.file ?? '')
    const mend = isBackup ? 'varve restore --backup takes another backup' : MENDS[error.code]
    complain(`${error.code}: ${error.message}${mend === undefined ? '' : `; ${mend}`}`)
    const isWrongUse = error.code === 'VARVE_INVALID_ARGUMENT' || error.code === 'VARVE_LIMIT'
    return isWrongUse ? EXIT_WRONG_USE : EXIT_FINDING
  }
  const isSystemError = error instanceof Error && typeof (error as { code?: unknown }).code === 'string'
  if (isSystemError) complain(error.message)
  // A mistake of this program: where it was made is what a report of it needs.
  else
    process.stderr.write(
      `varve: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
  return EXIT_FINDING
}

/** Always one line. */
export function complain(message: string): void {
  process.stderr.write(`varve: ${message.trim().replaceAll(/\s*\n\s*/g, ' ')}\n`)
}
