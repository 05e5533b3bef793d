import { codecOf } from './access/codec.js'
import { TypedStore } from './access/typed-store.js'
import { Database } from './database.js'
import { VarveError } from './errors.js'
import type { Digest } from './feed/digest.js'
import type { Position } from './key/position.js'
import { isLoopback } from './replication/address.js'
import { removeStaged } from './replication/fetch-copy.js'
import { type DivergedPolicy, FollowerLoop } from './replication/follower-loop.js'
import { HttpLeader } from './replication/http-client.js'
import { type HttpServer, listen, type TlsOptions } from './replication/http-server.js'
import { installCopy } from './replication/install-copy.js'
import { Leader } from './replication/leader.js'
import { describeFollower, type FollowerInfo, formatMetrics } from './replication/metrics.js'
import { takeOver } from './replication/role.js'
import { checkToken } from './replication/token.js'
import type { OpenOptions } from './store/contract.js'
import { OPEN_NAMES } from './store/option-names.js'
import { type OpenOptionsWithEnv, resolveOptions, type StoreOptions } from './store/options.js'
import { Store } from './store/store.js'
import { refuseAsFollower } from './store/write-refusal.js'
import { checkOptionNames, type OptionNames } from './util/option-names.js'
import type { VersionEdit } from './version/version.js'
import { removeDroppedViews } from './view/views.js'

export type { DivergedPolicy } from './replication/follower-loop.js'
export type { FollowerInfo } from './replication/metrics.js'

/** How long a promoted follower tries to reach its old leader. */
const TELL_MS = 1000

/** How a log is served. Times in milliseconds. */
export interface ServeOptions {
  /** Default `'127.0.0.1'`. Any address beyond this machine needs `token` and `tls`. */
  readonly host?: string
  /** Default 0: one that is free; `url` tells. */
  readonly port?: number
  /** What followers must send as a bearer token; at least 128 bits of a random generator. Default: none. */
  readonly token?: string
  /** Certificate and key, as for `node:tls`. TLS 1.2 at least. */
  readonly tls?: TlsOptions
  /** Names beside `host` by which this server is called, as in a `Host` header without the port. */
  readonly allowedHosts?: readonly string[]
  /** Followers and other readers of the log at once; default 64. */
  readonly followersMax?: number
  /** How often a leader with nothing to send says so; default 1000. */
  readonly heartbeatMs?: number
  /** A reader that takes nothing for so long is cut off; default 30,000. */
  readonly stallMs?: number
  /** How long the log is kept for a follower that is away, within `log.pinnedMaxBytes`; default 600,000. */
  readonly retainMs?: number
}

/** How long `LogServer.waitFor` waits. */
export interface WaitForOptions {
  /** How many followers; default 1. */
  readonly followers?: number
  /** `VARVE_TIMEOUT` after so long; default: never. */
  readonly timeoutMs?: number
  /** Ends the wait with `VARVE_ABORTED`. */
  readonly signal?: AbortSignal | undefined
}

/** A store's log on the network. */
export interface LogServer extends AsyncDisposable {
  /** What `openFollower` takes as `leader`. */
  readonly url: string
  /** Every follower that is connected, or was within `retainMs`. */
  readonly followers: readonly FollowerInfo[]
  /**
   * Waits until so many connected followers (default 1) have everything up to `position`, as durable as each makes
   * it: a write waited for this way is there after a failover to one of them.
   * @throws VarveError `VARVE_TIMEOUT` after `timeoutMs` (default: never), `VARVE_CLOSED`, `VARVE_INVALID_ARGUMENT`.
   */
  waitFor(position: Position, options?: WaitForOptions): Promise<void>
  /** What `GET /metrics` answers, in Prometheus' text format: the figures of `stats()`, as `prometheusText` of
   * `varve/metrics` gives them, and positions and lag of followers. */
  metrics(): Promise<string>
  /** Ends every connection. The store stays open. Idempotent. */
  close(): Promise<void>
}

/** How a follower is opened: like every store, and whom it follows. */
export interface FollowerOptions<K = string, V = string> extends OpenOptions<K, V> {
  /** The `url` of the leader's `LogServer`. */
  readonly leader: string
  /** The bearer token that the leader asks for. Sent over `http:` only within this machine. */
  readonly token?: string
  /** Certificates in PEM that sign the leader's; default: those that Node trusts. */
  readonly ca?: string | Buffer
  /**
   * When the log here holds what the leader's does not: `'fail'` (default) ends following with `VARVE_DIVERGED`;
   * `'rebuild'` moves the directory to `<path>.diverged-<position>`, keeps it there, and starts from the leader's data.
   */
  readonly onDiverged?: DivergedPolicy
}

const SERVE_NAMES: OptionNames<ServeOptions> = {
  host: true,
  port: true,
  token: true,
  tls: true,
  allowedHosts: true,
  followersMax: true,
  heartbeatMs: true,
  stallMs: true,
  retainMs: true,
}
const FOLLOWER_NAMES: OptionNames<FollowerOptions & OpenOptionsWithEnv<string, string>> = {
  ...OPEN_NAMES,
  leader: true,
  token: true,
  ca: true,
  onDiverged: true,
}

/**
 * Serves a store's log: followers of any number read it, over HTTP, or HTTPS with `tls`. A follower can be served
 * too: it hands on what it has.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` for an address beyond this machine without `token` and `tls`,
 * `VARVE_READ_ONLY`, `VARVE_CLOSED`, `VARVE_IO` where the address cannot be had.
 */
export async function serveLog<K, V>(db: Database<K, V>, options: ServeOptions = {}): Promise<LogServer> {
  if (!(db instanceof Database)) throw invalid('serveLog takes an open store')
  checkOptionNames('serveLog', options, SERVE_NAMES)
  const { host = '127.0.0.1', port = 0, token, tls, allowedHosts = [] } = options
  if (typeof host !== 'string' || host === '') throw invalid('host is a name or an address')
  checkInteger('port', port, 0, 65_535)
  checkToken(token)
  if (!isLoopback(host) && (token === undefined || tls === undefined))
    throw invalid(`${host} is beyond this machine: it takes both token and tls`)
  const limits = {
    heartbeatMs: checkInteger('heartbeatMs', options.heartbeatMs ?? 1000, 10, 10_000),
    stallMs: checkInteger('stallMs', options.stallMs ?? 30_000, 10, 2 ** 31 - 1),
    retainMs: checkInteger('retainMs', options.retainMs ?? 600_000, 0, 2 ** 31 - 1),
    followersMax: checkInteger('followersMax', options.followersMax ?? 64, 1, 10_000),
    copiesMax: 4,
  }
  const storeOf = () => Database.typedStoreOf(db).store
  storeOf().throwIfClosed()
  // A store that is only read has no log that grows.
  storeOf().pipeline
  const leader = new Leader(storeOf, limits)
  const connectionsMax = limits.followersMax * 4 + 16
  const server = await listen(leader, { host, port, token, tls, allowedHosts, connectionsMax })
  return new HttpLogServer(leader, server)
}

class HttpLogServer implements LogServer {
  readonly url: string
  readonly #leader: Leader
  readonly #server: HttpServer
  #closing: Promise<void> | undefined

  constructor(leader: Leader, server: HttpServer) {
    this.url = server.url
    this.#leader = leader
    this.#server = server
  }

  get followers(): readonly FollowerInfo[] {
    const { store, list } = this.#leader
    return list.entries.map((entry) => describeFollower(store, entry))
  }

  async waitFor(position: Position, options: WaitForOptions = {}): Promise<void> {
    checkInteger('position', position, 0, Number.MAX_SAFE_INTEGER)
    checkOptionNames('waitFor', options, { followers: true, timeoutMs: true, signal: true })
    const followers = checkInteger('followers', options.followers ?? 1, 1, 10_000)
    const { timeoutMs } = options
    if (timeoutMs !== undefined && !(timeoutMs >= 0)) throw invalid('timeoutMs is a number of milliseconds')
    await this.#leader.list.wait(position, followers, options)
  }

  metrics(): Promise<string> {
    return formatMetrics(this.#leader.store, this.#leader.list.entries)
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#leader.close()
      await this.#server.close()
    })()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/**
 * Opens a store that follows another one: it takes that one's log, batch by batch, each at its own position, and
 * answers reads from what it has. After any cut it goes on where it stands; where the leader's log no longer reaches
 * back that far it fetches a copy of the leader's data and goes on after that. Resolves once the leader has
 * answered, or could not be reached: then it is tried again and again.
 *
 * @throws VarveError as `open`; and where the first answer of the leader is a refusal: `VARVE_DIVERGED` (with the
 * first position that differs), `VARVE_FENCED` (it is of an older epoch), `VARVE_CORRUPTION` (it is no leader),
 * `VARVE_INVALID_ARGUMENT` (it refuses the token).
 */
export async function openFollower<K = string, V = string>(
  path: string,
  options: FollowerOptions<K, V>,
): Promise<Follower<K, V>> {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) throw invalid('a path is a string')
  const {
    leader,
    token,
    ca,
    onDiverged = 'fail',
    ...openOptions
  } = options as FollowerOptions<K, V> & OpenOptionsWithEnv<K, V>
  checkOptionNames('openFollower', options, FOLLOWER_NAMES)
  if (onDiverged !== 'fail' && onDiverged !== 'rebuild') throw invalid("onDiverged is 'fail' or 'rebuild'")
  if (openOptions.readOnly) throw invalid('a follower writes what it takes: readOnly contradicts that')
  checkToken(token)
  const connect = () => new HttpLeader({ leader, token, ca })
  const { url } = connect()
  const keys = codecOf<K>('key', openOptions.keyEncoding)
  const values = codecOf<V>('value', openOptions.valueEncoding)
  const resolved = resolveOptions(openOptions)
  const absolute = resolved.env.fs.resolve(path)
  const typed = new TypedStore(await Store.open(absolute, resolved), keys, values)
  removeDroppedViews(typed.store)
  const following = { url, connect, onDiverged }
  return Follower.start(new Follower(absolute, resolved, typed, following))
}

/** Whom a follower follows. */
interface Following {
  readonly url: string
  readonly connect: () => HttpLeader
  readonly onDiverged: DivergedPolicy
}

/**
 * A store that follows another one. Reads, snapshots, `changes` and the rest work on what it has; its writes reject
 * with `VARVE_NOT_LEADER` until `promote`. `atLeast` waits for the leader's writes to arrive.
 */
export class Follower<K = string, V = string> extends Database<K, V> {
  readonly #following: Following
  #loop: FollowerLoop
  #isLeader = false
  #promoting: Promise<void> | undefined

  /** Use `openFollower`. */
  constructor(path: string, options: StoreOptions, typed: TypedStore<K, V>, following: Following) {
    super(path, options, typed)
    this.#following = following
    this.opened(typed.store)
    this.#loop = this.#makeLoop()
  }

  /** @internal */
  static async start<K, V>(follower: Follower<K, V>): Promise<Follower<K, V>> {
    try {
      await follower.#loop.start()
      return follower
    } catch (error) {
      await follower.close().catch(() => {})
      throw error
    }
  }

  /** The address of the leader; undefined once this store leads itself. */
  get leader(): string | undefined {
    return this.#isLeader ? undefined : this.#following.url
  }

  /** Positions behind the leader, as far as it was heard of; 0 once this store leads. */
  get lag(): number {
    return this.#isLeader ? 0 : this.#loop.lag
  }

  /** Whether the leader's log comes in. */
  get connected(): boolean {
    return this.#loop.isConnected
  }

  /** Why it does not come in; undefined while it does. */
  get failure(): VarveError | undefined {
    return this.#loop.failure
  }

  /** Stops taking the leader's log, and goes on asking how far it is. `unpause` ends that. */
  pause(): void {
    this.#loop.pause()
  }

  unpause(): void {
    this.#loop.unpause()
  }

  /**
   * What the leader holds, for `compare`: `await compare(follower, await follower.leaderDigest())` proves that both
   * hold the same. The leader reads all it has for it, once.
   * @throws VarveError `VARVE_ABORTED`, `VARVE_LIMIT` while it makes another one, `VARVE_IO`.
   */
  async leaderDigest(options: { signal?: AbortSignal } = {}): Promise<Digest> {
    const connection = this.#following.connect()
    try {
      return await connection.digest(options.signal ?? new AbortController().signal)
    } finally {
      connection.close()
    }
  }

  /**
   * Makes this store the leader of a new epoch: durable when it resolves, and from then on writes are taken. The old
   * leader is told, if it answers within a second, and refuses writes from then on; else the first peer of the new
   * epoch that reaches it tells it; what it wrote and this
   * store never got shows as `VARVE_DIVERGED` when it comes back as a follower. Promote the follower that is
   * furthest. Idempotent.
   * @throws VarveError `VARVE_IO`, `VARVE_NO_SPACE`, `VARVE_CLOSED`.
   */
  promote(): Promise<void> {
    this.#promoting ??= this.#promote().catch((error: unknown) => {
      this.#promoting = undefined
      throw error
    })
    return this.#promoting
  }

  override async resume(): Promise<void> {
    if (!this.#store.failure) return
    await this.#loop.stop()
    await super.resume()
    if (this.#isLeader) return
    this.#loop = this.#makeLoop()
    await this.#loop.start()
  }

  /** Ends following, waits for what is in flight and makes everything durable. Idempotent. */
  override async close(): Promise<void> {
    await this.#loop.stop()
    await super.close()
  }

  protected override opened(store: Store): void {
    if (!this.#isLeader) refuseAsFollower(store.pipeline, this.#following.url)
  }

  get #store(): Store {
    return Database.typedStoreOf(this).store
  }

  #makeLoop(): FollowerLoop {
    const { connect, onDiverged } = this.#following
    const hooks = {
      store: () => this.#store,
      install: (edit: VersionEdit, staged: string) => this.#install(edit, staged),
      setAside: (position: Position) => this.#setAside(position),
      emit: (event: Parameters<Store['events']['emit']>[0]) => this.#store.events.emit(event),
    }
    return new FollowerLoop(connect(), hooks, onDiverged)
  }

  async #promote(): Promise<void> {
    await this.#loop.stop()
    const epoch = await takeOver(Database.typedStoreOf<K, V>(this))
    this.#isLeader = true
    await this.#tellOldLeader(epoch)
    this.#store.events.emit({ type: 'follower.promoted', epoch, position: this.position })
  }

  /** Fences the old leader at once where it can be reached; else the first peer that reaches it does. */
  async #tellOldLeader(epoch: number): Promise<void> {
    const connection = this.#following.connect()
    const giveUp = new AbortController()
    const cancel = this.#store.env.clock.afterUnref(TELL_MS, () => giveUp.abort())
    const lineage = Buffer.from(this.#store.lineage).toString('hex')
    // That it refuses, or is gone, is what is hoped for.
    await connection.status({ epoch, lineage }, giveUp.signal).catch(() => {})
    cancel()
    connection.close()
  }

  async #install(edit: VersionEdit, staged: string): Promise<void> {
    const { env, directory } = this.#store
    await this.reopen(() => installCopy(env, directory, staged, edit))
    removeStaged(env, directory)
  }

  async #setAside(position: Position): Promise<string> {
    const { env, directory } = this.#store
    let keptAt = `${directory}.diverged-${position}`
    for (let i = 2; env.fs.stat(keptAt); i++) keptAt = `${directory}.diverged-${position}-${i}`
    await this.reopen(async () => {
      env.fs.rename(directory, keptAt)
      env.fs.makeDirectory(directory)
      env.fs.syncDirectory(directory.slice(0, Math.max(1, directory.lastIndexOf('/'))))
    }, true)
    return keptAt
  }
}

function checkInteger(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw invalid(`${name} is a whole number from ${min} to ${max}`)
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
