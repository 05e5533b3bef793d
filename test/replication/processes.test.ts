import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { temporaryDirectory } from '../env/temporary-directory.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KILLS = 5
const PEER = fileURLToPath(new URL('./peer.js', import.meta.url))
const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

interface Peer {
  readonly child: ChildProcess
  readonly lines: string[]
  /** Resolves to the first line that matches, of those that came or come. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  kill(signal?: NodeJS.Signals): Promise<number | null>
}

const running = new Set<Peer>()
afterEach(async () => {
  for (const peer of running) await peer.kill()
})

function start(script: string, args: readonly string[], env: Record<string, string> = {}): Peer {
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const add = (line: string) => {
    lines.push(line)
    for (const wake of [...waiting]) wake()
  }
  createInterface({ input: child.stdout! }).on('line', add)
  createInterface({ input: child.stderr! }).on('line', add)
  const ended = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => {
      running.delete(peer)
      resolve(code)
      for (const wake of [...waiting]) wake()
    }),
  )
  const peer: Peer = {
    child,
    lines,
    async line(pattern) {
      for (;;) {
        for (let i = lines.length - 1; i >= 0; i--) {
          const match = pattern.exec(lines[i]!)
          if (match) return match
        }
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`it ended without ${pattern}: ${lines.join('\n')}`)
        await new Promise<void>((resolve) => waiting.add(resolve))
      }
    },
    kill(signal = 'SIGKILL') {
      child.kill(signal)
      return ended
    },
  }
  running.add(peer)
  return peer
}

async function stateOf(
  directory: string,
): Promise<{ position: number; count: number; own: string[]; log: string[] }> {
  const peer = start(PEER, ['check', directory])
  const [text] = await peer.line(/^\{.*\}$/)
  await peer.kill()
  return JSON.parse(text)
}

async function lastNumber(peer: Peer, word: string): Promise<number> {
  return Number((await peer.line(new RegExp(`^${word} (\\d+)$`)))[1])
}

describe(`leader and follower in processes that are killed (seed ${SEED})`, () => {
  it(
    `${KILLS} times: whatever either held is whole, and the follower goes on`,
    { timeout: 150_000 },
    async () => {
      const random = new SeededRandom(SEED)
      const root = temporaryDirectory()
      const [leaderPath, followerPath] = [join(root, 'leader'), join(root, 'follower')]
      let leader = start(PEER, ['lead', leaderPath, '0'])
      const url = (await leader.line(/^url (.*)$/))[1]!
      const { port } = new URL(url)
      let follower = start(PEER, ['follow', followerPath, url])
      await lastNumber(follower, 'at')
      for (let i = 0; i < KILLS; i++) {
        await new Promise((resolve) => setTimeout(resolve, random.below(200)))
        if (random.below(2) === 0) {
          const acked = await lastNumber(leader, 'acked')
          await leader.kill()
          leader = start(PEER, ['lead', leaderPath, port])
          expect(await lastNumber(leader, 'acked')).toBeGreaterThan(acked)
        } else {
          const at = await lastNumber(follower, 'at')
          await follower.kill()
          const { position, count, own } = await stateOf(followerPath)
          expect(position).toBeGreaterThanOrEqual(at)
          // Both writes of a batch, or neither.
          expect([count, own]).toEqual([position, [`own/${position}`]])
          follower = start(PEER, ['follow', followerPath, url])
        }
        // It is connected again, and more comes.
        const before = await lastNumber(leader, 'acked')
        while ((await lastNumber(follower, 'at').catch(() => 0)) < before)
          await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await leader.kill()
      await follower.kill()
      const ours = await stateOf(leaderPath)
      const theirs = await stateOf(followerPath)
      expect(theirs.position).toBeLessThanOrEqual(ours.position)
      expect(theirs.log).toEqual(ours.log.slice(0, theirs.position))
    },
  )

  it(
    'varve serve and varve follow: a token from a file, lag as lines, an end by signal',
    { timeout: 60_000 },
    async () => {
      const root = temporaryDirectory()
      const [leaderPath, followerPath] = [join(root, 'leader'), join(root, 'follower')]
      mkdirSync(leaderPath)
      await start(CLI, ['put', leaderPath, 'a', '1']).line(/1/)
      const env = { VARVE_TOKEN: '0123456789abcdef0123456789abcdef' }
      const server = start(CLI, ['serve', leaderPath, '--json'], env)
      const [, url] = await server.line(/"url":"([^"]+)"/)
      const refused = start(CLI, ['follow', followerPath, '--leader', url!])
      await refused.line(/VARVE_INVALID_ARGUMENT/)
      const follower = start(CLI, ['follow', followerPath, '--leader', url!, '--json'], env)
      await follower.line(/"position":1,"lag":0,"connected":true/)
      expect(follower.lines.join()).not.toContain(env.VARVE_TOKEN)
      expect(await follower.kill('SIGTERM')).toBe(0)
      expect(await server.kill('SIGINT')).toBe(0)
      expect((await start(CLI, ['get', followerPath, 'a']).line(/^1$/))[0]).toBe('1')
      await start(CLI, ['serve', leaderPath, '--host', '0.0.0.0']).line(/VARVE_INVALID_ARGUMENT/)
    },
  )
})
