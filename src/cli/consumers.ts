import type { Command } from 'commander'
import { complain, EXIT_FINDING } from './failure.js'
import { formatBytes, formatCount, formatDuration, formatTable } from './format.js'
import { printJson, printLine } from './output.js'
import { withJson, withStore } from './store.js'

interface ConsumersOptions {
  readonly drop?: string
  readonly json?: boolean
}

export function addConsumerCommands(program: Command): void {
  const consumers = program
    .command('consumers <dir>')
    .description('lists the durable readers of the log and how far behind they are')
    .option('--drop <name>', 'forget one instead: the log is not kept for it any more')
  withJson(consumers).action(runConsumers)
}

async function runConsumers(directory: string, options: ConsumersOptions): Promise<void> {
  if (options.drop !== undefined) {
    await drop(directory, options.drop, options)
    return
  }
  const consumers = await withStore(directory, 'read', async (store) => store.stats().consumers)
  // Nobody has a consumer open in this process: that would say nothing about others.
  const rows = consumers.map(({ isOpen, ...row }) => row)
  if (options.json) {
    printJson(rows)
    return
  }
  if (rows.length === 0) {
    printLine('no consumers')
    return
  }
  const table = rows.map(({ name, position, lag, lagBytes, lagMs, parked }) => [
    // A name may hold anything: nothing of it reaches a terminal raw.
    JSON.stringify(name),
    formatCount(position),
    formatCount(lag),
    formatBytes(lagBytes),
    formatDuration(lagMs),
    formatCount(parked),
  ])
  for (const line of formatTable([['consumer', 'position', 'lag', 'log', 'age', 'parked'], ...table])) {
    printLine(line)
  }
}

async function drop(directory: string, name: string, options: ConsumersOptions): Promise<void> {
  const wasThere = await withStore(directory, 'write', async (store) => {
    // Opening one that is not there would make it.
    if (!store.stats().consumers.some((consumer) => consumer.name === name)) return false
    const consumer = await store.consumer(name)
    await consumer.drop()
    return true
  })
  if (!wasThere) {
    complain(`no consumer ${JSON.stringify(name)}`)
    process.exitCode = EXIT_FINDING
  } else if (options.json) printJson({ dropped: name })
  else printLine(`dropped ${JSON.stringify(name)}`)
}
