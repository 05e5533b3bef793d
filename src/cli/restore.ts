import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { parseFileName } from '../env/file-names.js'
import { LOG_HEADER_BYTES, readLogHeader } from '../log/log-format.js'
import { UsageError } from './failure.js'
import { printJson, printLine } from './output.js'
import { startProgress } from './progress.js'
import { parseCount, requireDirectory, withJson } from './store.js'

interface RestoreOptions {
  readonly log?: string
  readonly to?: number
  readonly json?: boolean
}

export function addRestoreCommand(program: Command): void {
  const command = program
    .command('restore <checkpoint> <target>')
    .description('makes a store of a checkpoint and the log after it, up to a position, and verifies it')
    .option('--log <dir>', 'the directory with the log files, of the store itself or a copy')
    .option('--to <position>', 'where to end; left out: as far as the log goes', parseCount)
  withJson(command).action(runRestore)
}

async function runRestore(checkpoint: string, target: string, options: RestoreOptions): Promise<void> {
  requireDirectory(checkpoint)
  const { log, to } = options
  if (log === undefined) throw new UsageError('restore needs --log')
  requireDirectory(log)
  const { restore } = await import('../store/restore.js')
  const progress = startProgress('restore', 'positions', to ?? knownEnd(log))
  try {
    const { position } = await restore(target, {
      checkpoint,
      log,
      to,
      onProgress: (done) => progress.update(done),
    })
    if (options.json) printJson({ position })
    else printLine(`restored and verified: ${target} is at position ${position}`)
  } finally {
    progress.stop()
  }
}

/** Where the newest log file begins: the log goes at least that far. */
function knownEnd(directory: string): number | undefined {
  const logs = readdirSync(directory).filter((name) => parseFileName(name)?.kind === 'log')
  const newest = logs.sort((a, b) => parseFileName(a)!.number - parseFileName(b)!.number).pop()
  if (newest === undefined) return undefined
  try {
    const header = Buffer.alloc(LOG_HEADER_BYTES)
    const fd = openSync(join(directory, newest), 'r')
    readSync(fd, header, 0, header.length, 0)
    closeSync(fd)
    return readLogHeader(header, newest)?.basePosition
  } catch {
    // It is for the bar alone: what is wrong with the log shows when it is read.
    return undefined
  }
}
