import { readFileSync } from 'node:fs'

/** The version of an installed package; read from its file, since not every package exports package.json. */
export function packageVersion(name) {
  const url = new URL(`../node_modules/${name}/package.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')).version
}
