import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { type OpenOptions, open, restore } from '../../src/index.js'
import { codeOf, contents, dump, failureOf, openMemory, STORE, TINY } from '../store/helpers.js'
import { ENCRYPTED, fill, KEY, OTHER_KEY, openEncrypted, SECRET } from './helpers.js'

describe('the key of a store', () => {
  it('is 32 bytes, checked before anything is written', async () => {
    const env = memoryEnv()
    const bad = [
      null,
      {},
      'key',
      KEY,
      { key: KEY.toString('hex') },
      { key: KEY.subarray(1) },
      { key: [...KEY] },
    ]
    for (const encryption of [...bad, { key: Buffer.alloc(64) }, { key: KEY, kee: 1 }]) {
      const error = await failureOf(() => open(STORE, { encryption, env } as OpenOptions))
      expect(error?.code).toBe('VARVE_INVALID_ARGUMENT')
      expect(inspect(error)).not.toMatch(/0b4c5e6f|11, 76, 94/)
    }
    expect(env.fs.list('/')).toEqual([])
  })

  it('is copied: the caller may wipe its own', async () => {
    const env = memoryEnv()
    const key = Buffer.from(KEY)
    const db = await openEncrypted(env, { encryption: { key } })
    key.fill(0)
    await fill(db, 1)
    await db.close()
    const again = await openEncrypted(env)
    expect(Object.keys(await dump(again)).length).toBeGreaterThan(30)
    await again.close()
  })

  it('is asked for by name when it is missing, another one, or too much; nothing is written', async () => {
    const env = memoryEnv()
    const db = await openEncrypted(env)
    await fill(db, 2)
    await db.put(`${SECRET}-unflushed`, SECRET)
    await db.close()
    const plain = memoryEnv()
    await (await openMemory({ ...TINY }, plain)).db.close()
    const cases = [
      [env, TINY, 'is encrypted: it takes the key it was written with'],
      [env, { ...TINY, encryption: { key: OTHER_KEY } }, 'was encrypted with another key'],
      [plain, ENCRYPTED, 'is not encrypted: it is opened without a key'],
    ] as const
    for (const [there, options, message] of cases) {
      for (const readOnly of [false, true]) {
        const before = contents(there.fs)
        const error = await failureOf(() => open(STORE, { ...options, readOnly, env: there } as never))
        expect(error?.code).toBe('VARVE_KEY')
        expect(error?.message).toContain(message)
        expect(error?.file).toMatch(/MANIFEST-\d+$/)
        expect(inspect(error, { depth: 9 })).not.toMatch(/0b4c5e|11, 76, 94/)
        expect(contents(there.fs)).toEqual(before)
        expect(there.fs.openFiles()).toEqual([])
      }
    }
  })

  it('is in nothing that the store shows of itself', async () => {
    const db = await openEncrypted()
    const events: unknown[] = []
    db.on('flush.ended', (event) => events.push(event))
    await fill(db, 2)
    const shown = inspect([db, db.stats(), events], { depth: 20, showHidden: true, maxArrayLength: null })
    await db.close()
    expect(shown).not.toMatch(/0b4c5e|11, 76, 94|0b 4c 5e/)
  })

  it('opens checkpoints, what is restored from them, and what was written by a process that ended', async () => {
    const env = memoryEnv()
    const kept = { log: { maxBytes: 1e9 } }
    const db = await openEncrypted(env, kept)
    await fill(db, 2)
    await db.checkpoint('/checkpoint')
    await fill(db, 2)
    // A frame each, side by side in a file.
    for (let i = 0; i < 12; i++) await db.put(`${SECRET}-after-${i}`, SECRET)
    const expected = await dump(db)
    const { position } = db
    const without = { checkpoint: '/checkpoint', log: STORE, env }
    expect(await codeOf(() => restore('/no', without))).toBe('VARVE_KEY')
    const given = { ...without, encryption: { key: KEY } }
    expect(await restore('/restored', given)).toEqual({ position })
    await db.close()
    const restored = await openEncrypted(env, {}, '/restored')
    expect(await dump(restored)).toEqual(expected)
    await restored.verify()
    await restored.close()
    expect(await codeOf(() => open('/checkpoint', { ...TINY, env } as OpenOptions))).toBe('VARVE_KEY')
    const copy = await openEncrypted(env, {}, '/checkpoint')
    await copy.put('more', 'x')
    await copy.verify()
    await copy.close()
  })
})
