import { readdirSync, readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import type { BackupInfo } from '../backup.js'
import type { Position } from '../key/position.js'
import { UsageError } from './failure.js'
import { formatBytes, formatTable, plural } from './format.js'
import { encryptionOptions } from './key-file.js'
import { printJson, printLine } from './output.js'
import { startProgress } from './progress.js'
import { parseCount, requireDirectory, withJson } from './store.js'

export interface SecretOption {
  readonly secretFile?: string
}

interface BackupOptions extends SecretOption {
  readonly maxRate?: number
  readonly consumer?: string
  readonly keep?: number
  readonly json?: boolean
}

interface BackupsOptions extends SecretOption {
  readonly verify?: boolean
  readonly json?: boolean
}

export function addBackupCommands(program: Command): void {
  const command = program
    .command('backup <dir> <backups>')
    .description('adds a backup to a directory of them; copies only what no backup there has')
    .option('--consumer <name>', 'keeps the log until the next backup, so that any position can be restored')
    .option('--max-rate <bytes>', 'copies at most so many bytes a second', parseCount)
    .option('--keep <count>', 'afterwards leaves only so many of the newest backups', parseCount)
  withJson(withSecretFile(command)).action(runBackup)
  const list = program
    .command('backups <backups>')
    .description('lists the backups of a directory, and what each lets you restore')
    .option('--verify', 'reads every byte of them, too; 1 if any is damaged')
  withJson(withSecretFile(list)).action(runBackups)
}

export function withSecretFile(command: Command): Command {
  return command.option('--secret-file <file>', 'a secret by which backups are signed and checked')
}

/** A position, or a time as ISO 8601. */
export function parsePlace(text: string): Position | Date {
  if (/^\d+$/.test(text)) return parseCount(text)
  const time = new Date(text)
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError('It must be a position, or a time such as 2026-01-31T18:30:00Z.')
  return time
}

export function holdsBackups(directory: string): boolean {
  return readdirSync(directory).some((name) => name.endsWith('.backup'))
}

export async function restoreFromBackups(
  backups: string,
  target: string,
  options: SecretOption & { readonly backup?: string; readonly to?: Position | Date },
): Promise<Position> {
  const { restoreBackup } = await import('../backup.js')
  const progress = startProgress('restore', 'bytes')
  try {
    const { position } = await restoreBackup(backups, target, {
      backup: options.backup,
      at: options.to,
      key: readSecret(options),
      ...encryptionOptions(),
      onProgress: (done, total) => progress.update(done, total),
    })
    return position
  } finally {
    progress.stop()
  }
}

async function runBackup(directory: string, backups: string, options: BackupOptions): Promise<void> {
  requireDirectory(directory)
  const { consumer, maxRate, keep } = options
  if (keep === 0) throw new UsageError('--keep is at least 1')
  const key = readSecret(options)
  const { backup, purgeBackups } = await import('../backup.js')
  const progress = startProgress('backup', 'bytes')
  let info: BackupInfo
  try {
    const onProgress = (done: number, total: number) => progress.update(done, total)
    const pace = { maxBytesPerSecond: maxRate, onProgress }
    info = await backup(directory, backups, { key, consumer, ...pace, ...encryptionOptions() })
  } finally {
    progress.stop()
  }
  const purged = keep === undefined ? undefined : await purgeBackups(backups, { keep, key })
  if (options.json) printJson({ ...info, ...(purged && { purged }) })
  else
    printLine(
      describeMade(info)
        .concat(purged ? describePurged(purged.removed, purged.freedBytes) : [])
        .join('\n'),
    )
}

function describeMade({ name, position, restorableFrom, copiedBytes, sizeBytes }: BackupInfo): string[] {
  const range = restorableFrom === position ? `${position}` : `${restorableFrom} to ${position}`
  return [
    `backup ${name} is at position ${position}: ${formatBytes(copiedBytes)} copied of ${formatBytes(sizeBytes)}`,
    `positions that can be restored: ${range}`,
  ]
}

function describePurged(removed: readonly string[], freedBytes: number): string[] {
  return removed.length === 0
    ? []
    : [`removed ${plural(removed.length, 'backup')}: ${formatBytes(freedBytes)} freed`]
}

async function runBackups(backups: string, options: BackupsOptions): Promise<void> {
  requireDirectory(backups)
  const key = readSecret(options)
  const { listBackups } = await import('../backup.js')
  const found = await listBackups(backups, { key })
  if (options.verify) await verifyAll(backups, found, key)
  if (options.json) {
    for (const info of found) printJson(info)
    return
  }
  const rows = found.map(({ name, createdMs, restorableFrom, position, copiedBytes, sizeBytes }) => [
    ...[name, new Date(createdMs).toISOString(), `${restorableFrom}`, `${position}`],
    ...[formatBytes(copiedBytes), formatBytes(sizeBytes)],
  ])
  const head = ['backup', 'made', 'from position', 'position', 'copied', 'size']
  printLine(formatTable([head, ...rows]).join('\n'))
  if (options.verify) printLine(`ok: ${plural(found.length, 'backup')} verified`)
}

async function verifyAll(
  backups: string,
  found: readonly BackupInfo[],
  key: Uint8Array | undefined,
): Promise<void> {
  const { verifyBackup } = await import('../backup.js')
  const total = found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const progress = startProgress('verify', 'bytes', total)
  let before = 0
  try {
    for (const { name, sizeBytes } of found) {
      const onProgress = (done: number) => progress.update(before + done)
      await verifyBackup(backups, name, { key, onProgress, ...encryptionOptions() })
      before += sizeBytes
    }
  } finally {
    progress.stop()
  }
}

/** Editors end a file with a line end; it is no part of the secret. */
function readSecret({ secretFile }: SecretOption): Uint8Array | undefined {
  if (secretFile === undefined) return undefined
  const bytes = readFileSync(secretFile)
  return bytes.subarray(0, bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length)
}
