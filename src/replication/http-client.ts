import { Agent, type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestSecure, Agent as SecureAgent } from 'node:https'
import { ioError, VarveError, type VarveErrorCode } from '../errors.js'
import type { Digest } from '../feed/digest.js'
import type { Position } from '../key/position.js'
import { asBuffer } from '../util/bytes.js'
import { parseLeaderUrl } from './address.js'
import {
  asRecord,
  type CopyOffer,
  formatEpochs,
  isPosition,
  type LeaderConnection,
  type LeaderStatus,
  type LogRequest,
  parseDigest,
  parseStatus,
} from './messages.js'

/** A connection on which nothing comes for so long is given up; a leader with nothing to send says so. */
const SILENCE_MS = 15_000
const JSON_BYTES_MAX = 4 * 2 ** 20
/** Describes some hundred thousand segments. */
const EDIT_BYTES_MAX = 64 * 2 ** 20

export interface HttpLeaderOptions {
  readonly leader: string
  readonly token: string | undefined
  /** Certificates in PEM that sign the leader's; undefined: those that Node trusts. */
  readonly ca: string | Buffer | undefined
}

interface Call {
  readonly path: string
  readonly query?: Record<string, string | number | undefined>
  readonly body?: unknown
  readonly signal: AbortSignal
}

/** A leader behind a URL. */
export class HttpLeader implements LeaderConnection {
  readonly url: string
  readonly #base: URL
  readonly #token: string | undefined
  readonly #agent: Agent

  /** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
  constructor({ leader, token, ca }: HttpLeaderOptions) {
    this.#base = parseLeaderUrl(leader, token !== undefined)
    this.url = this.#base.href.replace(/\/$/, '')
    this.#token = token
    const options = { keepAlive: true, maxSockets: 8 }
    this.#agent =
      this.#base.protocol === 'https:'
        ? new SecureAgent({ ...options, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })
        : new Agent(options)
  }

  async status(own: { epoch: number; lineage: string }, signal: AbortSignal): Promise<LeaderStatus> {
    return parseStatus(await this.#json({ path: '/v1/status', query: own, signal }))
  }

  async log(request: LogRequest, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const { followerId: follower, after, checksum, lineage } = request
    const query = { after, checksum, epochs: formatEpochs(request.epochs), lineage, follower }
    return this.#stream(await this.#call({ path: '/v1/log', query, signal }))
  }

  async checksums(after: Position, count: number, signal: AbortSignal): Promise<number[]> {
    const response = await this.#call({ path: '/v1/checksums', query: { after, count }, signal })
    const bytes = await this.#whole(response, 4 * count)
    if (bytes.length % 4 !== 0) throw strange('checksums')
    return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i))
  }

  async digest(signal: AbortSignal): Promise<Digest> {
    return parseDigest(await this.#json({ path: '/v1/digest', signal }))
  }

  async copy(follower: string, signal: AbortSignal): Promise<CopyOffer> {
    const response = await this.#call({ path: '/v1/copy', query: { follower }, signal })
    const session = response.headers['varve-session']
    if (typeof session !== 'string' || !/^[0-9a-f]{32}$/.test(session)) throw strange('an offer of a copy')
    return { session, edit: await this.#whole(response, EDIT_BYTES_MAX) }
  }

  async file(session: string, name: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    return this.#stream(await this.#call({ path: `/v1/copy/${session}/${name}`, signal }))
  }

  async ack(follower: string, position: Position, signal: AbortSignal): Promise<void> {
    const response = await this.#call({ path: '/v1/ack', body: { follower, position }, signal })
    await this.#whole(response, JSON_BYTES_MAX)
  }

  async fetched(follower: string, signal: AbortSignal): Promise<void> {
    const response = await this.#call({ path: '/v1/fetched', body: { follower }, signal })
    await this.#whole(response, JSON_BYTES_MAX)
  }

  close(): void {
    this.#agent.destroy()
  }

  /** The response to a call that went well. */
  async #call(call: Call): Promise<IncomingMessage> {
    const response = await this.#send(call).catch((error: unknown) => {
      throw this.#failure(error, call.signal)
    })
    const status = response.statusCode ?? 0
    if (status >= 200 && status < 300) return response
    if (status === 401 || status === 403) {
      response.resume()
      throw new VarveError('VARVE_INVALID_ARGUMENT', `${this.url} refuses this follower: ${status}`)
    }
    throw refusalOf(await this.#whole(response, JSON_BYTES_MAX), this.url, status)
  }

  #send({ path, query, body, signal }: Call): Promise<IncomingMessage> {
    const url = new URL(`${this.url}${path}`)
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers: Record<string, string> = {}
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token}`
    if (text !== undefined) headers['content-type'] = 'application/json'
    const method = text === undefined ? 'GET' : 'POST'
    const options = { agent: this.#agent, method, headers, signal, timeout: SILENCE_MS }
    return new Promise((resolve, reject) => {
      const request: ClientRequest =
        url.protocol === 'https:' ? requestSecure(url, options) : requestPlain(url, options)
      request.on('timeout', () => request.destroy(new Error(`nothing came for ${SILENCE_MS} ms`)))
      request.once('error', reject)
      request.once('response', (response) => {
        request.off('error', reject)
        // A cut that comes later shows at the response.
        request.on('error', () => {})
        resolve(response)
      })
      request.end(text)
    })
  }

  async *#stream(response: IncomingMessage): AsyncGenerator<Buffer> {
    try {
      for await (const piece of response) yield asBuffer(piece as Uint8Array)
    } catch (error) {
      throw this.#failure(error, undefined)
    } finally {
      response.destroy()
    }
  }

  async #whole(response: IncomingMessage, sizeMax: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    let sizeBytes = 0
    for await (const piece of this.#stream(response)) {
      sizeBytes += piece.length
      if (sizeBytes > sizeMax) throw strange(`more than ${sizeMax} bytes`)
      pieces.push(piece)
    }
    return Buffer.concat(pieces)
  }

  async #json(call: Call): Promise<unknown> {
    return parseJson(await this.#whole(await this.#call(call), JSON_BYTES_MAX))
  }

  #failure(error: unknown, signal: AbortSignal | undefined): VarveError {
    if (error instanceof VarveError) return error
    if (signal?.aborted) return new VarveError('VARVE_ABORTED', 'the follower stopped', { cause: error })
    return ioError(error, 'following', this.url)
  }
}

const REFUSALS: ReadonlySet<string> = new Set<VarveErrorCode>([
  'VARVE_DIVERGED',
  'VARVE_FENCED',
  'VARVE_POSITION_LOST',
  'VARVE_LIMIT',
  'VARVE_CLOSED',
  'VARVE_CORRUPTION',
])

/** What the leader said was wrong; only codes that a leader has reason to use. */
function refusalOf(body: Buffer, url: string, status: number): VarveError {
  let said: Record<string, unknown> = {}
  try {
    said = asRecord(parseJson(body))
  } catch {
    // An answer that is none of ours, from a proxy perhaps.
  }
  const isCode = typeof said.code === 'string' && REFUSALS.has(said.code)
  const code = isCode && said.code !== 'VARVE_CLOSED' ? (said.code as VarveErrorCode) : 'VARVE_IO'
  const reason = isCode && typeof said.message === 'string' ? said.message.slice(0, 500) : `status ${status}`
  const details = isPosition(said.position) ? { position: said.position } : {}
  return new VarveError(code, `${url}: ${reason}`, details)
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new VarveError('VARVE_CORRUPTION', 'the peer sent a message that is none', { cause })
  }
}

function strange(what: string): VarveError {
  return new VarveError('VARVE_CORRUPTION', `the leader sent ${what} that a leader does not send`)
}
