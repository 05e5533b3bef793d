import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { parseFileName } from '../env/file-names.js'
import type { Position } from '../key/position.js'
import { LOG_HEADER_BYTES, readLogHeader } from '../log/log-format.js'
import { holdsBackups, parsePlace, restoreFromBackups, type SecretOption, withSecretFile } from './backup.js'
import { UsageError } from './failure.js'
import { encryptionOptions } from './key-file.js'
import { printJson, printLine } from './output.js'
import { startProgress } from './progress.js'
import { requireDirectory, withJson } from './store.js'

interface RestoreOptions extends SecretOption {
  readonly log?: string
  readonly to?: Position | Date
  readonly backup?: string
  readonly json?: boolean
}

export function addRestoreCommand(program: Command): void {
  const command = program
    .command('restore <from> <target>')
    .description(
      'makes a store of a directory of backups, or of a checkpoint and the log after it, and verifies it',
    )
    .option(
      '--log <dir>',
      'with a checkpoint: the directory with the log files, of the store itself or a copy',
    )
    .option('--to <place>', 'a position, or of backups a time; left out: as far as it goes', parsePlace)
    .option('--backup <name>', 'of backups: the one to end with; left out: the newest')
  withJson(withSecretFile(command)).action(runRestore)
}

async function runRestore(from: string, target: string, options: RestoreOptions): Promise<void> {
  requireDirectory(from)
  const position =
    options.log === undefined && holdsBackups(from)
      ? await restoreFromBackups(from, target, options)
      : await restoreFromCheckpoint(from, target, options)
  if (options.json) printJson({ position })
  else printLine(`restored and verified: ${target} is at position ${position}`)
}

async function restoreFromCheckpoint(
  checkpoint: string,
  target: string,
  { log, to }: RestoreOptions,
): Promise<Position> {
  if (log === undefined) throw new UsageError('restore needs --log, or a directory of backups')
  if (to instanceof Date) throw new UsageError('--to is a position here: times are for backups')
  requireDirectory(log)
  const { restore } = await import('../backup/restore.js')
  const progress = startProgress('restore', 'positions', to ?? knownEnd(log))
  try {
    const onProgress = (done: Position) => progress.update(done)
    return (await restore(target, { checkpoint, log, to, ...encryptionOptions(), onProgress })).position
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
