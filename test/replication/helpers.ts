import { connect as connectTo, createServer, type Server, type Socket } from 'node:net'
import { open } from '../../src/database.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { Database, OpenOptions } from '../../src/index.js'
import { type Follower, type FollowerOptions, openFollower } from '../../src/replication.js'
import { TINY } from '../store/helpers.js'

export const LEADER = '/leader'
export const FOLLOWER = '/follower'

/** What closes at the end of a test, newest first. */
export class Closers {
  readonly #closers: (() => Promise<unknown>)[] = []

  add<T extends { close(): Promise<unknown> }>(closer: T): T {
    this.#closers.unshift(() => closer.close())
    return closer
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close().catch(() => {})
  }
}

export function openLeader(options: OpenOptions = {}, env: MemoryEnv = memoryEnv()): Promise<Database> {
  return open(LEADER, { ...TINY, ...options, env } as OpenOptions)
}

export function openMemoryFollower(
  leader: string,
  options: Partial<FollowerOptions> = {},
  env: MemoryEnv = memoryEnv({ seed: 2 }),
  path = FOLLOWER,
): Promise<Follower> {
  return openFollower(path, { ...TINY, leader, ...options, env } as FollowerOptions)
}

/** Every change of the log, as text. */
export async function logOf(db: Database, after = db.oldestPosition - 1): Promise<string[]> {
  const changes: string[] = []
  for await (const change of db.changes({ after })) changes.push(JSON.stringify(change))
  return changes
}

export async function caughtUp(follower: Database, leader: Database, timeoutMs = 10_000): Promise<void> {
  await follower.get('', { atLeast: leader.position, timeoutMs })
}

/** A TCP proxy that cuts, holds or garbles what a leader sends. */
export class TcpProxy {
  readonly url: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** After so many bytes of answers a connection is cut; asked anew for each. */
  cutAfter: () => number = () => Number.POSITIVE_INFINITY
  /** May change what the leader sends. */
  garble: (bytes: Buffer) => Buffer = (bytes) => bytes
  cuts = 0
  isDown = false

  private constructor(server: Server, port: number, target: number) {
    this.#server = server
    this.url = `http://127.0.0.1:${port}`
    server.on('connection', (client) => this.#serve(client, target))
  }

  static async start(targetUrl: string): Promise<TcpProxy> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    return new TcpProxy(server, port, Number(new URL(targetUrl).port))
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): Promise<void> {
    this.cutAll()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #serve(client: Socket, target: number): void {
    if (this.isDown) {
      client.destroy()
      return
    }
    const upstream = connectTo(target, '127.0.0.1')
    const end = () => {
      client.destroy()
      upstream.destroy()
      this.#sockets.delete(client)
      this.#sockets.delete(upstream)
    }
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
    client.on('data', (bytes) => upstream.write(bytes))
    let left = this.cutAfter()
    upstream.on('data', (bytes) => {
      const sent = this.garble(bytes).subarray(0, Math.max(0, left))
      left -= bytes.length
      const goesOn = client.write(sent)
      if (left <= 0) {
        this.cuts++
        client.end(() => end())
      } else if (!goesOn) {
        upstream.pause()
        client.once('drain', () => upstream.resume())
      }
    })
  }
}
