import { Command } from 'commander'
import { nearestName } from '../util/option-names.js'
import { UsageError } from './failure.js'

interface CommandHelp {
  readonly group: string
  /** What one might want, and the line for it, without `varve`. */
  readonly examples: readonly (readonly [want: string, line: string])[]
}

const DATA = 'Data:'
const MOVING = 'In and out:'
const UPKEEP = 'Upkeep:'
const LOG = 'The log and its readers:'
const FILES = 'Files:'
const MORE = 'More:'

/** In the order in which they are listed. */
export const COMMAND_HELP: Readonly<Record<string, CommandHelp>> = {
  get: {
    group: DATA,
    examples: [
      ['The value of a key', 'get ./data city:no:oslo'],
      ['With its position, for a program', 'get ./data city:no:oslo --json'],
      ['A key of bytes, its value in hexadecimal', 'get ./data 00ff --hex-key --hex'],
    ],
  },
  put: {
    group: DATA,
    examples: [
      ['A value', 'put ./data city:no:oslo Oslo'],
      [
        'A file as the value, on disk when the command returns',
        'put ./data logo --durability disk < logo.png',
      ],
    ],
  },
  del: { group: DATA, examples: [['A key', 'del ./data city:no:oslo']] },
  scan: {
    group: DATA,
    examples: [
      ['The first ten keys of a kind', 'scan ./data --prefix city: --keys --limit 10'],
      ['A range, backwards', 'scan ./data --gte a --lt b --reverse'],
      ['As JSON lines, for a program', 'scan ./data --json | jq -r .value'],
      ['Where keys are tuples', `scan ./data --prefix '["user",2]'`],
    ],
  },
  load: {
    group: MOVING,
    examples: [
      ['What dump wrote', 'load ./copy data.jsonl'],
      ['A copy of a store, without a file between', 'dump ./data | varve load ./copy'],
      ['Lines {"key":"a","value":"text or any JSON"} of your own', 'load ./data --format ndjson < lines.txt'],
      [
        'A spreadsheet: the column id is the key, the others become JSON',
        'load ./data cities.csv --key-column id',
      ],
      ['From RocksDB', 'load ./data --format rocksdb < dump.txt   # ldb --db=old --hex dump > dump.txt'],
      [
        'From LevelDB',
        'load ./data --format leveldb < dump.txt   # leveldbutil dump old/*.ldb old/*.log > dump.txt',
      ],
    ],
  },
  dump: {
    group: MOVING,
    examples: [
      ['Everything, packed', 'dump ./data | gzip > data.jsonl.gz'],
      ['Into another store', 'dump ./data | varve load ./copy'],
    ],
  },
  stats: {
    group: UPKEEP,
    examples: [
      ['Once', 'stats ./data'],
      ['Each second, also beside the process that writes', 'stats ./data --watch'],
      ['How large keys and values are', 'stats ./data --histogram'],
      ['The same of a large store, out of some thousand blocks', 'stats ./data --histogram --sample 2000'],
    ],
  },
  verify: {
    group: UPKEEP,
    examples: [['Before a backup is trusted', 'verify ./backup && echo sound']],
  },
  repair: {
    group: UPKEEP,
    examples: [['What is lost, for a program', 'repair ./data --json']],
  },
  compact: {
    group: UPKEEP,
    examples: [
      ['Everything', 'compact ./data'],
      ['Only what was deleted', 'compact ./data --from session: --to session:~'],
    ],
  },
  checkpoint: {
    group: UPKEEP,
    examples: [['A backup of a store that no process has open', 'checkpoint ./data ./backup-monday']],
  },
  backup: {
    group: UPKEEP,
    examples: [
      ['A store that no process has open; copies only what is new', 'backup ./data /mnt/backups'],
      [
        'So that every position between two backups can be restored',
        'backup ./data /mnt/backups --consumer nightly',
      ],
      [
        'Signed, at most 50 MB a second, a week of them',
        'backup ./data /mnt/backups --secret-file secret --max-rate 50000000 --keep 7',
      ],
    ],
  },
  backups: {
    group: UPKEEP,
    examples: [
      ['What there is', 'backups /mnt/backups'],
      ['Whether every byte is what was written', 'backups /mnt/backups --verify'],
    ],
  },
  restore: {
    group: UPKEEP,
    examples: [
      ['The newest backup', 'restore /mnt/backups ./restored'],
      ['As it was at a time', 'restore /mnt/backups ./restored --to 2026-01-31T18:30:00Z'],
      ['A checkpoint and what came after it', 'restore ./backup-monday ./restored --log ./data'],
      ['As it was just before position 4711', 'restore ./backup-monday ./restored --log ./data --to 4710'],
    ],
  },
  tail: {
    group: LOG,
    examples: [
      ['What is written from now on, beside the process that writes', 'tail ./data --live --from 4711'],
      ['Of some keys, as JSON lines', 'tail ./data --prefix city: --json'],
    ],
  },
  consumers: {
    group: LOG,
    examples: [
      ['Who is behind', 'consumers ./data'],
      ['One that will not come back', 'consumers ./data --drop mailer'],
    ],
  },
  serve: {
    group: LOG,
    examples: [
      ['For followers on this machine', 'serve ./data --port 7400'],
      [
        'For others',
        'serve ./data --host 0.0.0.0 --port 7400 --token-file token --cert cert.pem --key key.pem',
      ],
    ],
  },
  follow: {
    group: LOG,
    examples: [['A copy that keeps up', 'follow ./copy --leader http://127.0.0.1:7400']],
  },
  log: { group: FILES, examples: [['From a position on', 'log ./data --from 4711']] },
  segment: {
    group: FILES,
    examples: [['Its properties and entries', 'segment ./data 000007.seg --keys']],
  },
  manifest: { group: FILES, examples: [['As JSON lines', 'manifest ./data --json']] },
  completion: {
    group: MORE,
    examples: [['For this shell', 'completion bash > varve.bash && . ./varve.bash']],
  },
  demo: { group: MORE, examples: [['In a temporary directory', 'demo']] },
  'demo-log': { group: MORE, examples: [['In a temporary directory', 'demo-log']] },
}

/** `help` of a command that there is not would show the list of all, which says nothing of the mistake. */
export function checkHelpTopic(program: Command, [command, topic]: readonly string[]): void {
  if (command !== 'help' || topic === undefined || topic.startsWith('-')) return
  const names = program.commands.map((each) => each.name())
  if (topic === 'help' || names.includes(topic)) return
  const nearest = nearestName(topic, names)
  throw new UsageError(
    `unknown command '${topic}'${nearest === undefined ? '' : ` (Did you mean ${nearest}?)`}`,
  )
}

/** Sorts the commands into groups and gives each its examples. */
export function teach(program: Command): void {
  const names = Object.keys(COMMAND_HELP)
  const order = (command: Command) => (names.indexOf(command.name()) + names.length + 1) % (names.length + 1)
  ;(program.commands as Command[]).sort((a, b) => order(a) - order(b))
  for (const command of program.commands) {
    const help = COMMAND_HELP[command.name()]
    if (help === undefined) continue
    command.helpGroup(help.group)
    const lines = help.examples.map(([want, line]) => `  # ${want}\n  varve ${line}`)
    command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
  }
  program.addHelpCommand(
    new Command('help')
      .argument('[command]')
      .description('shows a command and examples of it')
      .helpGroup(MORE),
  )
  program.addHelpText(
    'after',
    `
Keys and values are bytes: text is taken as UTF-8. Where keys are tuples, get, put, del, scan and tail take and show
them as JSON arrays: '["a",1]'. Commands that only read need no lock and may run beside the
process that has the store open. varve help <command> shows examples of each.

Exit status: 0; 1 a finding, or not found; 2 wrong use.`,
  )
}
