import { createReadStream, statSync } from 'node:fs'
import type { Command } from 'commander'
import type { BatchOp, Durability, WriteOptions } from '../store/contract.js'
import { UsageError } from './failure.js'
import { formatDuration, formatRate, plural } from './format.js'
import { readLines } from './line-reader.js'
import { printJson, printLine, withOutput } from './output.js'
import { type Progress, startProgress } from './progress.js'
import { type Store, withDurability, withJson, withStore } from './store.js'
import { toWriteOptions } from './write.js'

const BATCH_RECORDS = 1000
const BATCH_BYTES = 16 * 1024 * 1024
const TAB = 0x09

interface LoadOptions {
  readonly tsv?: boolean
  readonly durability?: Durability
  readonly json?: boolean
}

interface KeyAndValue {
  readonly key: Buffer
  readonly value: Buffer
}

export function addTransferCommands(program: Command): void {
  program
    .command('dump <dir>')
    .description('prints every entry as a line {"key":base64,"value":base64}')
    .action(runDump)

  const load = program
    .command('load <dir> [file]')
    .description('writes the lines of a dump, from stdin if no file is given, in batches of 1,000')
    .option('--tsv', 'the lines are key, tab, value')
  withJson(withDurability(load)).action(runLoad)
}

async function runDump(directory: string): Promise<void> {
  const progress = startProgress('dump', 'records')
  await withStore(directory, 'read', (store) =>
    withOutput(async (output) => {
      let records = 0
      for await (const [key, value] of store.entries()) {
        // Base64 needs no escaping.
        await output.write(`{"key":"${key.toString('base64')}","value":"${value.toString('base64')}"}\n`)
        // On a terminal the lines themselves show how far it is.
        if (++records % BATCH_RECORDS === 0 && !process.stdout.isTTY) progress.update(records)
      }
    }),
  ).finally(() => progress.stop())
}

async function runLoad(directory: string, file: string | undefined, options: LoadOptions): Promise<void> {
  if (file !== undefined && !statSync(file, { throwIfNoEntry: false })?.isFile()) {
    throw new UsageError(`no such file: ${file}`)
  }
  const input: AsyncIterable<Uint8Array> = file === undefined ? process.stdin : createReadStream(file)
  const parse = options.tsv ? parseTsvLine : parseJsonLine
  const startedAt = performance.now()
  const progress = startProgress('load', 'records')
  const { records, position } = await withStore(directory, 'create', async (store) => {
    const loader = new Loader(store, toWriteOptions(options), progress)
    for await (const lines of readLines(input)) for (const line of lines) await loader.add(line, parse)
    await loader.flush()
    return { records: loader.records, position: store.position }
  }).finally(() => progress.stop())
  const elapsedMs = performance.now() - startedAt
  if (options.json) printJson({ records, position, elapsedMs: Math.round(elapsedMs) })
  else {
    const rate = formatRate(records, elapsedMs, 'records')
    printLine(
      `loaded ${plural(records, 'record')} in ${formatDuration(elapsedMs)} (${rate}), position ${position}`,
    )
  }
}

class Loader {
  records = 0
  #lineNumber = 0
  #ops: BatchOp<Buffer, Buffer>[] = []
  #bytes = 0
  readonly #store: Store
  readonly #options: WriteOptions
  readonly #progress: Progress

  constructor(store: Store, options: WriteOptions, progress: Progress) {
    this.#store = store
    this.#options = options
    this.#progress = progress
  }

  async add(line: Buffer, parse: (line: Buffer) => KeyAndValue | string | undefined): Promise<void> {
    this.#lineNumber++
    const parsed = parse(line)
    if (parsed === undefined) return
    if (typeof parsed === 'string') {
      throw new UsageError(
        `line ${this.#lineNumber}: ${parsed}; ${plural(this.records, 'record')} loaded before`,
      )
    }
    this.#ops.push({ type: 'put', ...parsed })
    this.#bytes += line.length
    if (this.#ops.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES) await this.flush()
  }

  async flush(): Promise<void> {
    if (this.#ops.length === 0) return
    await this.#store.batch(this.#ops, this.#options)
    this.records += this.#ops.length
    this.#ops = []
    this.#bytes = 0
    this.#progress.update(this.records)
  }
}

/** A string says what is wrong with the line; undefined: an empty line. */
function parseJsonLine(line: Buffer): KeyAndValue | string | undefined {
  const text = line.toString('utf8')
  if (text.trim() === '') return undefined
  let fields: { key?: unknown; value?: unknown } | null
  try {
    fields = JSON.parse(text) as typeof fields
  } catch {
    return 'not JSON'
  }
  const key = fromBase64(fields?.key)
  if (key === undefined) return '"key" is not base64'
  const value = fromBase64(fields?.value)
  return value === undefined ? '"value" is not base64' : { key, value }
}

function parseTsvLine(line: Buffer): KeyAndValue | string {
  const tab = line.indexOf(TAB)
  return tab < 0 ? 'no tab' : { key: line.subarray(0, tab), value: line.subarray(tab + 1) }
}

function fromBase64(text: unknown): Buffer | undefined {
  if (typeof text !== 'string') return undefined
  const bytes = Buffer.from(text, 'base64')
  // Node skips what is no base64; only what comes back the same was.
  return bytes.toString('base64') === text ? bytes : undefined
}
