import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** Where `run.js` has every server's files and process numbers, and where the programs are. */
const DIRECTORY = process.env['VARVE_SERVICES'] ?? ''
export const POSTGRES = process.env['VARVE_POSTGRES']
export const REDIS = process.env['VARVE_REDIS']

const START_MS_MAX = 20_000

/** A server's process: on a loopback port of its own, started again on the same port and files. */
class Server {
  readonly port: number
  readonly directory: string
  readonly #command: readonly string[]
  readonly #owner: Owner
  readonly #isReady: () => Promise<boolean>
  #process: ChildProcess | undefined

  constructor(setup: {
    port: number
    directory: string
    command: readonly string[]
    owner: Owner
    isReady: () => Promise<boolean>
  }) {
    this.port = setup.port
    this.directory = setup.directory
    this.#command = setup.command
    this.#owner = setup.owner
    this.#isReady = setup.isReady
  }

  async start(): Promise<void> {
    const endMs = performance.now() + START_MS_MAX
    // A server that was killed may need a moment until nothing of it is left.
    for (;;) {
      this.#spawn()
      while (this.#process?.exitCode === null && this.#process.signalCode === null) {
        if (await this.#isReady()) return
        if (performance.now() > endMs) throw new Error(`${this.#command[0]} does not start`)
        await sleep(20)
      }
      if (performance.now() > endMs) throw new Error(`${this.#command[0]} does not start`)
      await sleep(100)
    }
  }

  /** Ends it with the signal and waits for its end. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  #spawn(): void {
    const [program, ...args] = this.#command
    const log = join(this.directory, 'output')
    const child = spawn(program!, args, { ...this.#owner, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const output of [child.stdout, child.stderr]) output.on('data', (text) => appendFileSync(log, text))
    const pidFile = join(DIRECTORY, 'pids', String(child.pid))
    writeFileSync(pidFile, '')
    child.once('exit', () => rmSync(pidFile, { force: true }))
    this.#process = child
  }
}

interface Owner {
  readonly uid?: number
  readonly gid?: number
}

/** PostgreSQL refuses to run as root. */
function unprivileged(): Owner {
  if (process.getuid?.() !== 0) return {}
  const idOf = (flag: string, user: string) => spawnSync('id', [flag, user], { encoding: 'utf8' })
  const user = idOf('-u', 'postgres').status === 0 ? 'postgres' : 'nobody'
  return { uid: Number(idOf('-u', user).stdout), gid: Number(idOf('-g', user).stdout) }
}

export interface PostgresServer {
  readonly connectionString: string
  start(): Promise<void>
  /** Kills it as a crash would: nothing is written any more. */
  crash(): Promise<void>
  stop(): Promise<void>
}

export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const owner = unprivileged()
  const directory = newDirectory('postgres', owner)
  const data = join(directory, 'data')
  const initialized = spawnSync(
    join(POSTGRES!, 'initdb'),
    ['-D', data, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C', '--no-sync', '--wal-segsize=1'],
    { ...owner, encoding: 'utf8' },
  )
  if (initialized.status !== 0) throw new Error(initialized.stderr)
  const port = await freePort()
  const all = [
    `listen_addresses='127.0.0.1'`,
    `port=${port}`,
    `unix_socket_directories='${directory}'`,
    'wal_level=logical',
    'fsync=off',
    'shared_buffers=16MB',
    'max_wal_size=32MB',
    ...settings,
  ]
  appendFileSync(join(data, 'postgresql.conf'), `${all.join('\n')}\n`)
  const connectionString = `postgres://postgres@127.0.0.1:${port}/postgres`
  const command = [join(POSTGRES!, 'postgres'), '-D', data]
  const isReady = () => answers(connectionString)
  const server = new Server({ port, directory, command, owner, isReady })
  await server.start()
  return {
    connectionString,
    start: () => server.start(),
    crash: () => server.end('SIGKILL'),
    stop: () => server.end('SIGINT'),
  }
}

async function answers(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

export interface RedisServer {
  readonly url: string
  start(): Promise<void>
  crash(): Promise<void>
  stop(): Promise<void>
}

/** Keeps an append-only file: what was answered survives the end of its process. */
export async function startRedis(): Promise<RedisServer> {
  const owner = unprivileged()
  const directory = newDirectory('redis', owner)
  const port = await freePort()
  const command = [REDIS!, '--port', String(port), '--bind', '127.0.0.1', '--dir', directory]
  command.push('--appendonly', 'yes', '--save', '', '--daemonize', 'no')
  const server = new Server({ port, directory, command, owner, isReady: () => answersPing(port) })
  await server.start()
  return {
    url: `redis://127.0.0.1:${port}`,
    start: () => server.start(),
    crash: () => server.end('SIGKILL'),
    stop: () => server.end('SIGTERM'),
  }
}

async function answersPing(port: number): Promise<boolean> {
  const { createConnection } = await import('node:net')
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' }, () => socket.write('PING\r\n'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('data', (answer) => {
      resolve(answer.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.on('error', () => {})
    socket.once('close', () => resolve(false))
  })
}

/** A directory that `run.js` removes at the end. */
export function newDirectory(name: string, owner: Owner = {}): string {
  const directory = mkdtempSync(join(DIRECTORY, `${name}-`))
  mkdirSync(directory, { recursive: true })
  if (owner.uid !== undefined) chownSync(directory, owner.uid, owner.gid!)
  return directory
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
