import { type Command, Option } from 'commander'
import type { Range, Snapshot } from '../store/contract.js'
import { complain, EXIT_FINDING } from './failure.js'
import { jsonField } from './format.js'
import { type KeyedStore, withKeysOf } from './keys.js'
import { printJson, withOutput } from './output.js'
import { parseCount, withHexKey, withJson, withStore } from './store.js'

interface GetOptions {
  readonly hex?: boolean
  readonly hexKey?: boolean
  readonly json?: boolean
}

interface ScanOptions extends GetOptions {
  readonly prefix?: string
  readonly gt?: string
  readonly gte?: string
  readonly lt?: string
  readonly lte?: string
  readonly reverse?: boolean
  readonly limit?: number
  readonly keys?: boolean
  readonly values?: boolean
}

export function addReadCommands(program: Command): void {
  const get = program.command('get <dir> <key>').description('prints the value of a key; 1 if there is none')
  withJson(withHexKey(get)).option('--hex', 'print the value in hexadecimal').action(runGet)

  const scan = program.command('scan <dir>').description('prints a range as lines of key, tab, value')
  withJson(withHexKey(scan))
    .option('--prefix <key>', 'only keys that start so')
    .option('--gt <key>', 'only keys after this one')
    .option('--gte <key>', 'only this key and those after it')
    .option('--lt <key>', 'only keys before this one')
    .option('--lte <key>', 'only this key and those before it')
    .option('--reverse', 'from the last to the first')
    .option('--limit <n>', 'at most so many', parseCount)
    .addOption(new Option('--keys', 'only the keys').conflicts('values'))
    .addOption(new Option('--values', 'only the values').conflicts('keys'))
    .option('--hex', 'print keys and values in hexadecimal')
    .action(runScan)
}

async function runGet(directory: string, keyText: string, options: GetOptions): Promise<void> {
  // What --hex is about here is the value alone.
  const { keyFields, entry } = await withStore(directory, 'read', async (store) => {
    const { db, parse, fields } = await withKeysOf(store, { hexKey: options.hexKey === true })
    const key = parse(keyText)
    return { keyFields: fields(key), entry: await db.getEntry(key) }
  })
  if (entry === undefined) {
    complain('key not found')
    process.exitCode = EXIT_FINDING
    return
  }
  if (options.json) {
    const isHex = options.hex === true
    printJson({
      ...keyFields,
      ...toField('value', entry.value, isHex),
      position: entry.position,
      expiresAt: entry.expiresAt,
    })
    return
  }
  await withOutput((output) => output.write(options.hex ? entry.value.toString('hex') : entry.value, '\n'))
}

async function runScan(directory: string, options: ScanOptions): Promise<void> {
  await withStore(directory, 'read', async (store) => {
    const keyed = await withKeysOf(store, options)
    // One state for the entries and for what is asked about each of them.
    const snapshot = store.snapshot()
    const range = { ...toRange(keyed, options), snapshot }
    try {
      await withOutput(async (output) => {
        for await (const line of lines(keyed, range, options)) await output.write(...line, '\n')
      })
    } finally {
      snapshot.close()
    }
  })
}

async function* lines(
  { db, show, fields }: KeyedStore,
  range: Range<unknown> & { readonly snapshot: Snapshot },
  options: ScanOptions,
): AsyncGenerator<(string | Buffer)[]> {
  const isHex = options.hex === true
  const showValue = (value: Buffer): string | Buffer => {
    if (options.json) return JSON.stringify(toField('value', value, isHex))
    return isHex ? value.toString('hex') : value
  }
  if (options.keys)
    for await (const key of db.keys(range)) yield [options.json ? JSON.stringify(fields(key)) : show(key)]
  else if (options.values) for await (const value of db.values(range)) yield [showValue(value)]
  else {
    for await (const [key, value] of db.entries(range)) {
      if (options.json) {
        const entry = await db.getEntry(key, { snapshot: range.snapshot })
        const both = { ...fields(key), ...toField('value', value, isHex) }
        yield [JSON.stringify({ ...both, expiresAt: entry?.expiresAt })]
      } else yield [show(key), '\t', showValue(value)]
    }
  }
}

function toRange({ parse }: KeyedStore, options: ScanOptions): Range<unknown> {
  const bound = (text: string | undefined) => (text === undefined ? undefined : parse(text))
  return {
    prefix: bound(options.prefix),
    gt: bound(options.gt),
    gte: bound(options.gte),
    lt: bound(options.lt),
    lte: bound(options.lte),
    reverse: options.reverse === true,
    limit: options.limit,
  }
}

function toField(name: string, bytes: Buffer, isHex: boolean): Record<string, string> {
  return isHex ? { [name]: bytes.toString('hex') } : jsonField(name, bytes)
}
