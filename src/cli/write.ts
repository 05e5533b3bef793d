import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Durability, WriteOptions } from '../store/contract.js'
import { UsageError } from './failure.js'
import { encodingsOf, withKeysOf } from './keys.js'
import { printJson, printLine } from './output.js'
import { parseDuration, withDurability, withHexKey, withJson, withStore } from './store.js'

interface WriteCommandOptions {
  readonly durability?: Durability
  readonly hexKey?: boolean
  readonly json?: boolean
  /** Milliseconds. */
  readonly ttl?: number
}

export function addWriteCommands(program: Command): void {
  const put = program
    .command('put <dir> <key> [value]')
    .description('writes a value, from stdin if none is given, and prints its position')
  put.option('--ttl <time>', 'delete it after so long: 500ms, 10s, 5m, 2h, 7d', parseDuration)
  withJson(withHexKey(withDurability(put))).action(runPut)

  const del = program.command('del <dir> <key>').description('deletes a key and prints the position of that')
  withJson(withHexKey(withDurability(del))).action(runDel)
}

async function runPut(
  directory: string,
  keyText: string,
  valueText: string | undefined,
  options: WriteCommandOptions,
): Promise<void> {
  if (valueText === undefined && process.stdin.isTTY)
    process.stderr.write('reading the value from the terminal: end it with Ctrl-D\n')
  const value = valueText === undefined ? await buffer(process.stdin) : Buffer.from(valueText, 'utf8')
  const position = await withStore(directory, 'create', async (store) => {
    const { db, parse } = await withKeysOf(store, options)
    const key = parse(keyText)
    if ((await encodingsOf(store)).valueEncoding === 'json') checkJson(value)
    return db.put(key, value, { ...toWriteOptions(options), ttlMs: options.ttl })
  })
  printPosition(position, options)
}

async function runDel(directory: string, keyText: string, options: WriteCommandOptions): Promise<void> {
  const position = await withStore(directory, 'write', async (store) => {
    const { db, parse } = await withKeysOf(store, options)
    return db.del(parse(keyText), toWriteOptions(options))
  })
  printPosition(position, options)
}

/** The program that made the store could not read anything else. */
function checkJson(value: Buffer): void {
  try {
    JSON.parse(value.toString('utf8'))
  } catch {
    throw new UsageError(`the values of this store are JSON, and this is none: text is written '"text"'`)
  }
}

export function toWriteOptions(options: { readonly durability?: Durability }): WriteOptions {
  return options.durability === undefined ? {} : { durability: options.durability }
}

export function printPosition(position: number, options: { readonly json?: boolean }): void {
  if (options.json) printJson({ position })
  else printLine(String(position))
}
