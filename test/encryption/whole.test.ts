import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { backup, listBackups, restoreBackup } from '../../src/backup.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { type OpenOptions, open } from '../../src/index.js'
import { serveLog } from '../../src/replication.js'
import { everyCrashPoint } from '../../src/testing.js'
import { Closers, caughtUp, LEADER, openMemoryFollower } from '../replication/helpers.js'
import { codeOf, dump, STORE } from '../store/helpers.js'
import { ENCRYPTED, filesIn, fill, KEY, OTHER_KEY, openEncrypted, SECRET } from './helpers.js'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'varve-encryption-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const closers = new Closers()
afterEach(() => closers.close())

describe('an encrypted store', () => {
  it('loses nothing acknowledged in any crash state, and opens with its key after each', async () => {
    // The log is kept: recovery writes again what it is not known to be on disk.
    const options = { ...ENCRYPTED, durability: 'disk', log: { maxBytes: 1e9 } } as OpenOptions
    const report = await everyCrashPoint({
      policies: ['sectors'],
      run: async ({ env, note }) => {
        const db = await open<string, string>(STORE, { ...options, env } as OpenOptions)
        for (let i = 0; i < 4; i++) note(await db.put(`${SECRET}${i}`, `${i}`))
        // Two log files are needed meanwhile, the later one only if it goes on from the older.
        const flushed = db.flush()
        for (let i = 4; i < 6; i++) note(await db.put(`${SECRET}${i}`, `${i}`))
        await flushed
        await db.close()
      },
      check: async ({ env, facts }) => {
        const db = await open<string, string>(STORE, { ...options, env } as OpenOptions)
        const found = await dump(db)
        let changes = 0
        for await (const _ of db.changes()) changes++
        expect(changes).toBe(db.position)
        await db.verify()
        await db.close()
        const expected = Array.from({ length: facts.length }, (_, i) => [`${SECRET}${i}`, `${i}`])
        expect(found).toMatchObject(Object.fromEntries(expected))
        expect([...filesIn(env.fs).values()].some((bytes) => bytes.includes(SECRET))).toBe(false)
      },
    })
    expect(report.states).toBeGreaterThan(60)
  })

  it('serves followers of any key from its log, and copies of its files to those of the same key only', async () => {
    const leader = closers.add(await openEncrypted(memoryEnv(), { log: { maxBytes: 1e9 } }, LEADER))
    await fill(leader, 1)
    const server = closers.add(await serveLog(leader))
    const env = memoryEnv({ seed: 2 })
    const other = closers.add(await openMemoryFollower(server.url, { encryption: { key: OTHER_KEY } }, env))
    await caughtUp(other, leader)
    expect(await dump(other)).toEqual(await dump(leader))
    expect([...filesIn(env.fs, '/follower').values()].some((bytes) => bytes.includes(SECRET))).toBe(false)

    const short = closers.add(await openEncrypted(memoryEnv({ seed: 3 }), {}, LEADER))
    await fill(short, 2)
    const copies = closers.add(await serveLog(short))
    expect(short.oldestPosition).toBeGreaterThan(1)
    for (const encryption of [{ key: OTHER_KEY }, undefined]) {
      const options = encryption ? { encryption } : {}
      const refused = closers.add(await openMemoryFollower(copies.url, options))
      // Not to be tried again.
      const { retryMs } = await new Promise<{ retryMs?: number | undefined }>((resolve) =>
        refused.on('follower.disconnected', resolve),
      )
      expect(retryMs).toBeUndefined()
      expect([refused.failure?.code, refused.connected, refused.position]).toEqual(['VARVE_KEY', false, 0])
    }
    const same = closers.add(await openMemoryFollower(copies.url, { encryption: { key: KEY } }))
    await caughtUp(same, short)
    await same.verify()
    expect(await dump(same)).toEqual(await dump(short))
  })

  it('is backed up and restored with its key, and backups tell nothing without it', async () => {
    const env = memoryEnv()
    const encryption = { key: KEY }
    const db = await openEncrypted(env, { log: { maxBytes: 1e9 } })
    await (await db.consumer(`${SECRET}-consumer`, { from: 'start' })).close()
    await fill(db, 1)
    await backup(db, '/backups')
    const at = await db.put(`${SECRET}-between`, SECRET)
    const expected = await dump(db)
    await db.put(`${SECRET}-later`, SECRET)
    await db.close()
    expect(await codeOf(() => backup(STORE, '/backups', { env }))).toBe('VARVE_KEY')
    await backup(STORE, '/backups', { env, encryption })
    const files = [...filesIn(env.fs, '/backups').values()]
    expect(files.length).toBeGreaterThan(4)
    expect(files.some((bytes) => bytes.includes(SECRET))).toBe(false)
    expect((await listBackups('/backups', { env })).length).toBe(2)
    expect(await codeOf(() => restoreBackup('/backups', '/no', { env }))).toBe('VARVE_KEY')
    await restoreBackup('/backups', '/restored', { env, encryption, at })
    const restored = await openEncrypted(env, {}, '/restored')
    expect(await dump(restored)).toEqual(expected)
    await restored.close()
  })

  it('takes values of megabytes, in frames and sections of many pieces', async () => {
    const env = memoryEnv()
    const db = await openEncrypted(env, { memory: 64 << 20, log: { maxBytes: 1e9 } })
    const large = SECRET.repeat(700_000)
    void db.put('large', large)
    await db.batch([{ type: 'put', key: 'second', value: large }])
    expect(await db.get('large')).toBe(large)
    await db.flush()
    let changes = 0
    for await (const { ops } of db.changes()) if (ops[0]?.type === 'put' && ops[0].value === large) changes++
    expect(changes).toBe(2)
    await db.put('third', large)
    await db.close()
    expect([...filesIn(env.fs).values()].some((bytes) => bytes.includes(SECRET))).toBe(false)
    const again = await openEncrypted(env, { memory: 64 << 20 })
    for (const key of ['large', 'second', 'third']) expect(await again.get(key)).toBe(large)
    await again.verify()
    await again.close()
  })
})

describe('on real files', () => {
  const DIST = new URL('../../dist/', import.meta.url).href

  it.each([0, 1])('flushes, merges, verifies and serves views with %d threads', async (workers) => {
    const built = (await import(`${DIST}index.js`)) as typeof import('../../src/index.js')
    const path = join(root, `workers-${workers}`)
    const options = { ...ENCRYPTED, workers }
    const db = await built.open(path, options)
    await fill(db, 3)
    await db.compact()
    const report = await db.verify()
    expect(report.entries).toBeGreaterThan(80)
    const expected = await dump(db)
    await db.close()
    for (const name of readdirSync(path)) expect(readFileSync(join(path, name)).includes(SECRET)).toBe(false)
    const again = await built.open(path, { ...options, workers: 1 - workers })
    expect(await dump(again)).toEqual(expected)
    await again.close()
  })
})
