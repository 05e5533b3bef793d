import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { paint } from './demo-report.js'
import { UsageError } from './failure.js'
import { printLine } from './output.js'

export interface DemoOptions {
  readonly keep?: boolean
}

/** Prints the head of a demo and returns its directory: the one that was given, or one that is removed at the end. */
export function beginDemo(title: string, given: string | undefined, options: DemoOptions): string {
  if (given !== undefined) requireUnused(given)
  const directory = given ?? makeTemporaryDirectory(options.keep === true)
  const isRemoved = given === undefined && !options.keep
  printLine(`${paint('bold', title)}  Node ${process.version}, ${process.platform} ${process.arch}`)
  printLine(`in ${directory}${isRemoved ? ' (removed at the end)' : ''}`)
  return directory
}

function makeTemporaryDirectory(isKept: boolean): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-demo-'))
  if (isKept) return directory
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  // Without a listener a signal ends the process before its exit handlers.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  return directory
}

/** A demo counts what it finds: it wants a directory of its own. */
function requireUnused(directory: string): void {
  const stats = statSync(directory, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isDirectory() || readdirSync(directory).length > 0) {
    throw new UsageError(`the demo wants a new or empty directory: ${directory}`)
  }
}
