import { existsSync } from 'node:fs'
import { dirname, extname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** This file, or the bundle that holds it: as CommonJS that has no address. */
function ownFile(): string {
  // `node -e` and programs from stdin leave a name of their own in the global scope: [eval], [stdin].
  const isFile = typeof __filename === 'string' && isAbsolute(__filename)
  return isFile ? __filename : fileURLToPath(import.meta.url)
}

/**
 * The compiled file at `path`, relative to this folder; in a bundle the one beside it called `bundledName`, with
 * whatever extension. Undefined: there is none.
 */
export function findScript(path: string, bundledName: string): string | undefined {
  const own = ownFile()
  if (own.endsWith('.ts')) return undefined
  const folder = dirname(own)
  const extensions = [...new Set([extname(own), '.js', '.mjs', '.cjs'])]
  const candidates = [
    join(folder, path),
    ...extensions.map((extension) => join(folder, bundledName + extension)),
  ]
  return candidates.find(existsSync)
}
