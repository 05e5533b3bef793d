import { isSameDigest } from '../env/sha256.js'
import { errorCode } from '../env/system-error.js'
import { corruption, ioError, VarveError } from '../errors.js'
import { batchSizeBytes } from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import type { LogFileInfo } from '../log/log-retention.js'
import { LogTail } from '../store/log-tail.js'
import { verifyLog } from '../store/maintenance.js'
import type { Store } from '../store/store.js'
import { asBuffer, compareBytes } from '../util/bytes.js'
import { crc32 } from '../util/crc.js'
import { type DataFile, dataFilesOf } from '../version/data-files.js'
import { type Version, wholeEdit } from '../version/version.js'
import type { BackupDirectory } from './backup-directory.js'
import { nameOf } from './backup-directory.js'
import { editOf, packEdit } from './backup-edit.js'
import type { BackupFile, BackupRecord } from './backup-format.js'
import { Chains, readRecords } from './backup-records.js'
import type { BackupInfo } from './contract.js'
import { checksumsOf, copyDurably } from './copy-file.js'
import type { Pace } from './pace.js'

/** What the backups before this one have. */
interface Earlier {
  readonly chains: Chains
  readonly highest: number
  /** The newest one of this store. */
  readonly last: BackupRecord | undefined
  /** Paths of all files that any of them names. */
  readonly needed: Set<string>
}

/**
 * Adds a backup of everything committed so far to a directory: copies what no earlier one has, segments and the log
 * since the last one, checks it on the way, and names it all in one file, last. A crash, or a failure, leaves the
 * earlier backups as they are; what was copied whole by then is used by the next attempt.
 * @param afterwards called with the backup's position once it is whole; the log after it is kept meanwhile.
 */
export async function writeBackup(
  store: Store,
  directory: BackupDirectory,
  pace: Pace,
  afterwards: (position: Position) => Promise<void>,
): Promise<BackupInfo> {
  directory.create()
  const lock = directory.lock()
  try {
    const earlier = await survey(directory, store.storeId)
    const { last } = earlier
    // Before anything is flushed: what is flushed may be trimmed. With the last backup's last batch, to compare it,
    // if the log has it still: a pin before its start holds nothing.
    const from = Math.min(last?.position ?? store.position, store.position)
    const pin = store.archive.pin(Math.max(from - 1, Math.min(from, store.oldestPosition - 1)))
    try {
      await store.flush()
      const view = store.tree.view.acquire()
      try {
        const { info, record } = await new BackupWriter(store, directory, pace, earlier).write(view.version)
        await afterwards(record.position)
        return info
      } finally {
        view.release()
      }
    } finally {
      pin.release()
    }
  } catch (error) {
    throw ioError(error, 'backing up to', directory.path)
  } finally {
    lock.release()
  }
}

async function survey(directory: BackupDirectory, storeId: Buffer): Promise<Earlier> {
  const chains = new Chains()
  const needed = new Set<string>()
  let highest = 0
  let last: BackupRecord | undefined
  for await (const record of readRecords(directory)) {
    chains.describe(record)
    highest = record.number
    for (const file of record.files) needed.add(directory.pathOf(record.storeId, file))
    if (record.storeId.equals(storeId)) last = record
  }
  return { chains, highest, last, needed }
}

class BackupWriter {
  readonly #store: Store
  readonly #directory: BackupDirectory
  readonly #pace: Pace
  readonly #earlier: Earlier
  /** The files of the last backup of this store, by name. */
  readonly #known: ReadonlyMap<string, BackupFile>
  #copiedBytes = 0

  constructor(store: Store, directory: BackupDirectory, pace: Pace, earlier: Earlier) {
    this.#store = store
    this.#directory = directory
    this.#pace = pace
    this.#earlier = earlier
    this.#known = new Map(earlier.last?.files.map((file) => [nameOf(file), file]))
  }

  async write(version: Version): Promise<{ info: BackupInfo; record: BackupRecord }> {
    const { env, storeId } = this.#store
    const createdMs = env.clock.wallMs()
    const position = version.flushedPosition
    this.#directory.makeFolder(storeId)
    const data = dataFilesOf(version)
    for (const file of data) if (!this.#knownFile(file)) this.#pace.expect(file.sizeBytes)
    // Logs first: they are what may be trimmed meanwhile.
    const logs = await this.#copyLogs(version)
    const files: BackupFile[] = []
    for (const file of data) files.push(this.#knownFile(file) ?? (await this.#copyFile(file)))
    files.push(...(logs ?? []))
    this.#syncFolder()
    const number = this.#earlier.highest + 1
    const edit = { ...wholeEdit(version), lineage: this.#store.lineage }
    const record: BackupRecord = {
      isAuthenticated: this.#directory.key !== undefined,
      isEncrypted: env.vault !== undefined,
      number,
      previous: logs ? this.#earlier.last!.number : 0,
      storeId,
      position,
      createdMs,
      copiedBytes: this.#copiedBytes,
      edit: asBuffer(packEdit(env, number, edit)),
      files,
    }
    const needed = new Set(this.#earlier.needed)
    for (const file of files) needed.add(this.#directory.pathOf(storeId, file))
    await this.#directory.collect(needed)
    this.#pace.throwIfEnded()
    await this.#directory.write(record)
    return { info: this.#earlier.chains.describe(record), record }
  }

  /** What an earlier backup has of it, if it is still there. */
  #knownFile({ name, sizeBytes, checksum }: DataFile): BackupFile | undefined {
    const known = this.#known.get(name)
    if (!known) return undefined
    const path = this.#directory.pathOf(this.#store.storeId, known)
    if (known.sizeBytes !== sizeBytes || known.crc !== checksum) throw otherHistory(path)
    const isThere = this.#store.env.fs.stat(path)?.sizeBytes === known.sizeBytes
    return isThere ? known : undefined
  }

  async #copyFile({ kind, number, name, sizeBytes, checksum: crc }: DataFile): Promise<BackupFile> {
    const { env, storeId, directory } = this.#store
    const path = this.#directory.pathOf(storeId, { kind, number })
    const known = this.#known.get(name)
    if (!known && this.#earlier.needed.has(path)) throw otherHistory(path)
    const from = `${directory}/${name}`
    // What an attempt before this one copied whole.
    const isThere = !known && env.fs.stat(path)?.sizeBytes === sizeBytes
    let sums = isThere ? await checksumsOf(env, path, sizeBytes, this.#pace) : undefined
    if (sums?.crc !== crc) sums = await this.#copy(from, path, sizeBytes)
    if (sums.crc !== crc) {
      this.#directory.remove(path)
      throw corruption(from, 0, 'file checksum mismatch')
    }
    if (known && !isSameDigest(known.sha256, sums.sha256)) throw otherHistory(path)
    this.#copiedBytes += sizeBytes
    return { kind, number, sizeBytes, crc, sha256: sums.sha256, basePosition: 0, lastPosition: 0 }
  }

  /** The log since the last backup; undefined if it does not reach back that far, or there is none. */
  async #copyLogs(version: Version): Promise<BackupFile[] | undefined> {
    const { last } = this.#earlier
    const { archive } = this.#store
    if (!last || !(await this.#goesOn(last, version))) return undefined
    const isWanted = ({ basePosition, lastPosition }: LogFileInfo) =>
      basePosition < lastPosition && lastPosition > last.position && lastPosition <= version.flushedPosition
    const infos = archive.files.filter(isWanted)
    const reachesBack =
      infos.length === 0 ? last.position === version.flushedPosition : infos[0]!.basePosition <= last.position
    if (!reachesBack) return undefined
    for (const { sizeBytes } of infos) this.#pace.expect(sizeBytes)
    const files: BackupFile[] = []
    for (const info of infos) {
      const file = await this.#copyLog(info)
      if (!file) return undefined
      files.push(file)
    }
    return files
  }

  /** Undefined if it was trimmed meanwhile: readers may keep no more than `log.pinnedMaxBytes`. */
  async #copyLog(info: LogFileInfo): Promise<BackupFile | undefined> {
    const { env, storeId, directory, archive } = this.#store
    const { number, sizeBytes, basePosition, lastPosition } = info
    const file = { kind: 'log', number } as const
    const path = this.#directory.pathOf(storeId, file)
    if (this.#earlier.needed.has(path)) throw otherHistory(path)
    try {
      const { crc, sha256 } = await this.#copy(`${directory}/${nameOf(file)}`, path, sizeBytes)
      await this.#finish(verifyLog(env, this.#directory.folderOf(storeId), info))
      this.#copiedBytes += sizeBytes
      return { ...file, sizeBytes, crc, sha256, basePosition, lastPosition }
    } catch (error) {
      if (!archive.files.includes(info)) return undefined
      // Damage is to be named where it is: in the store, as a rule.
      if ((error as VarveError).code === 'VARVE_CORRUPTION')
        await this.#finish(verifyLog(env, directory, info))
      throw error
    }
  }

  /** The file has its name once it is whole on disk. */
  async #copy(from: string, path: string, sizeBytes: number): Promise<{ crc: number; sha256: Buffer }> {
    const temporary = `${path}.tmp`
    const { fs } = this.#store.env
    this.#directory.remove(temporary)
    try {
      const checksums = await copyDurably(this.#store.env, from, temporary, sizeBytes, this.#pace)
      fs.rename(temporary, path)
      return checksums
    } catch (error) {
      try {
        fs.remove(temporary)
      } catch (left) {
        // The next backup removes it; the first failure is the one to report.
        if (errorCode(left) === undefined) throw left
      }
      throw ioError(error, 'writing', path)
    }
  }

  /** Whether the log since the last backup is one with that backup: positions may have been taken back since. */
  async #goesOn(last: BackupRecord, version: Version): Promise<boolean> {
    const { position } = last
    if (version.flushedPosition < position) return false
    const before = editOf(this.#directory, last)
    if (version.firstLogNumber > 0 && version.firstLogNumber >= (before.nextFileNumber ?? 0)) return false
    if (before.lineage === undefined || compareBytes(this.#store.lineage, before.lineage) !== 0) return false
    const { flushedChecksum } = before
    if (position === version.flushedPosition) return flushedChecksum === version.flushedChecksum
    if (position === 0 || flushedChecksum === undefined) return true
    const checksum = await this.#checksumAt(position)
    return checksum === undefined || checksum === flushedChecksum
  }

  /** Of the batch at `position`; undefined where the log no longer has it. */
  async #checksumAt(position: Position): Promise<number | undefined> {
    if (position <= (this.#store.archive.basePosition ?? position)) return undefined
    const tail = new LogTail(this.#store.env, this.#store.directory, position - 1)
    let checksum: number | undefined
    try {
      await tail.step((_position, _timeMs, bytes, batchOffset) => {
        checksum = crc32(bytes, batchOffset, batchOffset + batchSizeBytes(bytes, batchOffset))
        return undefined
      }, position)
    } catch (error) {
      // Trimmed between two looks.
      if ((error as VarveError).code !== 'VARVE_POSITION_LOST') throw error
    } finally {
      tail.close()
    }
    return checksum
  }

  async #finish(steps: Generator<void>): Promise<void> {
    for (const _ of steps) {
      const turn = this.#store.fairTurn.due()
      if (turn) await turn
    }
    this.#pace.throwIfEnded()
  }

  #syncFolder(): void {
    const folder = this.#directory.folderOf(this.#store.storeId)
    try {
      this.#store.env.fs.syncDirectory(folder)
    } catch (error) {
      throw ioError(error, 'syncing', folder)
    }
  }
}

function otherHistory(path: string): VarveError {
  const message = `${path} is of another history of this store: use another directory for its backups`
  return new VarveError('VARVE_DIVERGED', message, { file: path })
}
