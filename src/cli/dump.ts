import type { Command } from 'commander'
import type { BootstrapEntry } from '../feed/bootstrap.js'
import { withOutput } from './output.js'
import { startProgress } from './progress.js'
import { withStore } from './store.js'

const UPDATE_RECORDS = 1000

export function addDumpCommand(program: Command): void {
  program
    .command('dump <dir>')
    .description(
      'prints every entry as a line {"key":base64,"value":base64}, with expiresAt if it has one, which load takes',
    )
    .action(runDump)
}

async function runDump(directory: string): Promise<void> {
  await withStore(directory, 'read', (store) =>
    withOutput(async (output) => {
      // Old versions and deleted keys are counted too: it ends early rather than late.
      const progress = startProgress('dump', 'records', store.stats().entries)
      let records = 0
      try {
        for await (const event of store.bootstrap()) {
          if (event.type !== 'snapshot') break
          for (const entry of event.entries) {
            await output.write(lineOf(entry))
            // On a terminal the lines themselves show how far it is.
            if (++records % UPDATE_RECORDS === 0 && !process.stdout.isTTY) progress.update(records)
          }
        }
      } finally {
        progress.stop()
      }
    }),
  )
}

/** Base64 needs no escaping. */
function lineOf([key, value, , expiresAt]: BootstrapEntry<Buffer, Buffer>): string {
  const expiry = expiresAt === undefined ? '' : `,"expiresAt":${expiresAt}`
  return `{"key":"${key.toString('base64')}","value":"${value.toString('base64')}"${expiry}}\n`
}
