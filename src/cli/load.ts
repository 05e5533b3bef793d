import { createReadStream, fstatSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { type Command, Option } from 'commander'
import type { Durability, WriteOptions } from '../store/contract.js'
import { UsageError } from './failure.js'
import { formatCount, formatDuration, formatRate, plural } from './format.js'
import {
  BadInput,
  hexDumpParser,
  type LoadOp,
  type LoadSource,
  lineSource,
  parseDumpLine,
  parseNdjsonLine,
  parseTsvLine,
} from './load-source.js'
import { printJson, printLine } from './output.js'
import { type Progress, startProgress } from './progress.js'
import { type Store, withDurability, withJson, withStore } from './store.js'
import { toWriteOptions } from './write.js'

const BATCH_RECORDS = 1000
const BATCH_BYTES = 16 * 1024 * 1024

const FORMATS = ['dump', 'ndjson', 'csv', 'tsv', 'rocksdb', 'leveldb'] as const
type Format = (typeof FORMATS)[number]

interface LoadOptions {
  readonly format?: Format
  readonly tsv?: boolean
  readonly keyColumn?: string
  readonly valueColumn?: string
  readonly header: boolean
  readonly delimiter?: string
  readonly durability?: Durability
  readonly json?: boolean
}

export function addLoadCommand(program: Command): void {
  const load = program
    .command('load <dir> [files...]')
    .description(
      'writes what files, or stdin, hold into a store, which it makes if needed, in batches of 1,000',
    )
    .addOption(
      new Option('--format <name>', 'what they hold; left out: what the name ends with, or dump').choices(
        FORMATS,
      ),
    )
    .addOption(new Option('--tsv', 'the same as --format tsv').conflicts('format'))
    .option('--key-column <column>', 'CSV: name or number of the column with the key; default 1')
    .option(
      '--value-column <column>',
      'CSV: the column with the value; default: the other of two, or all as JSON',
    )
    .option('--no-header', 'CSV: the first row is data, not names')
    .option('--delimiter <text>', 'CSV: what stands between columns; default a comma')
  withJson(withDurability(load)).action(runLoad)
  load.addHelpText(
    'after',
    `
Formats:
  dump     lines {"key":base64,"value":base64}, as dump prints them, and "expiresAt" of what expires
  ndjson   lines {"key":text,"value":text or any JSON}, as scan --json prints them; keyBase64, valueBase64 for bytes
  csv      rows, quoted as in RFC 4180, the first with names; more than two columns: the value is JSON of the others
  tsv      lines of key, tab, value, as scan prints them; nothing is escaped
  rocksdb  what ldb dump --hex or ldb scan --hex prints
  leveldb  what leveldbutil dump prints of .ldb and .log files, or ldb idump --hex, sst_dump --output_hex: all files at
           once, in any order; leveldbutil escapes no backslashes, so text like \\x0a is taken for the byte`,
  )
}

async function runLoad(directory: string, files: readonly string[], options: LoadOptions): Promise<void> {
  for (const file of files) {
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) throw new UsageError(`no such file: ${file}`)
  }
  const format = formatOf(files, options)
  const source = await sourceOf(directory, format, options)
  // Only where the newest of many versions is looked for do files belong together.
  const inputs = format === 'leveldb' || files.length === 0 ? [files] : files.map((file) => [file])
  const startedAt = performance.now()
  const progress = startProgress('load', 'bytes')
  const { records, position } = await withStore(directory, 'create', async (store) => {
    const loader = new Loader(store, toWriteOptions(options), progress, sizeOfInput(files))
    for (const input of inputs)
      await loader.run(source(loader.counted(chunksOf(input))), files.length > 1 ? input[0] : undefined)
    return { records: loader.records, position: store.position }
  }).finally(() => progress.stop())
  const elapsedMs = performance.now() - startedAt
  if (options.json) printJson({ records, position, elapsedMs: Math.round(elapsedMs) })
  else {
    const rate = formatRate(records, elapsedMs, 'records')
    // What was guessed is said: text whose letters happen to be base64 would pass for a dump.
    const guess = options.format === undefined && !options.tsv ? ` as ${format}` : ''
    printLine(
      `loaded ${plural(records, 'record')} in ${formatDuration(elapsedMs)} (${rate})${guess}, position ${position}`,
    )
  }
}

function formatOf(files: readonly string[], options: LoadOptions): Format {
  const [first] = files
  const named = first === undefined ? undefined : extname(first).slice(1).toLowerCase()
  const guessed = named === 'csv' || named === 'tsv' || named === 'ndjson' ? named : 'dump'
  const format = options.format ?? (options.tsv ? 'tsv' : guessed)
  const hasCsvOption =
    options.keyColumn !== undefined || options.valueColumn !== undefined || options.delimiter !== undefined
  if (format !== 'csv' && (hasCsvOption || !options.header))
    throw new UsageError(`columns, header and delimiter are of CSV, not of ${format}: add --format csv`)
  return format
}

async function sourceOf(directory: string, format: Format, options: LoadOptions): Promise<LoadSource> {
  switch (format) {
    case 'dump':
      return lineSource(() => parseDumpLine)
    case 'ndjson':
      return lineSource(() => parseNdjsonLine)
    case 'tsv':
      return lineSource(() => parseTsvLine)
    case 'rocksdb':
      return lineSource(hexDumpParser)
    case 'leveldb': {
      const { versionSource } = await import('./load-versions.js')
      return versionSource(directory)
    }
    case 'csv': {
      const { csvSource } = await import('./load-csv.js')
      return csvSource({
        key: options.keyColumn,
        value: options.valueColumn,
        hasHeader: options.header,
        delimiter: options.delimiter ?? ',',
      })
    }
  }
}

async function* chunksOf(files: readonly string[]): AsyncGenerator<Uint8Array> {
  if (files.length === 0) {
    if (process.stdin.isTTY) process.stderr.write('reading lines from the terminal: end them with Ctrl-D\n')
    yield* process.stdin
  }
  for (const [i, file] of files.entries()) {
    // The last line of a file needs no newline.
    if (i > 0) yield Buffer.from('\n')
    yield* createReadStream(file) as AsyncIterable<Uint8Array>
  }
}

/** Undefined where it comes through a pipe. */
function sizeOfInput(files: readonly string[]): number | undefined {
  if (files.length > 0) return files.reduce((sum, file) => sum + statSync(file).size, 0)
  try {
    const stats = fstatSync(process.stdin.fd)
    return stats.isFile() ? stats.size : undefined
  } catch {
    return undefined
  }
}

class Loader {
  records = 0
  #ops: LoadOp[] = []
  #bytes = 0
  #bytesRead = 0
  readonly #store: Store
  readonly #options: WriteOptions
  readonly #progress: Progress
  readonly #totalBytes: number | undefined

  constructor(store: Store, options: WriteOptions, progress: Progress, totalBytes: number | undefined) {
    this.#store = store
    this.#options = options
    this.#progress = progress
    this.#totalBytes = totalBytes
  }

  async *counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#bytesRead += chunk.length
      this.#show()
      yield chunk
    }
  }

  /** @param file named where what it holds is bad. */
  async run(source: AsyncIterable<readonly LoadOp[]>, file: string | undefined): Promise<void> {
    try {
      for await (const ops of source) {
        for (const op of ops) if (this.#add(op)) await this.#flush()
      }
    } catch (error) {
      if (!(error instanceof BadInput)) throw error
      const place = file === undefined ? '' : `${file}: `
      throw new UsageError(`${place}${error.message}; ${plural(this.records, 'record')} loaded before`)
    }
    await this.#flush()
  }

  /** True when it is time to write what was gathered. */
  #add(op: LoadOp): boolean {
    this.#ops.push(op)
    this.#bytes += op.key.length + (op.type === 'put' ? op.value.length : 0)
    return this.#ops.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES
  }

  async #flush(): Promise<void> {
    if (this.#ops.length === 0) return
    await this.#store.batch(this.#ops, this.#options)
    this.records += this.#ops.length
    this.#ops = []
    this.#bytes = 0
    this.#show()
  }

  #show(): void {
    this.#progress.update(this.#bytesRead, this.#totalBytes, `${formatCount(this.records)} records`)
  }
}
