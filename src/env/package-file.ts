import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

/** The bytes of a file that an installed package ships. */
export function readPackageFile(specifier: string): Uint8Array {
  return readFileSync(createRequire(import.meta.url).resolve(specifier))
}
