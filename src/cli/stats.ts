import { type Command, InvalidArgumentError, Option } from 'commander'
import { printJson, printLine } from './output.js'
import { describeStats, statsToJson } from './stats-report.js'
import { parseCount, withJson, withStore } from './store.js'

const INTERVAL_SECONDS = 1
const DAY_SECONDS = 86_400

interface StatsOptions {
  readonly json?: boolean
  readonly watch?: boolean
  readonly interval?: number
  readonly count?: number
  readonly histogram?: boolean
  readonly sample?: number
}

export function addStatsCommand(program: Command): void {
  const stats = program
    .command('stats <dir>')
    .description(
      'prints positions, levels, bytes and amplification; the sizes of keys and values; or looks on',
    )
    .addOption(
      new Option('--watch', 'again and again, also beside the process that writes').conflicts('histogram'),
    )
    .addOption(
      new Option('--interval <seconds>', `how often; default ${INTERVAL_SECONDS}`)
        .argParser(parseSeconds)
        .implies({ watch: true }),
    )
    .addOption(
      new Option('--count <n>', 'how many times; left out: until it is interrupted')
        .argParser(parseCount)
        .implies({ watch: true }),
    )
    .option('--histogram', 'reads everything, and shows how many keys and values have which size')
    .addOption(
      new Option('--sample <blocks>', 'the same out of so many blocks of the segments')
        .argParser(parseBlocks)
        .implies({ histogram: true }),
    )
  withJson(stats).action(runStats)
}

async function runStats(directory: string, options: StatsOptions): Promise<void> {
  const json = options.json === true
  if (options.watch) {
    const intervalMs = (options.interval ?? INTERVAL_SECONDS) * 1000
    const { watchStats } = await import('./watch.js')
    await watchStats(directory, { intervalMs, count: options.count, json })
  } else if (options.histogram) {
    const { describeHistogram, measureSizes } = await import('./histogram.js')
    const report = await measureSizes(directory, options.sample)
    if (json) printJson(report)
    else printLine(describeHistogram(report).join('\n'))
  } else {
    const stats = await withStore(directory, 'read', async (store) => store.stats())
    if (json) printJson(statsToJson(stats))
    else printLine(describeStats(stats).join('\n'))
  }
}

function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (text.trim() !== '' && seconds >= 0.05 && seconds <= DAY_SECONDS) return seconds
  throw new InvalidArgumentError(`It must be a number of seconds, from 0.05 to ${DAY_SECONDS}.`)
}

function parseBlocks(text: string): number {
  const blocks = parseCount(text)
  if (blocks >= 1 && blocks <= 10_000_000) return blocks
  throw new InvalidArgumentError('It must be a whole number from 1 to 10,000,000.')
}
