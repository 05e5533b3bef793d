import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, extname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VarveError } from '../errors.js'

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

/**
 * The bytes of a file that an installed package ships; in a bundle, of its copy beside that.
 * @throws VarveError `VARVE_IO` where it is in neither place.
 */
export function readPackageFile(specifier: string): Uint8Array {
  const own = ownFile()
  const copy = join(dirname(own), basename(specifier))
  try {
    return readFileSync(existsSync(copy) ? copy : createRequire(own).resolve(specifier))
  } catch (cause) {
    const message = `cannot read ${specifier}: copy that file to ${dirname(copy)} when you bundle, or install its package`
    throw new VarveError('VARVE_IO', message, { cause, file: copy })
  }
}
