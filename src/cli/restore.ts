import type { Command } from 'commander'
import { restore } from '../store/restore.js'
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
  const progress = startProgress('restore', 'positions', to)
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
