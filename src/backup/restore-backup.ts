import type { Env } from '../env/env.js'
import { joinPath } from '../env/file-names.js'
import { ioError, VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { LogTail } from '../store/log-tail.js'
import type { BackupDirectory } from './backup-directory.js'
import { nameOf } from './backup-directory.js'
import { type BackupFile, type BackupRecord, backupName } from './backup-format.js'
import { versionOf } from './backup-records.js'
import { checkBackedUp, copyDurably } from './copy-file.js'
import type { Pace } from './pace.js'
import { assembleStore } from './restore.js'

/** What a state is put together from: the segments of one backup, and the logs of the one that goes on from it. */
interface Sources {
  readonly base: BackupRecord
  readonly next: BackupRecord | undefined
}

/**
 * Writes a store to `target`: the state at a position, or before the first change after a time. Every byte is copied
 * and its SHA-256 compared before anything is read out of it.
 * @param wanted undefined: where the backup ends.
 */
export async function writeRestored(
  directory: BackupDirectory,
  number: number,
  target: string,
  wanted: Position | Date | undefined,
  pace: Pace,
): Promise<Position> {
  const { env } = directory
  const end = directory.read(number)
  const { base, next } = findSources(directory, end, wanted)
  const version = versionOf(directory, base)
  const data = base.files.filter(({ kind }) => kind !== 'log')
  const logs = neededLogs(next, base.position, wanted)
  for (const { sizeBytes } of [...data, ...logs]) pace.expect(sizeBytes)
  const log = `${target}.log.partial`
  if (env.fs.stat(log)) throw invalid(`${log} exists already`)
  try {
    env.fs.makeDirectory(log)
    if (next) await copyOut(directory, next, logs, log, pace)
    const to = wanted instanceof Date ? await positionAt(env, log, base, next, wanted) : wanted
    return await assembleStore(env, {
      target,
      version,
      stageSegments: (staged) => copyOut(directory, base, data, staged, pace),
      log,
      to: to ?? base.position,
      onProgress: () => pace.throwIfEnded(),
    })
  } catch (error) {
    throw ioError(error, 'restoring', target)
  } finally {
    await removeCopies(env, log, logs)
  }
}

/** The newest backup before what is wanted, on the way that leads to `end`. */
function findSources(
  directory: BackupDirectory,
  end: BackupRecord,
  wanted: Position | Date | undefined,
): Sources {
  const isAfter = ({ position, createdMs }: BackupRecord) =>
    wanted instanceof Date ? createdMs > wanted.getTime() : wanted !== undefined && position > wanted
  if (!isAfter(end)) {
    const isBeyond =
      wanted instanceof Date ? wanted.getTime() > end.createdMs : (wanted ?? end.position) > end.position
    if (!isBeyond) return { base: end, next: undefined }
    const at = wanted instanceof Date ? describeTime(end.createdMs) : `position ${end.position}`
    throw invalid(`backup ${backupName(end.number)} ends at ${at}`)
  }
  for (let next = end; ; ) {
    if (next.previous === 0) throw lost(next)
    const base = directory.read(next.previous)
    if (!base.storeId.equals(next.storeId)) throw lost(next)
    if (!isAfter(base)) return { base, next }
    next = base
  }
}

function lost({ number, position, createdMs }: BackupRecord): VarveError {
  const at = `position ${position}, ${describeTime(createdMs)}`
  const message = `the backups reach back to ${at}, with ${backupName(number)}`
  return new VarveError('VARVE_POSITION_LOST', message, { position })
}

function neededLogs(
  next: BackupRecord | undefined,
  base: Position,
  wanted: Position | Date | undefined,
): BackupFile[] {
  if (!next || wanted === base) return []
  const end = typeof wanted === 'number' ? wanted : next.position
  return next.files.filter(
    ({ kind, basePosition, lastPosition }) => kind === 'log' && lastPosition > base && basePosition < end,
  )
}

/** The last position before the first change after `base` that was committed later than `time`. */
async function positionAt(
  env: Env,
  log: string,
  base: BackupRecord,
  next: BackupRecord | undefined,
  time: Date,
): Promise<Position> {
  if (!next || next.position === base.position) return base.position
  const tail = new LogTail(env, log, base.position)
  let last = base.position
  let isLater = false
  try {
    const visit = (position: Position, timestampMs: number) => {
      if (timestampMs > time.getTime()) isLater = true
      if (!isLater) last = position
      return undefined
    }
    while (!isLater && (await tail.step(visit, next.position)));
  } finally {
    tail.close()
  }
  return last
}

async function copyOut(
  directory: BackupDirectory,
  { storeId }: BackupRecord,
  files: readonly BackupFile[],
  into: string,
  pace: Pace,
): Promise<void> {
  const { env } = directory
  if (files.length > 0) directory.checkFolder(storeId)
  for (const file of files) {
    const path = directory.pathOf(storeId, file)
    const copy = joinPath(into, nameOf(file))
    await checkBackedUp(env, path, file, () => copyDurably(env, path, copy, file.sizeBytes, pace))
  }
}

/** Only what was copied there. What is left after a failure harms nothing. */
async function removeCopies(env: Env, log: string, files: readonly BackupFile[]): Promise<void> {
  try {
    for (const file of files) {
      const path = joinPath(log, nameOf(file))
      if (env.fs.stat(path)) env.fs.remove(path)
      // Where files are large the system takes milliseconds for one.
      await env.clock.sleep(0)
    }
    if (env.fs.stat(log)) env.fs.remove(log)
  } catch {}
}

function describeTime(ms: number): string {
  return new Date(ms).toISOString()
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
