import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { backup, listBackups, purgeBackups, restoreBackup, verifyBackup } from '../../src/backup.js'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { codeOf, failureOf, STORE } from '../store/helpers.js'
import { BACKUPS, filesOf, KEEP, Recorded, restored } from './helpers.js'

const KEY = 'a secret of sixteen bytes'

let store: Recorded
/** Three backups, the last one with logs since the second. */
let sound: MemoryEnv

beforeAll(async () => {
  store = await Recorded.open(7, KEEP)
  for (let i = 0; i < 3; i++) {
    await store.write(40)
    await backup(store.db, BACKUPS, { key: KEY })
  }
  await store.db.close()
  sound = store.env
})

afterAll(() => expect(sound.fs.openFiles()).toEqual([]))

function copyOf(env: MemoryEnv): MemoryEnv {
  return memoryEnv({ fs: env.fs.clone() })
}

/** What reading, verifying and restoring make of it. */
async function verdicts(env: MemoryEnv): Promise<(string | undefined)[]> {
  const failures = [
    await failureOf(() => verifyBackup(BACKUPS, undefined, { env })),
    await failureOf(() => restoreBackup(BACKUPS, '/x', { env, at: 100 })),
  ]
  expect(env.fs.stat('/x') === undefined).toBe(failures[1] !== undefined)
  expect(env.fs.stat('/x.partial') ?? env.fs.stat('/x.log.partial')).toBeUndefined()
  return failures.flatMap((failure) => (failure ? [`${failure.code} ${failure.file}`] : []))
}

describe('damage in a directory of backups', () => {
  it('is found in every file that is needed, and named', async () => {
    const files = filesOf(sound).filter((path) => !path.endsWith('LOCK'))
    const noticed = new Set<string>()
    for (const path of files) {
      const bytes = sound.fs.readFile(path)
      const damages = [
        bytes.map((byte, i) => (i === Math.floor(bytes.length / 2) ? byte ^ 1 : byte)),
        bytes.subarray(0, bytes.length - 1),
        undefined,
      ]
      for (const [i, damaged] of damages.entries()) {
        const env = copyOf(sound)
        env.fs.remove(path)
        if (damaged) env.fs.writeFile(path, damaged)
        const found = await verdicts(env)
        // Without its record a backup is none.
        if (path.endsWith('000003.backup') && damaged === undefined) continue
        expect(
          found.filter((verdict) => verdict !== `VARVE_CORRUPTION ${path}`),
          `${path}, damage ${i}`,
        ).toEqual([])
        if (found.length > 0) noticed.add(path)
      }
    }
    const [, , third] = await listBackups(BACKUPS, { env: sound })
    expect(noticed.size).toBeGreaterThanOrEqual(third!.segments + third!.logFiles + 2)
  })

  it('in any byte of a record is found, and the other backups are restored all the same', async () => {
    const path = `${BACKUPS}/000002.backup`
    const bytes = sound.fs.readFile(path)
    for (let i = 0; i < bytes.length; i += 3) {
      const env = copyOf(sound)
      env.fs.writeFile(
        path,
        bytes.map((byte, at) => (at === i ? byte ^ 0x40 : byte)),
      )
      const failure = await failureOf(() => verifyBackup(BACKUPS, '000002', { env }))
      expect(failure, `byte ${i}`).toMatchObject({ code: 'VARVE_CORRUPTION', file: path })
    }
    const env = copyOf(sound)
    env.fs.writeFile(path, bytes.subarray(0, 50))
    expect((await restored(env)).state).toEqual(store.stateAt(120))
    expect((await restored(env, { backup: '000001' })).state).toEqual(store.stateAt(40))
    const calls = [
      () => listBackups(BACKUPS, { env }),
      () => purgeBackups(BACKUPS, { keep: 1, env }),
      () => backup(STORE, BACKUPS, { env }),
    ]
    for (const call of calls)
      expect(await failureOf(call)).toMatchObject({ code: 'VARVE_CORRUPTION', file: path })
    expect(filesOf(env)).toEqual(filesOf(sound))
  })

  it('of the store itself is not backed up, and named', async () => {
    for (const [path, name] of [
      [/^\/store\/\d+\.seg$/, 'seg'],
      [/^\/store\/\d+\.log$/, 'log'],
    ] as const) {
      const damaged = await Recorded.open(8, { ...KEEP, l0SegmentsMax: 100 })
      await damaged.write(20)
      await backup(damaged.db, BACKUPS)
      await damaged.write(20)
      await damaged.db.flush()
      const fault = damaged.env.fs.inject({ op: 'read', path, effect: { flipBit: 999 }, repeat: 'forever' })
      const failure = await failureOf(() => backup(damaged.db, BACKUPS))
      expect(failure?.code).toBe('VARVE_CORRUPTION')
      expect(failure?.file).toMatch(path)
      expect(fault.fired, name).toBeGreaterThan(0)
      damaged.env.fs.clearFaults()
      expect(await backup(damaged.db, BACKUPS)).toMatchObject({ position: 40, restorableFrom: 20 })
      await damaged.db.close()
      expect((await restored(damaged.env, { at: 31 })).state).toEqual(damaged.stateAt(31))
    }
  })

  it('is told from forgery by a key', async () => {
    const access = { key: KEY, env: sound }
    expect(await verifyBackup(BACKUPS, undefined, access)).toMatchObject({ position: 120 })
    expect((await restored(sound, { key: Buffer.from(KEY), at: 77 })).state).toEqual(store.stateAt(77))
    const wrong = { key: `${KEY}!`, env: sound }
    for (const call of [
      () => listBackups(BACKUPS, wrong),
      () => verifyBackup(BACKUPS, undefined, wrong),
      () => restoreBackup(BACKUPS, '/x', wrong),
    ])
      expect(await codeOf(call)).toBe('VARVE_CORRUPTION')
    const env = copyOf(sound)
    await backup(STORE, BACKUPS, { env })
    expect(await codeOf(() => restoreBackup(BACKUPS, '/x', { key: KEY, env }))).toBe('VARVE_INVALID_ARGUMENT')
    expect(await codeOf(() => listBackups(BACKUPS, { key: 'short', env }))).toBe('VARVE_INVALID_ARGUMENT')
  })
})
