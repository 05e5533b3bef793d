import type { Env } from '../env/env.js'
import { blobFileName, joinPath, LOCK_NAME, segmentFileName } from '../env/file-names.js'
import { ioError } from '../errors.js'
import type { SegmentMeta } from '../segment/segment-meta.js'
import { listDirectory } from '../store/directory.js'
import { Version, type VersionEdit } from '../version/version.js'
import { readManifest, VersionSet } from '../version/version-set.js'

/**
 * Puts the state that `edit` describes, whose segments lie whole and durable in the directory `staged`, in the
 * place of what a closed store holds. CURRENT decides: a crash before it is replaced leaves the old state, after it
 * the new one, and the next opening removes what belongs to the other.
 */
export async function installCopy(
  env: Env,
  directory: string,
  staged: string,
  edit: VersionEdit,
): Promise<void> {
  const lock = env.fs.lock(joinPath(directory, LOCK_NAME))
  try {
    const manifest = readManifest(env, directory)
    const storeId = manifest?.storeId ?? randomId(env)
    const previous = manifest?.version ?? Version.EMPTY
    let number = Math.max(listDirectory(env, directory).firstFreeNumber, previous.nextFileNumber)
    const added: { level: number; meta: SegmentMeta }[] = []
    for (const { level, meta } of edit.added ?? []) {
      const from = joinPath(staged, segmentFileName(meta.number))
      const to = joinPath(directory, segmentFileName(number))
      if (!env.fs.link(from, to)) env.fs.rename(from, to)
      added.push({ level, meta: { ...meta, number: number++ } })
    }
    for (const { id } of edit.blobs ?? []) {
      const to = joinPath(directory, blobFileName(id))
      // A file of the state that is replaced, from an earlier copy: the same id is the same file.
      if (previous.blobs.has(id)) continue
      // What a crash left.
      if (env.fs.stat(to)) env.fs.remove(to)
      const from = joinPath(staged, blobFileName(id))
      if (!env.fs.link(from, to)) env.fs.rename(from, to)
    }
    env.fs.syncDirectory(directory)
    const flushedPosition = edit.flushedPosition ?? 0
    const version = Version.EMPTY.apply({
      ...edit,
      added,
      // Logs of the old state are neither replayed nor shown: they are no part of this history.
      logNumber: number,
      firstLogNumber: number,
      nextFileNumber: number,
      durablePosition: flushedPosition,
      tombstoneHorizon: edit.tombstoneHorizon ?? flushedPosition,
      leader: previous.leader,
      fencedEpoch: previous.fencedEpoch,
      keyEncoding: previous.keyEncoding,
      valueEncoding: previous.valueEncoding,
    })
    const versions = new VersionSet(env, directory, storeId, version, number)
    versions.rotate()
    await versions.close()
  } catch (error) {
    throw ioError(error, 'installing a copy in', directory)
  } finally {
    lock.release()
  }
}

function randomId(env: Env): Buffer {
  const id = Buffer.alloc(16)
  env.random.fill(id)
  return id
}
