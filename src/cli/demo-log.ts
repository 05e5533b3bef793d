import type { Command } from 'commander'
import { readCities } from './demo-data.js'
import { beginDemo, type DemoOptions } from './demo-directory.js'
import { runCounterWriter, showCounter } from './demo-log-counter.js'
import { showRace } from './demo-log-race.js'
import { showView } from './demo-log-view.js'
import { formatDuration } from './format.js'
import { printLine } from './output.js'

export function addLogDemoCommands(program: Command): void {
  program
    .command('demo-log [dir]')
    .description('shows why everything else should follow one log; fails if a claim does not hold')
    .option('--keep', 'keep the temporary directory')
    .action(runLogDemo)
  program.command('demo-log-writer <dir> <mode>', { hidden: true }).action(runCounterWriter)
}

async function runLogDemo(given: string | undefined, options: DemoOptions): Promise<void> {
  const startedAt = performance.now()
  const data = readCities()
  const directory = beginDemo('Varve: the log is the API', given, options)
  await showRace(directory)
  await showCounter(directory)
  await showView(directory, data)
  const { showFollower } = await import('./demo-log-follower.js')
  await showFollower(directory)
  printLine(`\nEvery claim held. ${formatDuration(performance.now() - startedAt)} in all.`)
}
