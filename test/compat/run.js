// Packs the package, installs it without scripts in a directory of its own, and tries it as its users would: on each
// release line of Node and on Bun, fetched as packages, and with the compiler in each way of resolving modules.
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const HERE = import.meta.dirname
const PROJECT = resolve(HERE, '../..')
const NODE_LINES = ['20', '22', '24', '26']
const PLATFORM = `${process.platform}-${process.arch}`
const MODULE_KINDS = [
  ['nodenext', 'nodenext'],
  ['node16', 'node16'],
  ['esnext', 'bundler'],
]
/** Versions of dependencies that are newer than the lock file's may differ a little. */
const SIZE_TOLERANCE = 0.15
const ROUNDING_MIB = 0.05
const root = mkdtempSync(join(tmpdir(), 'varve-compat-'))
let failures = 0

function run(command, args, cwd) {
  return spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 })
}

function must(command, args, cwd) {
  const { status, stdout, stderr } = run(command, args, cwd)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout.trim()
}

function report(what, { status, stdout, stderr }) {
  const isGood = status === 0
  if (!isGood) failures++
  const text = (isGood ? stdout : `${stdout}${stderr}`).trim()
  console.log(
    `${isGood ? 'ok  ' : 'FAIL'} ${what.padEnd(28)} ${text
      .split('\n')
      .slice(0, isGood ? 1 : 20)
      .join('\n')}`,
  )
}

function makeProject() {
  const [{ filename, size }] = JSON.parse(
    must('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', root], PROJECT),
  )
  const app = mkdtempSync(join(root, 'app-'))
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }\n')
  const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund']
  must('npm', [...install, join(root, filename)], app)
  const { packages } = JSON.parse(readFileSync(join(app, 'package-lock.json'), 'utf8'))
  const modules = join(app, 'node_modules')
  const dependencies = Object.keys(packages).length - 2
  console.log(
    `install: ${mebibytes(size)} packed, ${mebibytes(sizeOf(join(modules, 'varve')))} unpacked, ` +
      `${mebibytes(sizeOf(modules))} with all of its ${dependencies} dependencies`,
  )
  checkStatedSize(size, sizeOf(modules), dependencies)
  must('npm', [...install, 'abstract-level@3', '@types/node@20'], app)
  for (const name of ['smoke.mjs', 'user.ts']) copyFileSync(join(HERE, name), join(app, name))
  return app
}

/** What the README says of the size of an installation must hold. */
function checkStatedSize(packedBytes, installedBytes, dependencies) {
  const text = readFileSync(join(PROJECT, 'README.md'), 'utf8')
  const stated = /([\d.]+) MiB to download, ([\d.]+) MiB installed with its (\d+) dependencies/.exec(text)
  const isNear = (mib, bytes) =>
    Math.abs(Number(mib) - bytes / 2 ** 20) <= SIZE_TOLERANCE * Number(mib) + ROUNDING_MIB
  const holds =
    stated !== null &&
    isNear(stated[1], packedBytes) &&
    isNear(stated[2], installedBytes) &&
    Number(stated[3]) === dependencies
  report('size, as README says', { status: holds ? 0 : 1, stdout: stated?.[0] ?? '', stderr: '' })
}

function sizeOf(directory) {
  const files = readdirSync(directory, { withFileTypes: true, recursive: true }).filter((entry) =>
    entry.isFile(),
  )
  return files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

function tryRuntimes(app) {
  const runtimes = mkdtempSync(join(root, 'runtimes-'))
  writeFileSync(join(runtimes, 'package.json'), '{ "private": true }\n')
  const wanted = [
    ...NODE_LINES.map((line) => [`node${line}`, `node-${PLATFORM}@${line}`, 'bin/node']),
    ['bun', `@oven/bun-${PLATFORM}`, 'bin/bun'],
  ]
  for (const [name, source, binary] of wanted) {
    const fetched = run(
      'npm',
      ['install', '--ignore-scripts', '--no-save', `${name}@npm:${source}`],
      runtimes,
    )
    if (fetched.status !== 0) {
      report(`fetch ${source}`, fetched)
      continue
    }
    const path = join(runtimes, 'node_modules', name, binary)
    const version = `${name.replace(/\d+/, '')} ${must(path, ['--version'], app)}`
    report(version, run(path, ['smoke.mjs'], app))
    report(`${version}, varve`, run(path, ['node_modules/varve/dist/cli/main.js', '--version'], app))
  }
}

function tryCompiler(app) {
  const compiler = join(PROJECT, 'node_modules/typescript/bin/tsc')
  const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022']
  for (const [module, resolution] of MODULE_KINDS) {
    const kinds = ['--module', module, '--moduleResolution', resolution]
    report(
      `tsc, ${module}/${resolution}`,
      run(process.execPath, [compiler, ...strict, ...kinds, 'user.ts'], app),
    )
  }
}

try {
  const app = makeProject()
  tryCompiler(app)
  tryRuntimes(app)
} finally {
  rmSync(root, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1
