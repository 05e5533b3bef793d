import type { Command } from 'commander'
import { parseCount, withHexKey, withJson } from './store.js'
import type { TailOptions } from './tail-log.js'

export function addTailCommand(program: Command): void {
  const tail = program
    .command('tail <dir>')
    .description('prints each batch of the log with what it wrote, also while another process writes')
    .option('--from <position>', 'the first position; left out: the oldest that the log holds', parseCount)
    .option('-f, --live', 'go on with what is written from now on')
    .option('--prefix <key>', 'only keys that start so')
  withJson(withHexKey(tail)).action(async (directory: string, options: TailOptions) => {
    const { tailLog } = await import('./tail-log.js')
    await tailLog(directory, options)
  })
}
