import { afterEach, describe, expect, it } from 'vitest'
import { backup, listBackups, restoreBackup, verifyBackup } from '../../src/backup.js'
import type { OpenOptions } from '../../src/index.js'
import { serveLog } from '../../src/replication.js'
import { caughtUp, openLeader, openMemoryFollower } from '../replication/helpers.js'
import { codeOf, failureOf, STORE } from '../store/helpers.js'
import { BACKUPS, filesOf, KEEP, Recorded, restored } from './helpers.js'

const opened: { close(): Promise<unknown> }[] = []

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close().catch(() => {})
})

async function record(seed: number, options: OpenOptions = {}): Promise<Recorded> {
  const recorded = await Recorded.open(seed, { ...KEEP, ...options })
  opened.push(recorded.db)
  return recorded
}

async function reopened(before: Recorded, options: OpenOptions): Promise<Recorded> {
  const recorded = await before.reopen(options)
  opened.push(recorded.db)
  return recorded
}

describe('a backup', () => {
  it('holds the store as of its position, and later ones copy only what is new', async () => {
    const store = await record(1, { l0SegmentsMax: 100 })
    await store.write(150)
    const first = await backup(store.db, BACKUPS)
    expect(first).toMatchObject({
      name: '000001',
      position: 150,
      restorableFrom: 150,
      isAuthenticated: false,
    })
    expect(first.copiedBytes).toBe(first.sizeBytes)
    const before = new Set(filesOf(store.env))

    const same = await backup(store.db, BACKUPS)
    expect(same).toMatchObject({
      position: 150,
      copiedBytes: 0,
      sizeBytes: first.sizeBytes,
      restorableFrom: 150,
    })

    await store.write(3)
    const third = await backup(store.db, BACKUPS)
    const added = filesOf(store.env).filter((path) => !before.has(path) && !path.endsWith('.backup'))
    const addedBytes = added.reduce((sum, path) => sum + store.env.fs.stat(path)!.sizeBytes, 0)
    expect(third.copiedBytes).toBe(addedBytes)
    expect(third).toMatchObject({ position: 153, restorableFrom: 150, logFiles: 1 })
    expect(third.copiedBytes).toBeLessThan(first.copiedBytes)

    expect(await listBackups(BACKUPS, { env: store.env })).toEqual([first, same, third])
    for (const [name, position] of [
      ['000001', 150],
      ['000003', 153],
    ] as const)
      expect(await restored(store.env, { backup: name })).toEqual({
        position,
        state: store.stateAt(position),
      })
    expect(await verifyBackup(BACKUPS, undefined, { env: store.env })).toMatchObject({ name: '000003' })
  })

  it('restores to every position and time between the first and the last', async () => {
    let store = await record(2)
    const times: { readonly ms: number; readonly position: number }[] = []
    await store.write(40)
    for (let i = 0; i < 4; i++) {
      await backup(store.db, BACKUPS)
      await store.write(25)
      if (i === 1) store = await reopened(store, KEEP)
      const { position } = store.db
      times.push({ ms: Date.now(), position })
      await new Promise((resolve) => setTimeout(resolve, 3))
      await store.write(5)
      if (i === 2) await store.db.compact()
    }
    const last = await backup(store.db, BACKUPS)
    expect(last).toMatchObject({ position: 160, restorableFrom: 40 })
    for (let at = 40; at <= 160; at += at % 30 > 10 && at % 30 < 28 ? 9 : 2)
      expect(await restored(store.env, { at }), `position ${at}`).toEqual({
        position: at,
        state: store.stateAt(at),
      })
    for (const { ms, position } of times)
      expect((await restored(store.env, { at: new Date(ms) })).position).toBe(position)
    const env = store.env
    expect(await failureOf(() => restoreBackup(BACKUPS, '/x', { at: 39, env }))).toMatchObject({
      code: 'VARVE_POSITION_LOST',
      position: 40,
    })
    for (const at of [161, -1, 1.5, new Date(Number.NaN), new Date(Date.now() + 1e6), '40' as never])
      expect(await codeOf(() => restoreBackup(BACKUPS, '/x', { at, env }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(env.fs.stat('/x') ?? env.fs.stat('/x.partial') ?? env.fs.stat('/x.log.partial')).toBeUndefined()
  })

  it('says from where on positions can be restored when the log was not kept', async () => {
    const store = await record(3, { log: { maxBytes: 0 } })
    await store.write(60)
    await backup(store.db, BACKUPS)
    await store.write(200)
    const second = await backup(store.db, BACKUPS)
    expect(second).toMatchObject({ position: 260, restorableFrom: 260, logFiles: 0 })
    await store.write(2)
    // What no flush had let go of yet is kept while the backup flushes it.
    expect(await backup(store.db, BACKUPS)).toMatchObject({ restorableFrom: 260, logFiles: 1 })
    expect((await restored(store.env, { at: 260 })).state).toEqual(store.stateAt(260))
    const lost = await failureOf(() => restoreBackup(BACKUPS, '/x', { at: 259, env: store.env }))
    expect(lost).toMatchObject({ code: 'VARVE_POSITION_LOST', position: 260 })
  })

  it('keeps the log to the next one by a consumer', async () => {
    let store = await record(4, { log: { maxBytes: 0 } })
    await store.write(50)
    const first = await backup(store.db, BACKUPS, { consumer: 'backup' })
    await store.write(200)
    store = await reopened(store, { log: { maxBytes: 0 } })
    await store.write(100)
    const second = await backup(store.db, BACKUPS, { consumer: 'backup' })
    store = await reopened(store, { log: { maxBytes: 0 } })
    store = await reopened(store, { log: { maxBytes: 0 } })
    const third = await backup(store.db, BACKUPS, { consumer: 'backup' })
    expect(third.restorableFrom).toBe(first.position)
    expect(second.restorableFrom).toBe(first.position)
    expect(second.logFiles).toBeGreaterThan(3)
    const at = first.position + 77
    expect(await restored(store.env, { at })).toEqual({ position: at, state: store.stateAt(at) })
    expect(store.db.stats().consumers[0]).toMatchObject({ name: 'backup', position: third.position - 1 })
  })

  it('is made while others write and segments are merged away', async () => {
    const store = await record(5)
    await store.write(100)
    let isDone = false
    const writing = (async () => {
      while (!isDone) {
        await store.write(8)
        await store.db.compact()
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    })()
    for (let i = 0; i < 3; i++) {
      const { position, restorableFrom } = await backup(store.db, BACKUPS)
      const at = Math.floor((position + restorableFrom) / 2)
      expect((await restored(store.env, { at })).state).toEqual(store.stateAt(at))
      expect((await restored(store.env)).state).toEqual(store.stateAt(position))
    }
    isDone = true
    await writing
  })

  it('is made of a path, without losing a log that the store keeps', async () => {
    const store = await record(6)
    await store.write(60)
    await backup(store.db, BACKUPS)
    await store.write(60)
    expect(await codeOf(() => backup(STORE, BACKUPS, { env: store.env }))).toBe('VARVE_LOCKED')
    await store.db.close()
    const info = await backup(STORE, BACKUPS, { env: store.env })
    expect(info).toMatchObject({ position: 120, restorableFrom: 60 })
    expect((await restored(store.env, { at: 99 })).state).toEqual(store.stateAt(99))
    expect(await codeOf(() => backup('/nothing', BACKUPS, { env: store.env }))).toBe('VARVE_INVALID_ARGUMENT')
  })

  it('is made of a follower, beside those of its leader', async () => {
    const leader = await openLeader(KEEP)
    opened.push(leader)
    const server = await serveLog(leader)
    opened.push(server)
    for (let i = 0; i < 50; i++) await leader.put(`k${i}`, `${i}`)
    const follower = await openMemoryFollower(server.url, KEEP)
    opened.push(follower)
    await caughtUp(follower, leader)
    const first = await backup(follower, BACKUPS)
    for (let i = 0; i < 50; i++) await leader.put(`k${i}`, `${i * 2}`)
    await caughtUp(follower, leader)
    const second = await backup(follower, BACKUPS)
    expect([first.position, second.position, second.restorableFrom]).toEqual([50, 100, 50])
    expect(await codeOf(() => backup(follower, BACKUPS, { consumer: 'c' }))).toBe('VARVE_NOT_LEADER')
  })
})
