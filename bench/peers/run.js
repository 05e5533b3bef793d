/** Varve against the engines Node users pick today, on one machine in one run. See bench/README.md. */
import { fork, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeDirectory, removeDirectory } from '../directory.js'
import { lowestLine, machine, markdownTable, summarize, textTable } from './report.js'

const ENGINES = ['varve', 'classic-level', 'lmdb', 'better-sqlite3', 'rocksdb', 'bare', 'packed']
/** Through the interface of abstract-level. */
const LEVELS = ['varve-level', 'memory-level']
const HERE = fileURLToPath(new URL('.', import.meta.url))
const ROUND_LIMIT_MS = 30 * 60_000
const QUICK_ROUND_LIMIT_MS = 60_000

function readOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      entries: { type: 'string' },
      'value-bytes': { type: 'string', default: '100' },
      memory: { type: 'string', default: '256' },
      budget: { type: 'string' },
      only: { type: 'string', default: ENGINES.join(',') },
      json: { type: 'string' },
      markdown: { type: 'boolean', default: false },
    },
  })
  const engines = values.only.split(',').map((name) => name.trim())
  const known = [...ENGINES, ...LEVELS]
  const unknown = engines.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new Error(`--only: "${unknown}" is not one of ${known.join(', ')}`)
  return {
    engines,
    rounds: whole('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    entries: whole('entries', values.entries ?? (values.quick ? '50000' : '500000')),
    valueBytes: whole('value-bytes', values['value-bytes']),
    memory: whole('memory', values.memory) * 2 ** 20,
    budgetMs: whole('budget', values.budget ?? (values.quick ? '250' : '1000')),
    limitMs: values.quick ? QUICK_ROUND_LIMIT_MS : ROUND_LIMIT_MS,
    json: values.json,
    markdown: values.markdown,
  }
}

function whole(name, text) {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1)
    throw new Error(`--${name}: "${text}" is not a whole number above 0`)
  return value
}

function installPeers() {
  if (existsSync(new URL('node_modules', import.meta.url))) return
  console.error('installing the peers into bench/peers/node_modules')
  const args = ['install', '--prefix', HERE, '--no-audit', '--no-fund']
  const { status } = spawnSync('npm', args, { stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`npm install --prefix ${HERE} ended with status ${status}`)
}

const running = { child: undefined, dir: undefined, runs: [] }

/** Runs one engine once in its own process; what it wrote is removed however it ends. */
async function runRound(engine, options) {
  const dir = makeDirectory(engine)
  running.dir = dir
  try {
    return await runChild(engine, dir, options)
  } finally {
    removeDirectory(dir)
    running.dir = undefined
    running.child = undefined
  }
}

function runChild(engine, dir, { entries, valueBytes, memory, budgetMs, limitMs }) {
  const argument = JSON.stringify({ engine, dir, entries, valueBytes, memory, budgetMs })
  const child = fork(new URL('child.js', import.meta.url), [argument], { execArgv: ['--expose-gc'] })
  running.child = child
  const run = { engine, version: undefined, figures: {} }
  let done = false
  const limit = setTimeout(() => child.kill('SIGKILL'), limitMs)
  return new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.version) run.version = message.version
      if (message.row) run.figures[message.row] = message.figure
      if (message.done) done = true
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      if (!done)
        run.failure = `ended with ${signal ?? `status ${code}`} after ${Object.keys(run.figures).length} rows`
      resolve(run)
    })
  })
}

async function runAll(options) {
  const { runs } = running
  for (let round = 1; round <= options.rounds; round++) {
    for (const engine of options.engines) {
      const start = performance.now()
      const run = await runRound(engine, options)
      const seconds = ((performance.now() - start) / 1000).toFixed(1)
      console.error(`round ${round}: ${engine} ${run.failure ?? 'done'} (${seconds} s)`)
      runs.push({ round, ...run })
    }
  }
  return runs
}

function heading(options, runs) {
  const versions = options.engines.map((engine) => `${engine} ${versionOf(engine, runs)}`)
  const { cpu, cores, memoryGiB, kernel, node } = machine()
  const { entries, valueBytes, memory, rounds } = options
  return [
    `engines: ${versions.join(', ')}`,
    `options: ${entries.toLocaleString('en-US')} entries of 16 + ${valueBytes} bytes, ${memory / 2 ** 20} MiB for each engine, ${rounds} round(s)`,
    `machine: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}, Node ${node}`,
    rounds > 1
      ? 'figures: operations per second (M: MB), minimum/median/maximum'
      : 'figures: operations per second (M: MB)',
  ]
}

function versionOf(engine, runs) {
  return runs.find((run) => run.engine === engine && run.version)?.version ?? '(did not open)'
}

function print(options, runs) {
  const rows = summarize(runs)
  const table = options.markdown ? markdownTable : textTable
  const lines = heading(options, runs)
  console.log((options.markdown ? lines.map((line) => `- ${line}`) : lines).join('\n'))
  console.log(`\n${table(rows, options.engines)}\n`)
  for (const { engine, round, failure } of runs)
    if (failure) console.log(`${engine}, round ${round}: ${failure}`)
  console.log(lowestLine(rows))
}

/** Shows what is there: a run of hours is not lost when it is stopped. */
function stop(signal, options) {
  running.child?.kill('SIGKILL')
  if (running.dir) removeDirectory(running.dir)
  if (running.runs.length > 0) print(options, running.runs)
  process.exit(signal === 'SIGINT' ? 130 : 143)
}

async function main() {
  const options = readOptions()
  installPeers()
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stop(signal, options))
  const runs = await runAll(options)
  if (options.json)
    writeFileSync(options.json, `${JSON.stringify({ options, machine: machine(), runs }, null, 2)}\n`)
  print(options, runs)
  process.exitCode = runs.some((run) => run.failure) ? 1 : 0
}

await main()
