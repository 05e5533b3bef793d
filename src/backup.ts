/**
 * Backups of a store in a directory that holds many of them, on any disk. Each copies only the segments that no
 * backup before it has, and the log since the last one, so that every position between two of them can be restored.
 *
 *     await backup(db, '/mnt/backups', { consumer: 'backup', maxBytesPerSecond: 50e6 })
 *     await restoreBackup('/mnt/backups', '/var/restored', { at: 12_345 })
 */

import type { TypedStore } from './access/typed-store.js'
import { BackupDirectory } from './backup/backup-directory.js'
import { backupName } from './backup/backup-format.js'
import { Chains, findNumber, readRecords, versionOf } from './backup/backup-records.js'
import {
  BACKUP_NAMES,
  type BackupAccess,
  type BackupInfo,
  type BackupOptions,
  type BackupPace,
  LIST_NAMES,
  PURGE_NAMES,
  type PurgeOptions,
  type PurgeReport,
  RESTORE_NAMES,
  type RestoreBackupOptions,
  VERIFY_NAMES,
} from './backup/contract.js'
import { checkBackedUp, checksumsOf } from './backup/copy-file.js'
import { Pace } from './backup/pace.js'
import { writeRestored } from './backup/restore-backup.js'
import { writeBackup } from './backup/write-backup.js'
import { Database, open } from './database.js'
import { VarveError } from './errors.js'
import type { Position } from './key/position.js'
import { POSITION_MAX } from './key/position.js'
import { resolveEnv } from './store/options.js'
import { checkOptionNames } from './util/option-names.js'

export type {
  BackupAccess,
  BackupInfo,
  BackupOptions,
  BackupPace,
  PurgeOptions,
  PurgeReport,
  RestoreBackupOptions,
} from './backup/contract.js'

const KEY_BYTES_MIN = 16
/** Nothing of the log goes because of a store being opened to back it up. */
const KEEP_LOG = { maxBytes: 2 ** 50, pinnedMaxBytes: 2 ** 50 }

/**
 * Adds a backup of everything committed so far. An open store goes on meanwhile, and may be a follower; a path is
 * opened for it. Resolves once all of it is on disk. A crash or a failure leaves the backups before it as they are,
 * and what was copied whole is used by the next one. What it reads is checked: a damaged store is not backed up.
 * @throws VarveError `VARVE_CORRUPTION` (naming the file, of the store or of a backup), `VARVE_DIVERGED` (the
 * directory holds another history of this store), `VARVE_LOCKED` (the store, or the directory, is in use),
 * `VARVE_FORMAT_VERSION` (the directory holds something else), `VARVE_INVALID_ARGUMENT`, `VARVE_READ_ONLY`,
 * `VARVE_NO_SPACE`, `VARVE_IO`, `VARVE_ABORTED`, `VARVE_CLOSED`.
 */
export async function backup<K, V>(
  source: Database<K, V> | string,
  directory: string,
  options: BackupOptions = {},
): Promise<BackupInfo> {
  checkOptionNames('backup', options, BACKUP_NAMES)
  if (source instanceof Database) {
    const { env } = Database.typedStoreOf(source).store
    return backupOpen(source, openDirectory(directory, { key: options.key, env }), options)
  }
  const target = openDirectory(directory, options)
  const { env } = target
  const encodings = { keyEncoding: 'buffer', valueEncoding: 'buffer', checkEncodings: false } as const
  const db = await open<Buffer, Buffer>(source, { ...encodings, env, createIfMissing: false, log: KEEP_LOG })
  try {
    return await backupOpen(db, target, options)
  } finally {
    await db.close()
  }
}

/**
 * All backups of a directory, oldest first. Reads what describes them, not their files.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` (no directory, or one was made without the key), `VARVE_CORRUPTION`
 * naming the backup that is damaged: the others can still be restored by name.
 */
export async function listBackups(directory: string, options: BackupAccess = {}): Promise<BackupInfo[]> {
  checkOptionNames('listBackups', options, LIST_NAMES)
  const backups: BackupInfo[] = []
  const chains = new Chains()
  for await (const record of readRecords(openDirectory(directory, options)))
    backups.push(chains.describe(record))
  return backups
}

/**
 * Reads every byte of a backup, by default of the newest, and compares it with the SHA-256 that was written down.
 * @throws VarveError `VARVE_CORRUPTION`, naming the file; `VARVE_INVALID_ARGUMENT`, `VARVE_IO`, `VARVE_ABORTED`.
 */
export async function verifyBackup(
  directory: string,
  name?: string,
  options: BackupAccess & BackupPace = {},
): Promise<{ name: string; position: Position; files: number; bytes: number }> {
  checkOptionNames('verifyBackup', options, VERIFY_NAMES)
  const from = openDirectory(directory, options)
  const { env } = from
  const pace = new Pace(env.clock, options)
  const record = from.read(findNumber(from, name))
  versionOf(from, record)
  const { storeId, files, position } = record
  from.checkFolder(storeId)
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  pace.expect(bytes)
  pace.throwIfEnded()
  for (const file of files) {
    const path = from.pathOf(storeId, file)
    await checkBackedUp(env, path, file, () => checksumsOf(env, path, file.sizeBytes, pace))
  }
  return { name: backupName(record.number), position, files: files.length, bytes }
}

/**
 * Writes a store to `path`, which must not exist: the state of a backup, or at any position or time that the backups
 * reach. Every byte is compared with its SHA-256 first and the store verified; it appears at `path` once it is whole
 * and durable. Positions are those of the original; the times of changes after a backup are those of the restore.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` (also for an `at` after the backup), `VARVE_POSITION_LOST` (`at` is
 * before what can be restored, from `position` on), `VARVE_CORRUPTION`, `VARVE_NO_SPACE`, `VARVE_IO`,
 * `VARVE_ABORTED`. Nothing is left at `path` then.
 */
export async function restoreBackup(
  directory: string,
  path: string,
  options: RestoreBackupOptions = {},
): Promise<{ position: Position }> {
  checkOptionNames('restoreBackup', options, RESTORE_NAMES)
  const from = openDirectory(directory, options)
  const { at } = options
  const isPlace =
    at === undefined ||
    (at instanceof Date
      ? !Number.isNaN(at.getTime())
      : Number.isSafeInteger(at) && at >= 0 && at <= POSITION_MAX)
  if (!isPlace) throw invalid('at is a position or a Date')
  checkPath(path)
  const pace = new Pace(from.env.clock, options)
  pace.throwIfEnded()
  const number = findNumber(from, options.backup)
  return { position: await writeRestored(from, number, from.env.fs.resolve(path), at, pace) }
}

/**
 * Removes all but the newest backups, and every file that none of them needs. The oldest that stays is then the
 * earliest state that can be restored. A crash leaves nothing but files that the next call, or backup, removes.
 * @throws VarveError `VARVE_INVALID_ARGUMENT`, `VARVE_LOCKED`, `VARVE_CORRUPTION` (what a damaged backup needs is not
 * known: nothing is removed), `VARVE_IO`.
 */
export async function purgeBackups(directory: string, options: PurgeOptions): Promise<PurgeReport> {
  checkOptionNames('purgeBackups', options, PURGE_NAMES)
  const { keep } = options
  if (!(Number.isSafeInteger(keep) && keep >= 1)) throw invalid('keep is a whole number from 1 on')
  const from = openDirectory(directory, options)
  from.numbers()
  const lock = from.lock()
  try {
    const numbers = from.numbers()
    const going = numbers.slice(0, Math.max(0, numbers.length - keep))
    const needed = new Set<string>()
    for await (const { number, storeId, files } of readRecords(from)) {
      if (!going.includes(number)) for (const file of files) needed.add(from.pathOf(storeId, file))
    }
    for (const number of going) from.drop(number)
    return { removed: going.map(backupName), freedBytes: await from.collect(needed) }
  } finally {
    lock.release()
  }
}

async function backupOpen<K, V>(
  db: Database<K, V>,
  directory: BackupDirectory,
  options: BackupOptions,
): Promise<BackupInfo> {
  const typed: TypedStore<K, V> = Database.typedStoreOf(db)
  const { store } = typed
  const { consumer: name } = options
  if (name !== undefined && typeof name !== 'string') throw invalid('consumer is the name of a consumer')
  const pace = new Pace(store.env.clock, options, () => store.throwIfClosed())
  pace.throwIfEnded()
  // Before anything is copied: whether the store takes it at all.
  if (name !== undefined) await (await db.consumer(name)).close()
  return writeBackup(store, directory, pace, async (position) => {
    if (name !== undefined) await keepLog(db, name, position)
  })
}

/**
 * The log from `position` on stays. Of `position` itself too: what comes next may be nothing but the consumer's own
 * note of its place, which alone would not be kept, and a log with a hole goes on from nothing.
 */
async function keepLog<K, V>(db: Database<K, V>, name: string, position: Position): Promise<void> {
  const consumer = await db.consumer(name)
  try {
    await consumer.seek(Math.max(0, position - 1)).catch((error: unknown) => {
      if ((error as VarveError).code !== 'VARVE_POSITION_LOST') throw error
      return consumer.seek(position)
    })
  } finally {
    await consumer.close()
  }
}

function openDirectory(directory: string, { key, ...access }: BackupAccess): BackupDirectory {
  checkPath(directory)
  const env = resolveEnv(access)
  return new BackupDirectory(env, env.fs.resolve(directory), keyBytes(key))
}

function keyBytes(key: unknown): Uint8Array | undefined {
  if (key === undefined) return undefined
  const bytes = typeof key === 'string' ? new TextEncoder().encode(key) : key
  if (bytes instanceof Uint8Array && bytes.length >= KEY_BYTES_MIN) return bytes
  throw invalid(`a key has at least ${KEY_BYTES_MIN} bytes`)
}

function checkPath(path: unknown): void {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) throw invalid('a path is a string')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
