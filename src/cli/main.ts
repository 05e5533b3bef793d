#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { addConsumerCommands } from './consumers.js'
import { addDemoCommands } from './demo.js'
import { addLogDemoCommands } from './demo-log.js'
import { exitStatusOf } from './failure.js'
import { addInspectCommands } from './inspect.js'
import { endQuietlyOnClosedPipe } from './output.js'
import { addReadCommands } from './read.js'
import { addReplicationCommands } from './replicate.js'
import { addRestoreCommand } from './restore.js'
import { addTailCommand } from './tail.js'
import { addTransferCommands } from './transfer.js'
import { addUpkeepCommands } from './upkeep.js'
import { addWriteCommands } from './write.js'

function buildProgram(): Command {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const program = new Command('varve')
    .description('Looks into and works on a Varve store.')
    .version(manifest.version)
    .usage('<command> <dir> [options]')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'varve: ')) })
    .addHelpText('after', '\nExit status: 0; 1 a finding, or not found; 2 wrong use.')
    .exitOverride()
  addReadCommands(program)
  addTailCommand(program)
  addRestoreCommand(program)
  addWriteCommands(program)
  addTransferCommands(program)
  addUpkeepCommands(program)
  addInspectCommands(program)
  addConsumerCommands(program)
  addReplicationCommands(program)
  addDemoCommands(program)
  addLogDemoCommands(program)
  return program
}

endQuietlyOnClosedPipe()
try {
  await buildProgram().parseAsync(process.argv)
} catch (error) {
  process.exitCode = exitStatusOf(error)
}
