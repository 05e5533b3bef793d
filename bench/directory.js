import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Makes a directory under the system's temporary one. */
export function makeDirectory(name) {
  return mkdtempSync(join(tmpdir(), `varve-bench-${name}-`))
}

export function removeDirectory(path) {
  rmSync(path, { recursive: true, force: true, maxRetries: 3 })
}

/** The apparent size of all files below `path`, in bytes. */
export function directoryBytes(path) {
  let bytes = 0
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name)
    // A merge may have removed it meanwhile.
    bytes += entry.isDirectory()
      ? directoryBytes(child)
      : (statSync(child, { throwIfNoEntry: false })?.size ?? 0)
  }
  return bytes
}
