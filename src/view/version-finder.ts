import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Build } from './build.js'
import { type Standing, standingOf } from './candidates.js'
import type { ViewDirectories, ViewDirectory } from './directories.js'
import type { ViewRecord } from './record.js'
import { type Definition, frozenDefinition } from './resolve.js'

/** What all views of a store share. */
export interface VersionHost {
  readonly main: TypedStore<unknown, unknown>
  /** In hexadecimal. */
  readonly storeId: string
  readonly directories: ViewDirectories
}

/** A version that is on disk, open, and what it is worth. */
export interface FoundVersion {
  readonly directory: ViewDirectory
  readonly build: Build
  readonly standing: Standing
}

/**
 * Opens every directory of the view of `target`, but those in `except`. What was never written to is `'wrong'`.
 * What is damaged is removed: it is derived data, and is built again.
 */
export async function findVersions(
  host: VersionHost,
  target: Definition,
  except: ReadonlySet<string>,
  open: (path: string, definitionOf: (record: ViewRecord) => Definition) => Promise<Build>,
): Promise<{ readonly found: FoundVersion[]; readonly nextBuild: number }> {
  const { directories, main, storeId } = host
  const found: FoundVersion[] = []
  let nextBuild = 1
  try {
    for (const directory of directories.list(target.name)) {
      nextBuild = Math.max(nextBuild, directory.build + 1)
      if (directory.isRemoved || except.has(directory.path)) continue
      const definitionOf = (record: ViewRecord) => definitionFor(directory.version, record, target)
      const build = await unlessDamaged(host, target, directory.path, () =>
        open(directory.path, definitionOf),
      )
      if (!build) continue
      const standing = build.hasRecord ? standingOf(build.record, main.store, storeId) : 'wrong'
      if (standing === 'good') build.pin()
      found.push({ directory, build, standing })
    }
  } catch (error) {
    for (const { build } of found) await build.close()
    throw error
  }
  return { found, nextBuild }
}

async function unlessDamaged(
  { main, directories }: VersionHost,
  { name, version }: Definition,
  path: string,
  open: () => Promise<Build>,
): Promise<Build | undefined> {
  try {
    return await open()
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== 'VARVE_CORRUPTION') throw error
    main.store.events.emit({ type: 'view.failed', name, version, error })
    await directories.remove(path)
    return undefined
  }
}

function definitionFor(version: string, record: ViewRecord, target: Definition): Definition {
  if (version === target.version) return target
  if (version === target.previous?.version) return target.previous
  // One that cannot be read has no version: it is never shown.
  const unreadable: Definition = { ...target, version: '', isFrozen: true, hooks: undefined }
  return frozenDefinition(version, record.encodings, target) ?? unreadable
}
