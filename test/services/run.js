// Runs the tests that need real servers: `npm run test:services`. Finds the servers' programs, installs them from
// Debian packages where that is possible, and ends every server that a test started, however the tests ended.
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const INSTALL_MS_MAX = 120_000
const installEndMs = performance.now() + INSTALL_MS_MAX
const TESTS_MS_MAX = 330_000
const POSTGRES_ROOT = '/usr/lib/postgresql'

function findPostgres() {
  const versions = existsSync(POSTGRES_ROOT)
    ? readdirSync(POSTGRES_ROOT).sort((a, b) => Number(b) - Number(a))
    : []
  const directories = versions.map((version) => join(POSTGRES_ROOT, version, 'bin'))
  return [...directories, ...pathDirectories()].find((directory) => existsSync(join(directory, 'initdb')))
}

function findRedis() {
  const directory = pathDirectories().find((candidate) => existsSync(join(candidate, 'redis-server')))
  return directory && join(directory, 'redis-server')
}

function pathDirectories() {
  return (process.env.PATH ?? '').split(':').filter((directory) => directory !== '')
}

/** As root on Debian only. Whatever fails here is told by what is then not found. */
function install(packages) {
  if (packages.length === 0 || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return
  console.log(`services: installing ${packages.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args) => {
    const timeout = Math.max(1, Math.ceil(installEndMs - performance.now()))
    const options = { env, timeout, killSignal: 'SIGKILL', stdio: ['ignore', 'ignore', 'inherit'] }
    return spawnSync('apt-get', args, options).status === 0
  }
  const isInstalled = () => apt('install', '-y', '--no-install-recommends', ...packages)
  if (!isInstalled() && apt('update')) isInstalled()
}

/** Each server leaves a file named after its process while it runs. */
function endServers(directory) {
  for (const pid of readdirSync(join(directory, 'pids'))) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
}

async function runTests(env, directory) {
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.services.config.ts']
  const tests = spawn(process.execPath, [...args, ...process.argv.slice(2)], { env, stdio: 'inherit' })
  const end = () => tests.kill('SIGKILL')
  const guard = setTimeout(() => {
    console.error(`services: the tests took more than ${TESTS_MS_MAX / 1000} s`)
    end()
  }, TESTS_MS_MAX)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end)
  const status = await new Promise((resolve) => tests.once('exit', (code) => resolve(code ?? 1)))
  clearTimeout(guard)
  endServers(directory)
  // What a killed server leaves may still be written for a moment by one of its processes.
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  return status
}

const missing = [...(findPostgres() ? [] : ['postgresql']), ...(findRedis() ? [] : ['redis-server'])]
install(missing)
const postgres = findPostgres()
const redis = findRedis()
if (!postgres) console.log('skipped: no server: postgres')
if (!redis) console.log('skipped: no server: redis-server')
if (postgres || redis) {
  const directory = mkdtempSync(join(tmpdir(), 'varve-services-'))
  // The servers run as another user where this one is root.
  chmodSync(directory, 0o755)
  mkdirSync(join(directory, 'pids'))
  const env = { ...process.env, VARVE_SERVICES: directory }
  if (postgres) env.VARVE_POSTGRES = postgres
  if (redis) env.VARVE_REDIS = redis
  process.exitCode = await runTests(env, directory)
}
