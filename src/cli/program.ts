import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addBackupCommands } from './backup.js'
import { addCompletionCommand } from './completion.js'
import { addConsumerCommands } from './consumers.js'
import { addDemoCommands } from './demo-commands.js'
import { addDumpCommand } from './dump.js'
import { complain } from './failure.js'
import { teach } from './help.js'
import { addInspectCommands } from './inspect.js'
import { addKeyFileOption } from './key-file.js'
import { addLoadCommand } from './load.js'
import { addReadCommands } from './read.js'
import { addReplicationCommands } from './replicate.js'
import { addRestoreCommand } from './restore.js'
import { addTailCommand } from './tail.js'
import { addUpkeepCommands } from './upkeep.js'
import { addWriteCommands } from './write.js'

/** Every command, without running any. */
export function buildProgram(): Command {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const program = new Command('varve')
    .description('Looks into and works on a Varve store.')
    .version(manifest.version)
    .usage('<command> <dir> [options]')
    .configureOutput({ outputError: (text) => complain(text.replace(/^error: /, '')) })
    .exitOverride()
  addReadCommands(program)
  addTailCommand(program)
  addBackupCommands(program)
  addRestoreCommand(program)
  addWriteCommands(program)
  addLoadCommand(program)
  addDumpCommand(program)
  addUpkeepCommands(program)
  addInspectCommands(program)
  addConsumerCommands(program)
  addReplicationCommands(program)
  addDemoCommands(program)
  addCompletionCommand(program)
  addKeyFileOption(program)
  teach(program)
  return program
}
