import { corruption, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { dataFilesOf } from '../version/data-files.js'
import { findEditFault } from '../version/edit-fault.js'
import { findOverlap, Version } from '../version/version.js'
import { type BackupDirectory, nameOf } from './backup-directory.js'
import { editOf } from './backup-edit.js'
import { type BackupRecord, backupFileName, backupName, parseBackupFileName } from './backup-format.js'
import type { BackupInfo } from './contract.js'

/** Every backup of a directory, oldest first; one at a time is in memory. */
export async function* readRecords(directory: BackupDirectory): AsyncGenerator<BackupRecord> {
  for (const number of directory.numbers()) {
    yield directory.read(number)
    await directory.env.clock.sleep(0)
  }
}

/** Describes backups, oldest first: knows from where on each one's positions can be restored. */
export class Chains {
  readonly #restorableFrom = new Map<number, Position>()

  describe(record: BackupRecord): BackupInfo {
    const { number, previous, position, createdMs, copiedBytes, files, isAuthenticated } = record
    const restorableFrom = this.#restorableFrom.get(previous) ?? position
    this.#restorableFrom.set(number, restorableFrom)
    return {
      name: backupName(number),
      position,
      restorableFrom,
      createdMs,
      sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      copiedBytes,
      segments: files.filter(({ kind }) => kind === 'segment').length,
      logFiles: files.filter(({ kind }) => kind === 'log').length,
      isAuthenticated,
    }
  }
}

/** The backup of that name, or the newest. @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function findNumber(directory: BackupDirectory, name: string | undefined): number {
  const numbers = directory.numbers()
  const wanted = name === undefined ? numbers.at(-1) : parseBackupFileName(`${name}.backup`)
  if (wanted !== undefined && numbers.includes(wanted)) return wanted
  const what = name === undefined ? 'are no backups' : `is no backup ${JSON.stringify(name)}`
  throw new VarveError('VARVE_INVALID_ARGUMENT', `there ${what} at ${directory.path}`)
}

/** The segments and blob files of a backup as a version. @throws VarveError `VARVE_CORRUPTION` where they are not its files. */
export function versionOf(directory: BackupDirectory, record: BackupRecord): Version {
  const path = `${directory.path}/${backupFileName(record.number)}`
  const edit = editOf(directory, record)
  const fault = findEditFault(Version.EMPTY, edit)
  if (fault) throw corruption(path, 0, fault)
  const version = Version.EMPTY.applyUnchecked(edit)
  const overlap = findOverlap(version, edit)
  if (overlap) throw corruption(path, 0, overlap)
  const files = new Map(record.files.map((file) => [nameOf(file), file]))
  const data = dataFilesOf(version)
  for (const { name, sizeBytes, checksum } of data) {
    const file = files.get(name)
    if (file?.sizeBytes !== sizeBytes || file.crc !== checksum)
      throw corruption(path, 0, `${name} is not the file that is listed`)
  }
  if (data.length !== record.files.filter(({ kind }) => kind !== 'log').length)
    throw corruption(path, 0, 'it lists other files than it has')
  if (version.flushedPosition !== record.position || version.lineage === undefined)
    throw corruption(path, 0, 'an incomplete version')
  return version
}
