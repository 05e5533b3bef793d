// Builds dist/ from nothing, so that no file of an earlier build is ever tested or shipped. Where neither the sources
// nor what was built of them changed since, there is nothing to do.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'

const STAMP = 'node_modules/.varve-build'
const SOURCES = ['src', 'tsconfig.json', 'package-lock.json']
/** What the compiler keeps for the next time: it would leave out what it wrote before. */
const TYPES = 'node_modules/.varve-types'

function filesUnder(path) {
  if (!existsSync(path)) return []
  if (!statSync(path).isDirectory()) return [path]
  const entries = readdirSync(path, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => `${parentPath}/${name}`)
}

function digestOf(paths) {
  const hash = createHash('sha256')
  for (const file of paths.flatMap(filesUnder).sort()) hash.update(`${file}\n`).update(readFileSync(file))
  return hash.digest('hex')
}

function compile() {
  for (const path of ['dist', TYPES, STAMP]) rmSync(path, { recursive: true, force: true })
  const tsc = ['node_modules/typescript/bin/tsc', '-p', '.']
  const { status } = spawnSync(process.execPath, tsc, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  chmodSync('dist/cli/main.js', 0o755)
}

const sources = digestOf(SOURCES)
if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === `${sources} ${digestOf(['dist'])}`) {
  // Newer than the sources, so that tests are given it.
  utimesSync('dist/index.js', new Date(), new Date())
} else {
  compile()
  writeFileSync(STAMP, `${sources} ${digestOf(['dist'])}`)
}
