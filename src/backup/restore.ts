import type { Env } from '../env/env.js'
import { joinPath } from '../env/file-names.js'
import { ioError, VarveError } from '../errors.js'
import {
  BATCH_HEADER_BYTES,
  batchOpCount,
  batchSizeBytes,
  KIND_CLEAR,
  KIND_CLEAR_AFTER,
  KIND_DEL,
  KIND_PUT,
  KIND_PUT_UNTIL,
  OP_HEADER_BYTES,
  opKeyLength,
  opSizeBytes,
  opValueLength,
  opValueStart,
} from '../key/batch-format.js'
import type { Position } from '../key/position.js'
import { STORE_ID_BYTES } from '../log/log-format.js'
import { BLOCKING } from '../segment/read-context.js'
import type { EncryptionOptions } from '../store/contract.js'
import { LogTail } from '../store/log-tail.js'
import { copyFile, removeQuietly, verifyStore } from '../store/maintenance.js'
import { resolveEnv, resolveOptions } from '../store/options.js'
import { Store } from '../store/store.js'
import { Lookup } from '../tree/tree-view.js'
import { cloneBytes, copyBytes } from '../util/bytes.js'
import { hashKey } from '../util/hash.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import { dataFilesOf } from '../version/data-files.js'
import { Version } from '../version/version.js'
import { readManifest, VersionSet } from '../version/version-set.js'

/** What `restore` puts a store together from. */
export interface RestoreOptions {
  /** The directory of a checkpoint, whose segments the log goes on from; left out: the log is all there is. */
  readonly checkpoint?: string | undefined
  /** The directory with the log files, a store's or a copy of them. That store may be open and written to. */
  readonly log: string
  /** Where to end; left out: as far as the log goes. */
  readonly to?: Position | undefined
  /** Called now and then with the position that was reached. */
  readonly onProgress?: ((position: Position) => void) | undefined
  /** The key of the checkpoint and of the log, which are encrypted, and of what is written. */
  readonly encryption?: EncryptionOptions | undefined
  /** For tests and for embedding in something that is not Node. */
  readonly env?: Env
}

const RESTORE_NAMES: OptionNames<RestoreOptions> = {
  checkpoint: true,
  log: true,
  to: true,
  onProgress: true,
  encryption: true,
  env: true,
}

/** What a store is put together from. Paths are absolute. */
export interface AssemblyPlan {
  readonly target: string
  /** Of which the segments, and what they hold, are the start. */
  readonly version: Version
  /** Puts every segment and blob file of `version` into a directory, whole and durable, but for its name. */
  readonly stageSegments: (staged: string) => Promise<void>
  /** The directory with the log files that it goes on with. */
  readonly log: string
  readonly to: Position | undefined
  /** Called now and then; what it throws ends the work. */
  readonly onProgress?: ((position: Position) => void) | undefined
}

/**
 * Writes a store to `path`, which must not exist: a checkpoint and the log after it, exactly up to one position,
 * verified. It appears there once it is whole and durable. The times of the log's batches are those of the restore.
 * Without a checkpoint all of it comes from the log. See `RestoreOptions`.
 * @throws VarveError `VARVE_INVALID_ARGUMENT`, `VARVE_POSITION_LOST` (the log starts too late), `VARVE_DIVERGED` (it
 * is of another history), `VARVE_CORRUPTION`, `VARVE_KEY`, `VARVE_NO_SPACE`, `VARVE_IO`. Nothing is left at `path` then.
 */
export async function restore(path: string, options: RestoreOptions): Promise<{ position: Position }> {
  checkOptionNames('restore', options, RESTORE_NAMES)
  const { checkpoint, log } = options
  const env = resolveEnv(options)
  for (const each of [path, log, checkpoint ?? path])
    if (typeof each !== 'string' || each === '') throw invalid('a path is a string')
  const from = checkpoint === undefined ? undefined : env.fs.resolve(checkpoint)
  const manifest = from === undefined ? undefined : readManifest(env, from)
  if (from !== undefined && !manifest) throw invalid(`there is no store at ${from}`)
  const version = manifest?.version ?? Version.EMPTY
  const position = await assembleStore(env, {
    target: env.fs.resolve(path),
    version,
    stageSegments: (staged) => linkSegments(env, from, version, staged),
    log: env.fs.resolve(log),
    to: options.to,
    onProgress: options.onProgress,
  })
  return { position }
}

/** Makes a store of segments and a log in a directory of its own, verifies it, and gives it its name last. */
export async function assembleStore(env: Env, plan: AssemblyPlan): Promise<Position> {
  const { target, to, version } = plan
  const staged = `${target}.partial`
  for (const path of [target, staged]) if (env.fs.stat(path)) throw invalid(`${path} exists already`)
  const base = version.flushedPosition
  if (to !== undefined && !(Number.isSafeInteger(to) && to >= base))
    throw invalid(`the position to restore is a whole number from ${base} on, where the checkpoint is`)
  try {
    env.fs.makeDirectory(staged)
    await plan.stageSegments(staged)
    await startStore(env, version, staged)
    const position = await replay(env, staged, plan, base)
    env.fs.rename(staged, target)
    env.fs.syncDirectory(target.slice(0, Math.max(1, target.lastIndexOf('/'))))
    return position
  } catch (error) {
    removeQuietly(env, staged)
    throw ioError(error, 'restoring', target)
  }
}

async function linkSegments(
  env: Env,
  from: string | undefined,
  version: Version,
  staged: string,
): Promise<void> {
  for (const { name } of dataFilesOf(version)) {
    await copyFile(env, joinPath(from!, name), joinPath(staged, name))
  }
}

async function startStore(env: Env, version: Version, staged: string): Promise<void> {
  env.fs.syncDirectory(staged)
  const { flushedPosition } = version
  const storeId = Buffer.alloc(STORE_ID_BYTES)
  env.random.fill(storeId)
  const facts = { logNumber: 0, durablePosition: flushedPosition, leader: '', firstLogNumber: 0 }
  const start = new Version({ ...version, ...facts })
  const versions = new VersionSet(env, staged, storeId, start, 0)
  versions.rotate()
  await versions.close()
}

async function replay(env: Env, staged: string, plan: AssemblyPlan, base: Position): Promise<Position> {
  const store = await Store.open(
    staged,
    resolveOptions({ env, durability: 'os', createIfMissing: false, checkEncodings: false }),
  )
  try {
    if (plan.to !== base) {
      await checkHistory(env, store, plan.log)
      await appendLog(env, store, plan)
    }
    await store.flush()
    await verifyStore(store, { onProgress: () => plan.onProgress?.(store.position) })
  } catch (error) {
    await store.close().catch(() => {})
    throw error
  }
  await store.close()
  return store.position
}

async function appendLog(env: Env, store: Store, { log, to, onProgress }: AssemblyPlan): Promise<void> {
  const base = store.position
  const tail = new LogTail(env, log, base)
  try {
    let written: Promise<Position> | undefined
    const append = (_position: Position, _timeMs: number, bytes: Buffer, batchOffset: number) => {
      written = appendBatch(store, bytes, batchOffset)
      // Awaited once a step; a failure of one is a failure of all that follow.
      written.catch(() => {})
      return undefined
    }
    while (await tail.step(append, to)) {
      const position = await written
      if (position !== undefined && position !== tail.position)
        throw new Error(`position ${tail.position} was written as ${position}`)
      await store.fairTurn.due()
      onProgress?.(store.position)
    }
    if (to === undefined || tail.position < to) tail.checkEnd()
    if (to !== undefined && store.position < to)
      throw invalid(`the log ends at position ${store.position}, before ${to}`)
  } finally {
    tail.close()
  }
}

/** The last batch that the checkpoint holds, if the log still has it: what it wrote must be there. */
async function checkHistory(env: Env, store: Store, log: string): Promise<void> {
  const base = store.position
  if (base === 0) return
  const tail = new LogTail(env, log, base - 1)
  const written = new Map<string, { key: Buffer; value: Buffer | undefined }>()
  let hasClear = false
  try {
    await tail.step((_position, _timeMs, bytes, batchOffset) => {
      let at = batchOffset + BATCH_HEADER_BYTES
      for (let i = 0; i < batchOpCount(bytes, batchOffset); i++) {
        const keyStart = at + OP_HEADER_BYTES
        const keyEnd = keyStart + opKeyLength(bytes, at)
        const kind = bytes[at]!
        if (kind === KIND_CLEAR || kind === KIND_CLEAR_AFTER) hasClear = true
        if (kind === KIND_PUT || kind === KIND_PUT_UNTIL || kind === KIND_DEL) {
          const key = cloneBytes(bytes, keyStart, keyEnd)
          const valueEnd = keyEnd + opValueLength(bytes, at)
          const value = kind === KIND_DEL ? undefined : cloneBytes(bytes, opValueStart(bytes, at), valueEnd)
          written.set(key.toString('latin1'), { key, value })
        }
        at += opSizeBytes(bytes, at)
      }
      return undefined
    }, base)
  } catch (error) {
    // The log starts right after the checkpoint: nothing to compare.
    if ((error as VarveError).code === 'VARVE_POSITION_LOST') return
    throw error
  } finally {
    tail.close()
  }
  const lookup = new Lookup(undefined)
  for (const { key, value } of hasClear ? [] : written.values()) {
    const hash = hashKey(key, 0, key.length)
    const isThere = store.tree.view.find(key, 0, key.length, hash, base, BLOCKING, lookup)
    const isSame =
      isThere && value
        ? value.compare(lookup.bytes, lookup.valueStart, lookup.valueEnd) === 0 && lookup.position === base
        : !isThere && !value
    if (isSame) continue
    const message = `the checkpoint does not hold what the log says was written at position ${base}`
    throw new VarveError('VARVE_DIVERGED', message, { position: base })
  }
}

function appendBatch(store: Store, bytes: Buffer, batchOffset: number): Promise<Position> {
  const { pipeline } = store
  const size = batchSizeBytes(bytes, batchOffset)
  const start = pipeline.begin(size)
  copyBytes(bytes, batchOffset, batchOffset + size, pipeline.memory, start)
  return pipeline.append(start, start + size)
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
