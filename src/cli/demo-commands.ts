import type { Command } from 'commander'
import type { DemoOptions } from './demo-directory.js'

/** What each does is loaded when it is wanted. */
export function addDemoCommands(program: Command): void {
  program
    .command('demo [dir]')
    .description(
      'shows the store at work on 171,075 cities, a crash included; fails if a claim does not hold',
    )
    .option('--keep', 'keep the temporary directory')
    .action(async (directory: string | undefined, options: DemoOptions) => {
      const { runDemo } = await import('./demo.js')
      await runDemo(directory, options)
    })
  program
    .command('demo-log [dir]')
    .description('shows why everything else should follow one log; fails if a claim does not hold')
    .option('--keep', 'keep the temporary directory')
    .action(async (directory: string | undefined, options: DemoOptions) => {
      const { runLogDemo } = await import('./demo-log.js')
      await runLogDemo(directory, options)
    })
  program.command('demo-writer <dir>', { hidden: true }).action(async (directory: string) => {
    const { runDemoWriter } = await import('./demo-crash.js')
    await runDemoWriter(directory)
  })
  program
    .command('demo-log-writer <dir> <mode>', { hidden: true })
    .action(async (directory: string, mode: string) => {
      const { runCounterWriter } = await import('./demo-log-counter.js')
      await runCounterWriter(directory, mode)
    })
}
