import { CommanderError } from 'commander'
import { VarveError } from '../errors.js'

export const EXIT_FINDING = 1
export const EXIT_WRONG_USE = 2

/** The caller asked for something that cannot be done: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Says on stderr what went wrong, and returns the exit status for it. */
export function exitStatusOf(error: unknown): number {
  // Commander has printed its message already; help and version end here too, with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_WRONG_USE
  if (error instanceof UsageError) {
    complain(error.message)
    return EXIT_WRONG_USE
  }
  if (error instanceof VarveError) {
    complain(`${error.code}: ${error.message}`)
    const isWrongUse = error.code === 'VARVE_INVALID_ARGUMENT' || error.code === 'VARVE_LIMIT'
    return isWrongUse ? EXIT_WRONG_USE : EXIT_FINDING
  }
  const isSystemError = error instanceof Error && typeof (error as { code?: unknown }).code === 'string'
  if (isSystemError) complain(error.message)
  else complain(error instanceof Error ? (error.stack ?? error.message) : String(error))
  return EXIT_FINDING
}

export function complain(message: string): void {
  process.stderr.write(`varve: ${message}\n`)
}
