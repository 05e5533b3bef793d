import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Command } from 'commander'
import { parseFileName, segmentFileName } from '../env/file-names.js'
import type { LogRecord, SegmentReport } from '../repair/inspect.js'
import { UsageError } from './failure.js'
import { describeBytes, formatBytes, jsonField, plural } from './format.js'
import { envWithKey } from './key-file.js'
import { type Output, withOutput } from './output.js'
import { parseCount, requireDirectory, withJson } from './store.js'

const loadInspection = () => import('../repair/inspect.js')

interface LogOptions {
  readonly from?: number
  readonly json?: boolean
}

interface SegmentOptions {
  readonly keys?: boolean
  readonly json?: boolean
}

export function addInspectCommands(program: Command): void {
  const log = program
    .command('log <dir>')
    .description('prints each batch in the log files: file, position, time, operations')
    .option('--from <position>', 'the first position', parseCount)
  withJson(log).action(runLog)

  const segment = program
    .command('segment <dir> <segment>')
    .description('prints the properties of a segment, named by its number or file')
    .option('--keys', 'print its entries too')
  withJson(segment).action(runSegment)

  withJson(
    program.command('manifest <dir>').description('prints the edits of the tree as they were written'),
  ).action(runManifest)
}

async function runLog(directory: string, options: LogOptions): Promise<void> {
  requireDirectory(directory)
  const { readLog } = await loadInspection()
  const records = readLog(
    await envWithKey(),
    directory,
    options.from === undefined ? {} : { from: options.from },
  )
  await withOutput(async (output) => {
    for (const record of records) {
      if (options.json) await output.write(JSON.stringify(logRecordToJson(record)), '\n')
      else await writeLogRecord(output, record)
    }
  })
}

type LogOp = LogRecord['ops'][number]

async function writeLogRecord(output: Output, record: LogRecord): Promise<void> {
  const time = new Date(record.timestamp).toISOString()
  const count = plural(record.ops.length, 'op')
  await output.write(
    `${basename(record.file)} at ${record.offset}  position ${record.position}  ${time}  ${count}\n`,
  )
  for (const op of record.ops) await output.write(`  ${describeOp(op)}\n`)
}

function describeOp(op: LogOp): string {
  if (op.type === 'clear') return `clear  ${describeRange(op.start, op.end)}`
  const key = op.key === undefined ? '' : describeBytes(op.key)
  return op.type === 'put' ? `put  ${key}  ${formatBytes(op.valueBytes ?? 0)}` : `del  ${key}`
}

function describeRange(start: Uint8Array | undefined, end: Uint8Array | undefined): string {
  return `[${start === undefined ? '' : describeBytes(start)}, ${end === undefined ? '∞' : describeBytes(end)})`
}

function logRecordToJson(record: LogRecord): Record<string, unknown> {
  return {
    ...record,
    ops: record.ops.map((op) => ({
      type: op.type,
      ...(op.key && jsonField('key', op.key)),
      ...(op.valueBytes !== undefined && { valueBytes: op.valueBytes }),
      ...(op.start && jsonField('start', op.start)),
      ...(op.end && jsonField('end', op.end)),
    })),
  }
}

async function runSegment(directory: string, name: string, options: SegmentOptions): Promise<void> {
  requireDirectory(directory)
  const number = parseSegmentNumber(name)
  if (!existsSync(join(directory, segmentFileName(number)))) {
    const segments = readdirSync(directory).filter((each) => each.endsWith('.seg'))
    const hint = segments.length === 0 ? 'it has none yet' : `there is ${segments.slice(0, 5).join(', ')}`
    const more = segments.length > 5 ? ` and ${segments.length - 5} more` : ''
    throw new UsageError(`no segment ${segmentFileName(number)} in ${directory}: ${hint}${more}`)
  }
  const { readSegment } = await loadInspection()
  const segment = readSegment(await envWithKey(), directory, number)
  try {
    await withOutput(async (output) => {
      if (options.json) await writeSegmentAsJson(output, segment, options.keys === true)
      else await writeSegment(output, segment, options.keys === true)
    })
  } finally {
    segment.close()
  }
}

function parseSegmentNumber(name: string): number {
  if (/^\d+$/.test(name)) return parseCount(name)
  const parsed = parseFileName(basename(name))
  if (parsed?.kind !== 'segment') throw new UsageError(`neither a number nor a segment file: ${name}`)
  return parsed.number
}

async function writeSegment(output: Output, segment: SegmentReport, withKeys: boolean): Promise<void> {
  const properties = Object.entries(segment.properties)
  const width = Math.max(4, ...properties.map(([name]) => name.length)) + 2
  await output.write(`${'file'.padEnd(width)}${segment.file}\n`)
  for (const [name, value] of properties) await output.write(`${name.padEnd(width)}${value}\n`)
  for (const { start, end, position } of segment.tombstones) {
    await output.write(`clear  ${describeRange(start, end)}  position ${position}\n`)
  }
  if (!withKeys) return
  for (const { key, position, kind, valueBytes } of segment.entries()) {
    const size = kind === 'put' ? `  ${formatBytes(valueBytes)}` : ''
    await output.write(`${kind}  ${describeBytes(key)}  position ${position}${size}\n`)
  }
}

async function writeSegmentAsJson(output: Output, segment: SegmentReport, withKeys: boolean): Promise<void> {
  const tombstones = segment.tombstones.map(({ start, end, position }) => ({
    ...jsonField('start', start),
    ...(end && jsonField('end', end)),
    position,
  }))
  const { file, properties } = segment
  await output.write(JSON.stringify({ file, properties, tombstones }), '\n')
  if (!withKeys) return
  for (const { key, ...rest } of segment.entries()) {
    await output.write(JSON.stringify({ ...jsonField('key', key), ...rest }), '\n')
  }
}

async function runManifest(directory: string, options: { readonly json?: boolean }): Promise<void> {
  requireDirectory(directory)
  const { readManifest } = await loadInspection()
  const env = await envWithKey()
  await withOutput(async (output) => {
    for (const edit of readManifest(env, directory)) {
      if (options.json) await output.write(JSON.stringify(toPlain(edit)), '\n')
      else await output.write(describeEdit(edit), '\n')
    }
  })
}

function describeEdit(edit: Record<string, unknown>): string {
  return Object.entries(edit)
    .filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => `${name}=${JSON.stringify(toPlain(value))}`)
    .join('  ')
}

/** Bytes inside an edit, such as the first key of a segment, become text. */
function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return describeBytes(value)
  if (Array.isArray(value)) return value.map(toPlain)
  if (typeof value !== 'object' || value === null) return value
  const plain: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    if (field instanceof Uint8Array) Object.assign(plain, jsonField(name, field))
    else plain[name] = toPlain(field)
  }
  return plain
}
