import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import type { Command } from 'commander'
import { VarveError } from '../errors.js'
import type { RepairLoss, RepairReport } from '../repair/repair-report.js'
import type { Range, VerifyReport } from '../store/contract.js'
import { EXIT_FINDING } from './failure.js'
import { describeBytes, formatBytes, formatCount, jsonField, plural } from './format.js'
import { encryptionOptions } from './key-file.js'
import { printJson, printLine } from './output.js'
import { startProgress, withFileProgress } from './progress.js'
import { addStatsCommand } from './stats.js'
import { parseKey, requireDirectory, withHexKey, withJson, withStore } from './store.js'
import { printPosition } from './write.js'

interface JsonOption {
  readonly json?: boolean
}

interface CompactOptions extends JsonOption {
  readonly from?: string
  readonly to?: string
  readonly hexKey?: boolean
}

export function addUpkeepCommands(program: Command): void {
  addStatsCommand(program)

  withJson(
    program.command('verify <dir>').description('reads everything and checks every checksum; 1 if damaged'),
  ).action(runVerify)

  withJson(
    program
      .command('repair <dir>')
      .description(
        'makes a damaged store open again: copies, keeps what is sound, says what is lost; 1 if anything is',
      ),
  ).action(runRepair)

  const compact = program
    .command('compact <dir>')
    .description('merges a range down to the deepest level')
    .option('--from <key>', 'the first key')
    .option('--to <key>', 'the last key')
  withJson(withHexKey(compact)).action(runCompact)

  withJson(
    program
      .command('checkpoint <dir> <target>')
      .description('makes a copy that opens as a store, and prints its position'),
  ).action(runCheckpoint)
}

async function runVerify(directory: string, options: JsonOption): Promise<void> {
  let report: VerifyReport
  let replayed: Replayed | undefined
  const progress = startProgress('verify', 'bytes')
  try {
    report = await withStore(directory, 'read', (store) => {
      const { flushedPosition, position } = store.stats()
      if (position > flushedPosition) replayed = { from: flushedPosition + 1, to: position }
      return store.verify({ onProgress: (done, total) => progress.update(done, total) })
    })
  } catch (error) {
    // Damage found while opening is a finding too.
    if (!(error instanceof VarveError) || error.code !== 'VARVE_CORRUPTION') throw error
    progress.stop()
    reportDamage(error, options)
    return
  }
  progress.stop()
  if (options.json) printJson({ ok: true, ...report, replayed })
  else printLine(`ok: ${describeVerified(report)}${replayed ? `; ${describeReplayed(replayed)}` : ''}`)
}

/** Positions that are in no segment yet: opening the store reads them out of the log, and checks every frame. */
interface Replayed {
  readonly from: number
  readonly to: number
}

function describeReplayed({ from, to }: Replayed): string {
  return `positions ${formatCount(from)} to ${formatCount(to)} of the log, checked in opening it`
}

async function runRepair(directory: string, options: JsonOption): Promise<void> {
  requireDirectory(directory)
  const { repair } = await import('../repair/repair.js')
  const progress = startProgress('repair', 'bytes')
  let report: RepairReport
  try {
    const onProgress = (done: number, total: number) => progress.update(done, total)
    report = await repair(directory, { onProgress, ...encryptionOptions() })
  } finally {
    progress.stop()
  }
  if (report.lost.length > 0) process.exitCode = EXIT_FINDING
  if (options.json) printJson({ ...report, lost: report.lost.map(lossToJson) })
  else printLine(describeRepair(report).join('\n'))
}

function lossToJson({ after, upTo, ...rest }: RepairLoss): Record<string, unknown> {
  return { ...rest, ...(after && jsonField('after', after)), ...(upTo && jsonField('upTo', upTo)) }
}

function describeRepair(report: RepairReport): string[] {
  if (report.isSound) return ['ok: nothing is damaged, nothing was changed']
  const { damaged, lost, copies, position, segments, entries } = report
  return [
    ...damaged.map(({ what }) => `damaged  ${what}`),
    ...lost.map((loss) => `lost     ${describeLoss(loss)}`),
    `saved    ${plural(segments, 'segment')}, ${plural(entries, 'entry')}, up to position ${position}`,
    `copies   ${copies}`,
  ]
}

function describeLoss({ file, kind, after, upTo, positionMin, positionMax }: RepairLoss): string {
  const keys =
    after || upTo
      ? `, keys ${after ? `above ${describeBytes(after)} ` : ''}${upTo ? `to ${describeBytes(upTo)}` : ''}`
      : ''
  const positions =
    positionMin === undefined ? '' : `, positions ${positionMin} to ${positionMax ?? 'the end'}`
  return `${kind} of ${basename(file)}${keys.trimEnd()}${positions}`
}

export function describeVerified(report: VerifyReport): string {
  return [
    plural(report.segments, 'segment'),
    plural(report.blocks, 'block'),
    plural(report.entries, 'entry'),
    plural(report.logFiles, 'log file'),
    formatBytes(report.bytes),
  ].join(', ')
}

function reportDamage(error: VarveError, options: JsonOption): void {
  process.exitCode = EXIT_FINDING
  const { file, offset, message } = error
  if (options.json) printJson({ ok: false, file, offset, message })
  else {
    printLine('damaged')
    if (file !== undefined) printLine(`  file    ${file}`)
    if (offset !== undefined) printLine(`  offset  ${offset}`)
    printLine(`  what    ${message}`)
  }
}

async function runCompact(directory: string, options: CompactOptions): Promise<void> {
  const bound = (text: string | undefined) =>
    text === undefined ? undefined : parseKey(text, options.hexKey)
  const isPart = options.from !== undefined || options.to !== undefined
  const range: Range<Buffer> | undefined = isPart
    ? { gte: bound(options.from), lte: bound(options.to) }
    : undefined
  const { before, after } = await withStore(directory, 'write', async (store) => {
    const before = store.stats().diskBytes
    const totalBytes = range === undefined ? before : store.approximateSize(range)
    const writes = { directory, except: new Set(readdirSync(directory)), totalBytes }
    await withFileProgress('compact', writes, store.compact(range))
    return { before, after: store.stats().diskBytes }
  })
  if (options.json) printJson({ diskBytesBefore: before, diskBytesAfter: after })
  else printLine(`compacted: ${formatBytes(before)} before, ${formatBytes(after)} after`)
}

async function runCheckpoint(directory: string, target: string, options: JsonOption): Promise<void> {
  const { position } = await withStore(directory, 'write', (store) =>
    withFileProgress(
      'checkpoint',
      { directory: `${target}.partial`, totalBytes: store.stats().segmentBytes + store.stats().blobs.bytes },
      store.checkpoint(target),
    ),
  )
  printPosition(position, options)
}
