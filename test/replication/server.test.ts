import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Database } from '../../src/database.js'
import { type FollowerOptions, type LogServer, type ServeOptions, serveLog } from '../../src/replication.js'
import { codeOf, dump, failureOf, until } from '../store/helpers.js'
import { CERTIFICATE, KEY } from './certificate.js'
import { Closers, caughtUp, openLeader, openMemoryFollower, TcpProxy } from './helpers.js'

const TOKEN = '6f1d0c3e5b7a4988a1c2d3e4f5061728'
const closers = new Closers()
afterEach(() => closers.close())

async function served(options: ServeOptions = {}): Promise<{ leader: Database; server: LogServer }> {
  const leader = closers.add(await openLeader({ log: { maxBytes: 1 << 30 } }))
  const server = closers.add(await serveLog(leader, { heartbeatMs: 20, ...options }))
  return { leader, server }
}

/** One request as it is; the status, and the code of the error if there is one. */
function ask(
  server: LogServer,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; code: string | undefined; text: string }> {
  const { method = 'GET', headers = {}, body } = options
  return new Promise((resolve, reject) => {
    const sent = request(`${server.url}${path}`, { method, headers }, (response) => {
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('end', () => {
        const text = Buffer.concat(pieces).toString()
        const code = /"code":"(\w+)"/.exec(text)?.[1]
        resolve({ status: response.statusCode ?? 0, code, text })
      })
      response.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

describe('serving a log', () => {
  it('happens within this machine, or with both a token and TLS', async () => {
    const leader = closers.add(await openLeader())
    const refused: ServeOptions[] = [
      { host: '0.0.0.0' },
      { host: '0.0.0.0', token: TOKEN },
      { host: '::', tls: { cert: CERTIFICATE, key: KEY } },
      { host: '' },
      { port: -1 },
      { token: 'two\nlines' },
      { token: '' },
      { followersMax: 0 },
    ]
    for (const options of refused) {
      expect(await codeOf(() => serveLog(leader, options))).toBe('VARVE_INVALID_ARGUMENT')
    }
    const open = await serveLog(leader, {
      host: '0.0.0.0',
      token: TOKEN,
      tls: { cert: CERTIFICATE, key: KEY },
    })
    await open.close()
    await open.close()
    const { port } = new URL(closers.add(await serveLog(leader)).url)
    expect(await codeOf(() => serveLog(leader, { port: Number(port) }))).toBe('VARVE_IO')
  })

  it('asks for the token, which shows in no answer, error or address', async () => {
    const { leader, server } = await served({ token: TOKEN })
    await leader.put('a', '1')
    for (const path of ['/v1/status', '/v1/log?after=0', '/metrics', '/nothing']) {
      for (const authorization of [undefined, 'Bearer wrong', TOKEN, `Bearer ${TOKEN}x`, `Basic ${TOKEN}`]) {
        const headers = authorization === undefined ? {} : { authorization }
        const { status, text } = await ask(server, path, { headers })
        expect(status).toBe(401)
        expect(text).not.toContain(TOKEN)
      }
    }
    expect((await ask(server, `/v1/status?token=${TOKEN}`)).status).toBe(401)
    expect((await ask(server, '/v1/status', { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(
      200,
    )
    const error = await failureOf(() => openMemoryFollower(server.url, { token: 'e'.repeat(32) }))
    expect(error?.code).toBe('VARVE_INVALID_ARGUMENT')
    expect(String(error?.stack)).not.toContain('e'.repeat(32))
    expect(await codeOf(() => openMemoryFollower(server.url))).toBe('VARVE_INVALID_ARGUMENT')
    const follower = closers.add(await openMemoryFollower(server.url, { token: TOKEN }))
    await caughtUp(follower, leader)
  })

  it('works over TLS with a certificate that the follower trusts, and not with another', async () => {
    const { leader, server } = await served({ token: TOKEN, tls: { cert: CERTIFICATE, key: KEY } })
    expect(server.url).toMatch(/^https:/)
    await leader.put('a', '1')
    const trusting = closers.add(await openMemoryFollower(server.url, { token: TOKEN, ca: CERTIFICATE }))
    await caughtUp(trusting, leader)
    const doubting = closers.add(await openMemoryFollower(server.url, { token: TOKEN }))
    expect(doubting.connected).toBe(false)
    expect(doubting.failure?.code).toBe('VARVE_IO')
  })

  it('answers neither to other names nor to pages', async () => {
    const { server } = await served({ allowedHosts: ['store.example'] })
    const { port } = new URL(server.url)
    const statusFor = async (headers: Record<string, string>) =>
      (await ask(server, '/v1/status', { headers })).status
    expect(await statusFor({ host: `evil.example:${port}` })).toBe(403)
    expect(await statusFor({ host: `localhost:${port}` })).toBe(200)
    expect(await statusFor({ host: `store.example:${port}` })).toBe(200)
    expect(await statusFor({ origin: 'http://evil.example' })).toBe(403)
  })

  it('D44: is append-free: every other method is refused, the log comes out by GET, a follower takes no put', async () => {
    const { leader, server } = await served()
    await leader.put('a', '1')
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']) {
      for (const path of ['/v1/log', '/v1/status', '/v1/copy', '/metrics', '/v1/copy/x/1']) {
        expect((await ask(server, path, { method })).status).toBe(405)
      }
    }
    expect((await ask(server, '/v1/put', { method: 'POST', body: 'x' })).status).toBe(405)
    expect((await ask(server, '/v1/ack')).status).toBe(405)
    const follower = closers.add(await openMemoryFollower(server.url))
    expect(await codeOf(() => follower.put('a', '2'))).toBe('VARVE_NOT_LEADER')
    await caughtUp(follower, leader)
    expect(await dump(follower)).toEqual(await dump(leader))
    expect(leader.position).toBe(1)
  })

  it('refuses strange requests with their codes, and goes on', async () => {
    const { leader, server } = await served()
    await leader.put('a', '1')
    const refusals: [string, number][] = [
      ['/v1/log', 400],
      ['/v1/log?after=-1', 400],
      ['/v1/log?after=1.5', 400],
      ['/v1/log?after=99999999999999999', 400],
      ['/v1/log?after=7', 409],
      ['/v1/log?after=1&epochs=x', 400],
      ['/v1/log?after=1&epochs=2:5', 400],
      [`/v1/log?after=1&lineage=${'0'.repeat(32)}`, 409],
      ['/v1/log?after=1&checksum=1', 409],
      ['/v1/log?after=0&follower=../x', 400],
      ['/v1/copy', 400],
      ['/v1/copy/..%2f..%2fetc/000001.seg', 410],
      ['/v1/copy/x/..%2fCURRENT', 400],
      ['/v1/copy/x/CURRENT', 400],
      ['/v1/copy/x/000001.seg', 410],
      ['/v1/checksums?after=9', 400],
      ['/', 404],
    ]
    for (const [path, status] of refusals)
      expect([path, (await ask(server, path)).status]).toEqual([path, status])
    const post = (body: string) => ask(server, '/v1/ack', { method: 'POST', body })
    expect((await post('{')).status).toBe(400)
    expect((await post('[]')).status).toBe(400)
    expect((await post(`{"follower":"${'0'.repeat(32)}","position":-1}`)).status).toBe(400)
    expect((await post('x'.repeat(100_000))).status).toBe(413)
    for (const bytes of ['\0\0\0\0garbage\r\n\r\n', `GET / HTTP/1.1\r\nx: ${'y'.repeat(200_000)}\r\n\r\n`]) {
      await new Promise<void>((resolve) => {
        const socket = connect(Number(new URL(server.url).port), '127.0.0.1', () => socket.write(bytes))
        socket.on('close', () => resolve())
        socket.on('error', () => {})
        socket.resume()
      })
    }
    const follower = closers.add(await openMemoryFollower(server.url))
    await caughtUp(follower, leader)
  })

  it('cuts off a reader that takes nothing, and takes no more than it may at once', async () => {
    const { leader, server } = await served({ stallMs: 100, followersMax: 1 })
    for (let i = 0; i < 40; i++) await leader.put(`k${i}`, 'x'.repeat(400_000))
    const port = Number(new URL(server.url).port)
    const cut = new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET /v1/log?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n'),
      )
      socket.on('close', () => resolve())
      socket.on('error', () => {})
      // Reads its first bytes and nothing after.
      socket.once('data', () => socket.pause())
      setTimeout(() => socket.resume(), 3000)
    })
    await until(() => server.followers.length === 1, 5000)
    expect((await ask(server, '/v1/log?after=0')).status).toBe(503)
    await until(() => server.followers.length === 0, 5000)
    expect(server.followers).toHaveLength(0)
    await cut
  })

  it('D53: shows positions and lag of the log and of every follower', async () => {
    const { leader, server } = await served()
    const follower = closers.add(await openMemoryFollower(server.url))
    await leader.put('a', '1')
    await caughtUp(follower, leader)
    await until(() => server.followers[0]?.lag === 0, 5000)
    expect(server.followers).toMatchObject([{ connected: true, position: 1, lag: 0, lagBytes: 0 }])
    follower.pause()
    await until(() => server.followers[0]?.connected === false, 5000)
    for (let i = 0; i < 3; i++) await leader.put('b', 'x'.repeat(100))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const { text } = await ask(server, '/metrics')
    const value = (name: string) =>
      Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
    expect(value('varve_log_head_position')).toBe(4)
    expect(value('varve_log_oldest_position')).toBe(1)
    expect(value('varve_follower_position')).toBe(1)
    expect(value('varve_follower_lag_records')).toBe(3)
    expect(value('varve_follower_lag_bytes')).toBeGreaterThan(300)
    expect(value('varve_follower_lag_seconds')).toBeGreaterThan(0.01)
    expect(value('varve_follower_connected')).toBe(0)
    expect(value('varve_epoch')).toBe(1)
    expect(await server.metrics()).toContain('varve_log_head_position 4')
  })

  it('ends with its store: followers see it, and nothing hangs', async () => {
    const { leader, server } = await served()
    const follower = closers.add(await openMemoryFollower(server.url))
    await until(() => follower.connected, 5000)
    await leader.close()
    await until(() => !follower.connected, 5000)
    expect(follower.connected).toBe(false)
    expect((await ask(server, '/v1/status')).code).toBe('VARVE_CLOSED')
    expect(await codeOf(() => serveLog(leader))).toBe('VARVE_CLOSED')
  })
})

describe('a peer that is no leader', () => {
  const wrong: Partial<FollowerOptions>[] = [
    { leader: 'nonsense' },
    { leader: 'ftp://127.0.0.1' },
    { leader: 'http://user:secret@127.0.0.1:1' },
    { leader: 'http://store.example:1', token: TOKEN },
    { leader: 'http://127.0.0.1:1', onDiverged: 'drop' as 'fail' },
    { leader: 'http://127.0.0.1:1', readOnly: true },
  ]
  it.each(wrong)('has an address or options that are refused: %o', async (options) => {
    expect(await codeOf(() => openMemoryFollower(options.leader!, options))).toBe('VARVE_INVALID_ARGUMENT')
  })

  it('answers with something else: refused at opening, with nothing applied', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}',
      'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnull',
    ]
    for (const answer of answers) {
      const server = createServer((socket) => {
        socket.on('error', () => {})
        socket.once('data', () => socket.end(answer))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as { port: number }
      expect(await codeOf(() => openMemoryFollower(`http://127.0.0.1:${port}`))).toBe('VARVE_CORRUPTION')
      await new Promise((resolve) => server.close(resolve))
    }
  })

  it.each([
    ['a byte of a body', (bytes: Buffer) => flip(bytes, bytes.length - 1)],
    ['a length beyond all limits', (bytes: Buffer) => void bytes.writeUInt32LE(0xffff_ffff, 8)],
    ['a position', (bytes: Buffer) => flip(bytes, 20)],
    ['an epoch', (bytes: Buffer) => flip(bytes, 32)],
    ['everything', (bytes: Buffer) => void bytes.fill(0xa5)],
  ])('garbles %s of a frame: nothing of it is applied, and what is sound later is', async (_what, garble) => {
    const { leader, server } = await served({ heartbeatMs: 10_000 })
    const proxy = closers.add(await TcpProxy.start(server.url))
    const follower = closers.add(await openMemoryFollower(proxy.url))
    await until(() => follower.connected, 5000)
    await leader.put('a', '1')
    await caughtUp(follower, leader)
    const errors: (string | undefined)[] = []
    follower.on('follower.disconnected', ({ error }) => errors.push((error as { code?: string }).code))
    let isGarbling = true
    proxy.garble = (bytes) => {
      // A chunk of the stream: its length in hexadecimal, then the frame.
      const at = bytes.indexOf('\r\n') + 2
      const isFrame = isGarbling && at > 1 && at < 10 && bytes.length - at > 42
      if (!isFrame) return bytes
      isGarbling = false
      garble(bytes.subarray(at, bytes.length - 2))
      return bytes
    }
    await leader.put('b', '2')
    await until(() => errors.length > 0, 5000)
    expect(errors).toEqual(['VARVE_CORRUPTION'])
    await caughtUp(follower, leader)
    expect(await dump(follower)).toEqual({ a: '1', b: '2' })
  })
})

function flip(bytes: Buffer, at: number): void {
  bytes[at]! ^= 0x40
}
