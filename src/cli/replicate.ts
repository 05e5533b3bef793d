import { readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import type { DivergedPolicy, Follower } from '../replication.js'
import { complain, EXIT_FINDING, UsageError } from './failure.js'
import { encryptionOptions } from './key-file.js'
import { printJson, printLine } from './output.js'
import { closeAfter, parseCount, withJson, withStore } from './store.js'

// Loaded when it is wanted: HTTP would cost every other command a tenth of a second.
const loadReplication = () => import('../replication.js')

/** Where a token is read from when there is no file: never from the arguments, which every user of a machine sees. */
const TOKEN_VARIABLE = 'VARVE_TOKEN'
const STATUS_MS = 1000

interface JsonOption {
  readonly json?: boolean
}

interface ServeCommandOptions extends JsonOption {
  readonly host?: string
  readonly port?: number
  readonly tokenFile?: string
  readonly cert?: string
  readonly key?: string
}

interface FollowCommandOptions extends JsonOption {
  readonly leader: string
  readonly tokenFile?: string
  readonly ca?: string
  readonly rebuild?: boolean
}

export function addReplicationCommands(program: Command): void {
  const token = `a file that holds the token; default: what ${TOKEN_VARIABLE} holds`
  withJson(
    program
      .command('serve <dir>')
      .description('serves the log to followers until it is ended; prints the address')
      .option('--host <host>', 'where to listen; beyond this machine only with a token and TLS')
      .option('--port <port>', 'default: one that is free', parseCount)
      .option('--token-file <file>', token)
      .option('--cert <file>', 'a certificate in PEM: serves over TLS')
      .option('--key <file>', 'its key in PEM'),
  ).action(runServe)

  withJson(
    program
      .command('follow <dir>')
      .description('follows another store until it is ended; shows how far it is behind')
      .requiredOption('--leader <url>', 'what serve printed')
      .option('--token-file <file>', token)
      .option('--ca <file>', "certificates in PEM that sign the leader's")
      .option('--rebuild', 'a log that differs is moved aside, kept, and replaced'),
  ).action(runFollow)
}

async function runServe(directory: string, options: ServeCommandOptions): Promise<void> {
  const { host, port, tokenFile, cert, key, json } = options
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--cert and --key belong together')
  const token = readToken(tokenFile)
  const tls = cert && key ? { tls: { cert: readText(cert), key: readText(key) } } : {}
  const { serveLog } = await loadReplication()
  await withStore(directory, 'write', async (store) => {
    const server = await serveLog(store, {
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      ...(token === undefined ? {} : { token }),
      ...tls,
    })
    await closeAfter(server, async () => {
      if (json) printJson({ url: server.url, position: store.position })
      else printLine(server.url)
      await untilEnded()
    })
  })
}

async function runFollow(directory: string, options: FollowCommandOptions): Promise<void> {
  const { leader, tokenFile, ca, rebuild, json } = options
  const token = readToken(tokenFile)
  const onDiverged: DivergedPolicy = rebuild ? 'rebuild' : 'fail'
  const { openFollower } = await loadReplication()
  const follower = await openFollower<Buffer, Buffer>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    leader,
    onDiverged,
    ...encryptionOptions(),
    ...(token === undefined ? {} : { token }),
    ...(ca === undefined ? {} : { ca: readText(ca) }),
  })
  await closeAfter(follower, async () => {
    follower.on('follower.diverged', ({ position, keptAt }) => {
      if (keptAt !== undefined)
        complain(`the log differed from position ${position} on: it is kept at ${keptAt}`)
    })
    const gaveUp = new Promise<void>((resolve) => {
      follower.on('follower.disconnected', ({ error, retryMs }) => {
        if (retryMs !== undefined) return
        complain(error?.message ?? 'following ended')
        process.exitCode = EXIT_FINDING
        resolve()
      })
    })
    const stop = showLag(follower, json)
    await Promise.race([untilEnded(), gaveUp])
    stop()
  })
}

/** One line each second: on a terminal always the same one, on stderr; with `--json` each on stdout. */
function showLag(follower: Follower<Buffer, Buffer>, json: boolean | undefined): () => void {
  if (!json && !process.stderr.isTTY) return () => undefined
  const timer = setInterval(() => {
    const { position, lag, connected } = follower
    if (json) printJson({ position, lag, connected })
    else
      process.stderr.write(`\r\x1b[Kposition ${position}, ${lag} behind${connected ? '' : ', not connected'}`)
  }, STATUS_MS)
  return () => {
    clearInterval(timer)
    if (!json) process.stderr.write('\n')
  }
}

function untilEnded(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

function readToken(file: string | undefined): string | undefined {
  if (file === undefined) return process.env[TOKEN_VARIABLE]?.trim() || undefined
  const text = readText(file).trim()
  if (text === '') throw new UsageError(`there is no token in ${file}`)
  // Others who can read it can follow: worth a word, not a refusal, as some mounts show no modes.
  if ((statSync(file).mode & 0o077) !== 0) complain(`${file} can be read by others`)
  return text
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new UsageError(`cannot read ${file}: ${(cause as Error).message}`)
  }
}
