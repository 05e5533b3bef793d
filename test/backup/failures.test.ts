import { describe, expect, it } from 'vitest'
import { backup, listBackups, purgeBackups, restoreBackup, verifyBackup } from '../../src/backup.js'
import type { CrashPolicy } from '../../src/env/crash-states.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { encryptionIf } from '../encryption/share.js'
import { codeOf, failureOf, STORE } from '../store/helpers.js'
import { BACKUPS, filesOf, KEEP, Recorded, restored } from './helpers.js'

const POLICIES: readonly CrashPolicy[] = [
  'strict',
  'names-kept-data-lost',
  'data-kept-names-lost',
  'names-subset',
]

/** Copied files of an attempt that failed stay for the next; everything else that is there belongs to a backup. */
async function strays(env: MemoryEnv): Promise<string[]> {
  const named = new Set((await listBackups(BACKUPS, { env })).map(({ name }) => `${BACKUPS}/${name}.backup`))
  return filesOf(env).filter(
    (path) => path.endsWith('.tmp') || (path.endsWith('.backup') && !named.has(path)),
  )
}

/** Blob files outlive merges: which of their names a store that went back shares with backups is another matter. */
const INLINE = { ...KEEP, blobMinBytes: Number.POSITIVE_INFINITY }

describe('a directory of backups', () => {
  it('holds whole backups only, and every one that was made, after a crash at any moment', async () => {
    const store = await Recorded.open(11, { ...KEEP, l0SegmentsMax: 3 })
    const { env } = store
    const points: { readonly fs: MemoryEnv['fs']; readonly made: string[]; readonly when: string }[] = []
    let made: string[] = []
    env.fs.onStep = ({ index, op, path }) => {
      if (path.startsWith(BACKUPS)) points.push({ fs: env.fs.clone(), made, when: `${index}, ${op} ${path}` })
    }
    for (let i = 0; i < 3; i++) {
      await store.write(8)
      made = [...made, (await backup(store.db, BACKUPS)).name]
    }
    // What is going need not be there any more, from the moment that it may be removed.
    made = made.slice(1)
    await purgeBackups(BACKUPS, { keep: 2, env })
    env.fs.onStep = undefined
    points.push({ fs: env.fs.clone(), made, when: 'the end' })
    await store.db.close()
    let states = 0
    for (const { fs, made, when } of points) {
      for (const { name, fs: left } of fs.crashStates(POLICIES)) {
        const env = memoryEnv({ fs: left })
        if (!left.stat(BACKUPS)) continue
        const found = await listBackups(BACKUPS, { env })
        expect(
          found.map((each) => each.name),
          `${when}; ${name}`,
        ).toEqual(expect.arrayContaining(made))
        for (const each of found) await verifyBackup(BACKUPS, each.name, { env })
        if (states++ % 19 > 0) continue
        for (const { position, restorableFrom } of found.slice(-1)) {
          const at = (position + restorableFrom) >> 1
          expect((await restored(env, { at })).state).toEqual(store.stateAt(at))
        }
        const { position } = await backup(STORE, BACKUPS, { env })
        expect((await restored(env)).state).toEqual(store.stateAt(position))
        await purgeBackups(BACKUPS, { keep: 1, env })
        const { sizeBytes, name: last } = (await listBackups(BACKUPS, { env }))[0]!
        const bytes = filesOf(env)
          .filter((path) => /\.(seg|log|tmp)$/.test(path))
          .map((path) => left.stat(path)!.sizeBytes)
        expect(
          bytes.reduce((a, b) => a + b, 0),
          `leftovers beside ${last}`,
        ).toBe(sizeBytes)
        expect(left.openHandles()).toEqual([])
      }
    }
    expect(states).toBeGreaterThan(150)
  })

  it('takes a failure of any operation as an error, and the next attempt goes on', async () => {
    const store = await Recorded.open(12, KEEP)
    await store.write(20)
    await backup(store.db, BACKUPS)
    const ops = [
      'create',
      'write',
      'sync',
      'syncDirectory',
      'rename',
      'remove',
      'read',
      'list',
      'stat',
    ] as const
    let failures = 0
    for (const op of ops) {
      for (let nth = 1; nth < 4; nth++) {
        await store.write(3)
        const errno = nth === 2 ? 'ENOSPC' : 'EIO'
        const fault = store.env.fs.inject({ op, nth, path: /^\/backups/, effect: { errno } })
        const before = await store.db.position
        const failure = await failureOf(() => backup(store.db, BACKUPS))
        store.env.fs.clearFaults()
        // A file of an earlier attempt that could not be removed is left to the next one.
        if (failure) expect(failure.code).toMatch(/^VARVE_(IO|NO_SPACE)$/)
        if (failure) failures += fault.fired
        expect(store.env.fs.openHandles()).toEqual(expect.not.arrayContaining([`lock ${BACKUPS}/LOCK`]))
        const { position } = await backup(store.db, BACKUPS)
        expect(position).toBe(before)
        expect(await strays(store.env)).toEqual([])
        await verifyBackup(BACKUPS, undefined, { env: store.env })
      }
    }
    expect(failures).toBeGreaterThan(15)
    const at = store.db.position - 20
    expect((await restored(store.env, { at })).state).toEqual(store.stateAt(at))
    await store.db.close()
  })

  it('reuses what an attempt that was ended had copied', async () => {
    const store = await Recorded.open(13, { ...KEEP, l0SegmentsMax: 100 })
    await store.write(200)
    const aborter = new AbortController()
    let seen = 0
    const ended = backup(store.db, BACKUPS, {
      signal: aborter.signal,
      onProgress: (done, total) => {
        expect(done).toBeGreaterThan(seen)
        expect(total).toBeGreaterThanOrEqual(done)
        seen = done
        if (done > total / 2) aborter.abort()
      },
    })
    expect(await codeOf(() => ended)).toBe('VARVE_ABORTED')
    expect(await listBackups(BACKUPS, { env: store.env })).toEqual([])
    const created: string[] = []
    store.env.fs.onStep = ({ op, path }) => {
      if (op === 'create' && path.startsWith(BACKUPS)) created.push(path)
    }
    const { segments } = await backup(store.db, BACKUPS)
    expect(created.filter((path) => path.includes('.seg')).length).toBeLessThan(segments / 2 + 1)
    expect((await restored(store.env)).state).toEqual(store.stateAt(200))
    await store.db.close()
  })

  it('is written no faster than asked for, and closing the store ends that', async () => {
    const store = await Recorded.open(14, KEEP)
    await store.write(100)
    // Nothing is merged between the two backups.
    await store.db.compact()
    const { sizeBytes } = await backup(store.db, BACKUPS)
    const startedMs = performance.now()
    await backup(store.db, '/slow', { maxBytesPerSecond: sizeBytes * 4 })
    expect(performance.now() - startedMs).toBeGreaterThan(100)
    const waiting = failureOf(() => backup(store.db, '/slower', { maxBytesPerSecond: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await codeOf(() => backup(store.db, '/slower'))).toBe('VARVE_LOCKED')
    await store.db.close()
    expect((await waiting)?.code).toBe('VARVE_CLOSED')
    const aborter = new AbortController()
    const restoring = codeOf(() =>
      restoreBackup(BACKUPS, '/x', { maxBytesPerSecond: 1, signal: aborter.signal, env: store.env }),
    )
    setTimeout(() => aborter.abort(), 20)
    expect(await restoring).toBe('VARVE_ABORTED')
    expect(store.env.fs.stat('/x.partial') ?? store.env.fs.stat('/x.log.partial')).toBeUndefined()
    expect(store.env.fs.openHandles()).toEqual([])
  })

  it('forgets the oldest backups, and only the files that no other needs', async () => {
    const store = await Recorded.open(15, KEEP)
    for (let i = 0; i < 4; i++) {
      await store.write(30)
      await backup(store.db, BACKUPS)
    }
    const { env } = store
    const bytes = () => filesOf(env).reduce((sum, path) => sum + env.fs.stat(path)!.sizeBytes, 0)
    const before = bytes()
    const { removed, freedBytes } = await purgeBackups(BACKUPS, { keep: 2, env })
    expect(removed).toEqual(['000001', '000002'])
    expect(freedBytes).toBeGreaterThan(0)
    expect(before - bytes()).toBeGreaterThan(freedBytes)
    expect(await purgeBackups(BACKUPS, { keep: 2, env })).toEqual({ removed: [], freedBytes: 0 })
    const [third, fourth] = await listBackups(BACKUPS, { env })
    expect([third!.restorableFrom, fourth!.restorableFrom]).toEqual([90, 90])
    expect((await restored(env, { at: 99 })).state).toEqual(store.stateAt(99))
    await verifyBackup(BACKUPS, '000003', { env })
    for (const keep of [0, -1, 1.5, undefined as never])
      expect(await codeOf(() => purgeBackups(BACKUPS, { keep, env }))).toBe('VARVE_INVALID_ARGUMENT')
    await store.db.close()
  })

  it('does not mix histories: a store that went back begins anew, or is refused', async () => {
    const store = await Recorded.open(16, INLINE)
    await store.write(40)
    await backup(store.db, BACKUPS)
    await store.db.close()
    const copy = store.env.fs.clone()
    const again = await store.reopen(INLINE)
    await again.write(60)
    await backup(again.db, BACKUPS)
    await again.db.close()
    // The directory of the store is put back, the one of the backups is not.
    for (const path of filesOf(store.env)) {
      const parent = path.slice(0, path.lastIndexOf('/'))
      if (!copy.stat(parent)) copy.makeDirectory(parent)
      copy.writeFile(path, store.env.fs.readFile(path))
    }
    const outcomes: (string | undefined)[] = []
    // Where numbers meet is up to flushes, which take together what waits: after some number of writes they do.
    for (let writes = 60; writes <= 200 && !outcomes.includes('VARVE_DIVERGED'); writes += 10) {
      const other = await Recorded.open(99, INLINE, memoryEnv({ fs: copy.clone(), seed: writes }))
      for (let i = 0; i < writes; i++) await other.db.put(`other${i}`, 'x'.repeat(50))
      outcomes.push((await failureOf(() => backup(other.db, BACKUPS)))?.code)
      await other.db.close()
    }
    expect(outcomes).toContain('VARVE_DIVERGED')

    // With files whose numbers no backup knows.
    const env = memoryEnv({ fs: copy.clone(), seed: 99 })
    for (let i = 0; i < 60; i++) await (await Recorded.open(98, INLINE, env)).db.close()
    const another = await Recorded.open(99, INLINE, env)
    for (let i = 0; i < 90; i++) await another.db.put(`other${i}`, 'x'.repeat(50))
    expect(await backup(another.db, BACKUPS)).toMatchObject({ position: 130, restorableFrom: 130 })
    await another.db.close()
    expect((await restored(env, { backup: '000002', at: 77 })).state).toEqual(store.stateAt(77))
  })

  it('of an encrypted store that went back is refused or whole, whether its numbers meet others or not', async () => {
    const share = encryptionIf(true)
    const store = await Recorded.open(18, { ...INLINE, ...share })
    await store.write(40)
    await backup(store.db, BACKUPS)
    await store.db.close()
    const before = store.env.fs.clone()
    const again = await store.reopen({ ...INLINE, ...share })
    await again.write(60)
    await backup(again.db, BACKUPS)
    await again.db.close()
    for (const path of filesOf(store.env)) before.writeFile(path, store.env.fs.readFile(path))
    const outcomes = new Set<string>()
    for (let writes = 40; writes <= 200 && outcomes.size < 2; writes += 10) {
      const env = memoryEnv({ fs: before.clone(), seed: writes })
      const other = await Recorded.open(writes, { ...INLINE, ...share }, env)
      for (let i = 0; i < writes; i++) await other.db.put(`other${i % 50}`, 'x'.repeat(50))
      const failure = await failureOf(() => backup(other.db, BACKUPS))
      const state = Object.fromEntries(await other.db.entries().all())
      await other.db.close()
      outcomes.add(failure?.code ?? 'whole')
      if (failure) continue
      const [info] = (await listBackups(BACKUPS, { ...share, env })).slice(-1)
      expect(info!.restorableFrom).toBe(info!.position)
      expect((await restored(env, share)).state).toEqual(state)
      expect((await restored(env, { ...share, backup: '000002', at: 77 })).state).toEqual(again.stateAt(77))
    }
    // With some of these numbers of writes each happens.
    expect([...outcomes].sort()).toEqual(['VARVE_DIVERGED', 'whole'])
  })

  it('is not made of a directory that holds something else, and no path in it leads elsewhere', async () => {
    const store = await Recorded.open(17, KEEP)
    await store.write(20)
    const { env } = store
    expect(await failureOf(() => backup(store.db, STORE))).toMatchObject({ code: 'VARVE_FORMAT_VERSION' })
    const misspelt = { maxBytePerSecond: 1 } as object
    expect(await codeOf(() => backup(store.db, BACKUPS, misspelt))).toBe('VARVE_INVALID_ARGUMENT')
    for (const path of ['', 'a\0b', 1 as never])
      expect(await codeOf(() => backup(store.db, path))).toBe('VARVE_INVALID_ARGUMENT')
    await backup(store.db, BACKUPS)
    for (const name of ['../000001', '000001.backup', '1', '0000001', '000002'])
      expect(await codeOf(() => verifyBackup(BACKUPS, name, { env }))).toBe('VARVE_INVALID_ARGUMENT')
    for (const path of ['/nowhere', `${BACKUPS}/000001.backup`])
      expect(await codeOf(() => listBackups(path, { env }))).toBe('VARVE_INVALID_ARGUMENT')
    env.fs.writeFile(`${BACKUPS}/notes.txt`, Buffer.from('not ours'))
    env.fs.writeFile(`${BACKUPS}/0000002.backup`, Buffer.from('no name of ours'))
    await store.write(5)
    await backup(store.db, BACKUPS)
    await purgeBackups(BACKUPS, { keep: 1, env })
    expect(filesOf(env)).toEqual(
      expect.arrayContaining([`${BACKUPS}/notes.txt`, `${BACKUPS}/0000002.backup`]),
    )
    expect(await codeOf(() => restoreBackup(BACKUPS, STORE, { env }))).toBe('VARVE_INVALID_ARGUMENT')
    await store.db.close()
  })
})
