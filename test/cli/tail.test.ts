import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { compare } from '../../src/compare.js'
import { type Database, open } from '../../src/database.js'
import { until } from '../store/helpers.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'varve-tail-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const children: ChildProcess[] = []
const stores: Database[] = []
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const db of stores.splice(0)) await db.close().catch(() => {})
})

let directories = 0
const fresh = () => join(root, `store-${++directories}`)
async function openStore(path: string, options = {}): Promise<Database> {
  const log = { maxBytes: 2 ** 30 }
  const db = await open(path, { memtableBytes: 4096, memory: 1 << 20, workers: 0, log, ...options })
  stores.push(db)
  return db
}

function varve(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 20_000 })
}

interface Line {
  readonly position: number
  readonly timestamp: number
  readonly ops: readonly Record<string, string>[]
}
const linesOf = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)

describe('tail', () => {
  it('prints the log of a store, from a position and with a prefix, while it is open elsewhere', async () => {
    const path = fresh()
    const db = await openStore(path)
    await db.put('a:1', 'one')
    await db.put('b:1', 'two')
    await db.clear({ prefix: 'a:' })
    await db.del('b:1')
    const { status, stdout } = varve('tail', path, '--json')
    expect(status).toBe(0)
    const lines = linesOf(stdout)
    expect(lines.map(({ position, ops }) => ({ position, ops }))).toEqual([
      { position: 1, ops: [{ type: 'put', key: 'a:1', value: 'one' }] },
      { position: 2, ops: [{ type: 'put', key: 'b:1', value: 'two' }] },
      { position: 3, ops: [{ type: 'clear', start: 'a:', end: 'a;' }] },
      { position: 4, ops: [{ type: 'del', key: 'b:1' }] },
    ])
    expect(lines[0]!.timestamp).toBeGreaterThan(0)
    const some = linesOf(varve('tail', path, '--json', '--from', '2', '--prefix', 'a:').stdout)
    expect(some.map(({ position }) => position)).toEqual([3])
    expect(varve('tail', path, '--from', '4').stdout).toMatch(/^position 4 {2}.*1 op\n {2}del {2}"b:1"\n$/)
  })

  it('names the oldest position where the one asked for is gone, and refuses what is no store', async () => {
    const path = fresh()
    const db = await openStore(path, { log: {} })
    for (let i = 0; i < 300; i++) await db.put(`k${i}`, 'v'.repeat(50))
    await db.flush()
    await db.put('last', '')
    const lost = varve('tail', path, '--from', '1', '--json')
    expect([lost.status, lost.stdout]).toEqual([1, ''])
    expect(lost.stderr).toContain('VARVE_POSITION_LOST')
    expect(varve('tail', join(root, 'none')).status).toBe(2)
    expect(varve('tail', path, '--from', 'x').status).toBe(2)
  })

  it('goes on live with what another process writes, through rotations and reopenings, without a gap', async () => {
    const path = fresh()
    let db = await openStore(path)
    await db.put('first', '1')
    const child = spawn(process.execPath, [MAIN, 'tail', path, '--live', '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    const seen = () => linesOf(text.slice(0, text.lastIndexOf('\n') + 1))
    await until(() => seen().length === 1, 15_000)
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 200; i++) await db.put(`k${i}`, `${round} `.repeat(20))
      await db.flush()
      await db.close()
      db = await openStore(path)
    }
    const last = await db.put('end', '')
    await until(() => seen().at(-1)?.position === last, 15_000)
    expect(seen().map(({ position }) => position)).toEqual(Array.from({ length: last }, (_, i) => i + 1))
    expect(readdirSync(path).filter((name) => name.endsWith('.log')).length).toBeGreaterThan(5)
  })
})

describe('a store that is read only', () => {
  it('shows live what the process that has it writes', async () => {
    const path = fresh()
    const db = await openStore(path)
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, '1')
    const reader = await openStore(path, { readOnly: true })
    const seen: number[] = []
    const feed = reader.changes({ after: 10, live: true })
    for (let i = 0; i < 40; i++) seen.push(((await feed.next()).value as { position: number }).position)
    for (let i = 0; i < 200; i++) await db.put(`k${i}`, '2'.repeat(100))
    await db.flush()
    for (let i = 0; i < 200; i++) seen.push(((await feed.next()).value as { position: number }).position)
    expect(seen).toEqual(Array.from({ length: 240 }, (_, i) => 11 + i))
    const waiting = feed.next()
    await feed.return!()
    expect(await waiting).toEqual({ value: undefined, done: true })
  })
})

describe('restore', () => {
  it('makes a store of a checkpoint and the log after it, exactly at the position', async () => {
    const path = fresh()
    const db = await openStore(path)
    for (let i = 0; i < 100; i++) await db.put(`k${i % 30}`, `before ${i}`)
    const checkpoint = fresh()
    await db.checkpoint(checkpoint)
    for (let i = 0; i < 150; i++) await db.put(`k${i % 40}`, `after ${i}`)
    await db.clear({ gte: 'k1', lt: 'k2' })
    const expected = await db.entries().all()
    await db.put('too late', 'x')
    const target = fresh()
    const { status, stdout, stderr } = varve(
      'restore',
      checkpoint,
      target,
      '--log',
      path,
      '--to',
      '251',
      '--json',
    )
    expect([stderr, status]).toEqual(['', 0])
    expect(JSON.parse(stdout)).toEqual({ position: 251 })
    const restored = await openStore(target)
    expect(restored.position).toBe(251)
    expect(await restored.entries().all()).toEqual(expected)
    expect(await restored.put('goes on', '1')).toBe(252)
  })

  it('refuses what cannot be, and leaves nothing behind', async () => {
    const path = fresh()
    const db = await openStore(path)
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, `${i}`)
    const checkpoint = fresh()
    await db.checkpoint(checkpoint)
    await db.put('after', '1')
    const other = await openStore(fresh())
    for (let i = 0; i < 60; i++) await other.put('k0', 'other')
    await other.sync()
    const otherPath = join(root, `store-${directories}`)
    const before = readdirSync(root)
    const attempts: [string[], number, string][] = [
      [['restore', checkpoint, path, '--log', path], 2, 'exists already'],
      [['restore', checkpoint, fresh(), '--log', path, '--to', '49'], 2, 'from 50 on'],
      [
        ['restore', checkpoint, fresh(), '--log', path, '--to', '99'],
        2,
        'the log ends at position 51, before 99',
      ],
      [['restore', checkpoint, fresh()], 2, '--log'],
      [['restore', path.replace('store', 'none'), fresh(), '--log', path], 2, 'no such directory'],
      [['restore', checkpoint, fresh(), '--log', otherPath], 1, 'VARVE_DIVERGED'],
    ]
    for (const [args, status, text] of attempts) {
      const outcome = varve(...args)
      expect([args.join(' '), outcome.status]).toEqual([args.join(' '), status])
      expect(outcome.stderr).toContain(text)
    }
    expect(readdirSync(root)).toEqual(before)
  })

  it('D8: the log is the store: all of it is rebuilt from log files alone, with an equal digest', async () => {
    const path = fresh()
    const db = await openStore(path)
    for (let i = 0; i < 400; i++) {
      if (i % 7 === 0) await db.del(`k${(i * 3) % 50}`)
      else await db.put(`k${(i * 11) % 60}`, `value ${i}`)
      if (i === 200) await db.clear({ gte: 'k3', lt: 'k4' })
      if (i % 90 === 0) await db.compact()
    }
    const digest = await db.digest()
    await db.close()
    for (const name of readdirSync(path)) if (!name.endsWith('.log')) rmSync(join(path, name))
    const { restore } = await import('../../src/backup/restore.js')
    const target = fresh()
    expect(await restore(target, { log: path })).toEqual({ position: 401 })
    const rebuilt = await openStore(target)
    expect(await compare(rebuilt, digest)).toBeUndefined()
  })
})
