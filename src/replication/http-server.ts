import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { TlsOptions } from 'node:tls'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { parseFileName } from '../env/file-names.js'
import { ioError, VarveError, type VarveErrorCode } from '../errors.js'
import { hostName, isLoopback } from './address.js'
import type { Leader } from './leader.js'
import {
  asRecord,
  FOLLOWER_ID_PATTERN,
  formatEpochs,
  isPosition,
  type LogRequest,
  parseEpochs,
} from './messages.js'
import { formatMetrics } from './metrics.js'
import { bearerCheck } from './token.js'

/** Requests carry a few numbers; nothing longer is read. */
const BODY_BYTES_MAX = 4096
const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000
const KEEP_ALIVE_MS = 30_000

export type { TlsOptions } from 'node:tls'

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  readonly token: string | undefined
  readonly tls: TlsOptions | undefined
  /** Names beside `host` and those of this machine that a `Host` header may carry. */
  readonly allowedHosts: readonly string[]
  readonly connectionsMax: number
}

export interface HttpServer {
  readonly url: string
  close(): Promise<void>
}

type Env = { Bindings: HttpBindings }

/** Serves a leader over HTTP: only GET, and one POST by which followers say what they have. */
export async function listen(leader: Leader, options: HttpServerOptions): Promise<HttpServer> {
  const listener = getRequestListener(buildApp(leader, options).fetch, { overrideGlobalObjects: false })
  const limits = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: 64 * 1024,
  }
  const handle = (...[request, response]: Parameters<typeof listener>) => void listener(request, response)
  const server = options.tls
    ? createSecureServer({ minVersion: 'TLSv1.2', ...options.tls, ...limits }, handle)
    : createServer(limits, handle)
  server.maxConnections = options.connectionsMax
  await start(server, options)
  const { port } = server.address() as AddressInfo
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function start(server: Server, { host, port }: HttpServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(ioError(error, 'listening on', `${host}:${port}`))
    server.once('error', onError)
    server.listen(port, host, () => {
      server.off('error', onError)
      // What a peer does wrong later ends its connection, and nothing else.
      server.on('error', () => {})
      server.on('tlsClientError', (_error, socket) => socket.destroy())
      resolve()
    })
  })
}

function buildApp(leader: Leader, options: HttpServerOptions): Hono<Env> {
  const app = new Hono<Env>()
  guard(app, options)
  app.get('/v1/status', async (c) => {
    const { epoch, lineage } = c.req.query()
    const peer = epoch === undefined ? undefined : { epoch: numberOf(epoch), lineage: lineage ?? '' }
    const { epochs, ...status } = await leader.status(peer)
    return c.json({ ...status, epochs: formatEpochs(epochs) })
  })
  app.get('/v1/log', (c) => sendLog(leader, c))
  app.get('/v1/checksums', async (c) => {
    const checksums = await leader.checksums(numberOf(c.req.query('after')), numberOf(c.req.query('count')))
    return c.body(new Uint8Array(Uint32Array.from(checksums).buffer), 200, BINARY)
  })
  app.get('/v1/digest', (c) => {
    const ended = new AbortController()
    c.env.outgoing.once('close', () => ended.abort())
    return send(c.env.outgoing, leader.openDigest(ended.signal))
  })
  app.get('/v1/copy', (c) => {
    const { session, edit } = leader.openCopy(followerId(c.req.query('follower')))
    return c.body(new Uint8Array(edit), 200, { ...BINARY, 'varve-session': session })
  })
  app.get('/v1/copy/:session/:name', async (c) => {
    const { sizeBytes, bytes } = leader.openFile(c.req.param('session'), dataFileName(c.req.param('name')))
    c.env.outgoing.setHeader('content-length', sizeBytes)
    return send(c.env.outgoing, bytes)
  })
  const limit = bodyLimit({ maxSize: BODY_BYTES_MAX, onError: () => refusal(413, tooLong()) })
  app.post('/v1/ack', limit, async (c) => {
    const { follower, position } = asRecord(await c.req.json())
    if (!isPosition(position)) throw invalid('position is a position')
    leader.ack(followerId(follower), position)
    return c.body(null, 204)
  })
  app.post('/v1/fetched', limit, async (c) => {
    leader.releaseCopy(followerId(asRecord(await c.req.json()).follower))
    return c.body(null, 204)
  })
  app.get('/metrics', async (c) => c.text(await formatMetrics(leader.store, leader.list.entries)))
  refuseTheRest(app)
  return app
}

const BINARY = { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' }

/** Who may ask at all. */
function guard(app: Hono<Env>, { token, host, allowedHosts }: HttpServerOptions): void {
  const isAuthorized = token === undefined ? () => true : bearerCheck(token)
  const names = new Set([host, ...allowedHosts].map((name) => hostName(name)))
  app.use(async (c, next) => {
    // A page in a browser that was pointed here under its own name must not get an answer.
    const name = hostName(c.req.header('host') ?? '')
    if (!isLoopback(name) && !names.has(name) && !names.has(name.replace(/^\[|\]$/g, ''))) {
      return refusal(403, invalid('this name is not served here'))
    }
    if (c.req.header('origin') !== undefined) return refusal(403, invalid('pages are not served'))
    if (!isAuthorized(c.req.header('authorization'))) {
      return refusal(401, invalid('the token is missing or wrong'), { 'www-authenticate': 'Bearer' })
    }
    if (c.req.method === 'HEAD') return refusal(405, readOnly(), { allow: 'GET' })
    return next()
  })
  app.onError((error) => refusal(statusOf(error), error))
}

/** The log is written by the store alone: every other method on a known path is refused as such. */
function refuseTheRest(app: Hono<Env>): void {
  const paths = [
    '/v1/status',
    '/v1/log',
    '/v1/checksums',
    '/v1/digest',
    '/v1/copy',
    '/v1/copy/:session/:name',
    '/metrics',
  ]
  for (const path of paths) app.all(path, () => refusal(405, readOnly(), { allow: 'GET' }))
  for (const path of ['/v1/ack', '/v1/fetched'])
    app.all(path, () => refusal(405, readOnly(), { allow: 'POST' }))
  app.notFound((c) =>
    c.req.method === 'GET'
      ? refusal(404, invalid('there is nothing at this path'))
      : refusal(405, readOnly(), { allow: 'GET' }),
  )
}

async function sendLog(leader: Leader, c: Context<Env>): Promise<Response> {
  const { outgoing } = c.env
  const { after, checksum, epochs, lineage, follower } = c.req.query()
  const request: LogRequest = {
    followerId: follower === undefined ? undefined : followerId(follower),
    after: numberOf(after),
    checksum: checksum === undefined ? undefined : numberOf(checksum),
    epochs: epochs === undefined ? [{ epoch: 1, firstPosition: 1 }] : parseEpochs(epochs),
    lineage,
  }
  const ended = new AbortController()
  outgoing.once('close', () => ended.abort())
  const stream = await leader.openLog(request, () => outgoing.destroy(), ended.signal)
  // Whoever waits for the headers of a quiet log must not wait for its first bytes.
  return send(outgoing, stream)
}

async function send(outgoing: ServerResponse, bytes: AsyncGenerator<Buffer>): Promise<Response> {
  outgoing.writeHead(200, BINARY)
  outgoing.flushHeaders()
  // A stream that ends early is the peer's to notice; there is nobody else to tell.
  await pipeline(bytes, outgoing).catch(() => outgoing.destroy())
  return RESPONSE_ALREADY_SENT
}

function refusal(status: number, error: unknown, headers: Record<string, string> = {}): Response {
  const isKnown = error instanceof VarveError
  const { code, message, position, leader } = isKnown
    ? error
    : new VarveError('VARVE_IO', 'the leader failed')
  const body = JSON.stringify({ code, message, position, leader })
  return new Response(body, { status, headers: { 'content-type': 'application/json', ...headers } })
}

const STATUS: Partial<Record<VarveErrorCode, number>> = {
  VARVE_INVALID_ARGUMENT: 400,
  VARVE_CORRUPTION: 400,
  VARVE_DIVERGED: 409,
  VARVE_FENCED: 409,
  VARVE_POSITION_LOST: 410,
  VARVE_LIMIT: 503,
  VARVE_CLOSED: 503,
}

function statusOf(error: unknown): number {
  if (error instanceof SyntaxError) return 400
  return error instanceof VarveError ? (STATUS[error.code] ?? 500) : 500
}

/** A name that a segment or a blob file may have; whether there is such a file is asked later. */
function dataFileName(text: string): string {
  const kind = parseFileName(text)?.kind
  if (kind !== 'segment' && kind !== 'blob') throw invalid('the name of a file is missing')
  return text
}

function numberOf(text: string | undefined): number {
  const number = Number(text)
  if (text === undefined || !/^\d{1,16}$/.test(text) || !isPosition(number))
    throw invalid('a number is missing')
  return number
}

function followerId(value: unknown): string {
  if (typeof value === 'string' && FOLLOWER_ID_PATTERN.test(value)) return value
  throw invalid('a follower is named by 32 hexadecimal digits')
}

function tooLong(): VarveError {
  return new VarveError('VARVE_LIMIT', `a request has at most ${BODY_BYTES_MAX} bytes`)
}

function readOnly(): VarveError {
  return new VarveError('VARVE_READ_ONLY', 'the log is written by its store alone')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
