import { describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { Database } from '../../src/index.js'
import { codeOf, contents, dump, failureOf, STORE } from '../store/helpers.js'
import { copy } from '../view/helpers.js'
import { filesIn, fill, openEncrypted, SECRET } from './helpers.js'
import { piecesOf, useOf } from './pieces.js'

const KEPT = { log: { maxBytes: 1e9 } }

/** A closed store that went through everything that writes files. */
async function madeStore(env: MemoryEnv): Promise<void> {
  const db = await openEncrypted(env, KEPT)
  const consumer = await db.consumer(`${SECRET}-consumer`, { from: 'start' })
  await fill(db)
  await consumer.seek(9)
  await db.flush()
  await db.compact({ lt: `${SECRET}-key-030` })
  await db.put(`${SECRET}-last`, SECRET)
  await db.close()
}

async function allOf(db: Database): Promise<Record<string, string>> {
  const found = await dump(db)
  let changes = 0
  for await (const _ of db.changes()) changes++
  return {
    ...found,
    changes: `${changes}`,
    consumers: JSON.stringify(db.stats().consumers.map((c) => c.name)),
  }
}

describe('the files of an encrypted store', () => {
  it('hold no byte of a key, a value or the name of a consumer, nor does that of its views', async () => {
    const env = memoryEnv()
    await madeStore(env)
    const db = await openEncrypted(env, KEPT)
    const view = await db.view('copy', copy(1))
    const position = await db.put(`${SECRET}-live`, `${SECRET}-live`)
    expect(await view.get(`k/${SECRET}-live`, { atLeast: position })).toBe(`${SECRET}-live`)
    const check = () => {
      const files = filesIn(env.fs)
      expect(files.size).toBeGreaterThan(8)
      const found = [...files].filter(([, bytes]) => bytes.includes(SECRET))
      expect(found.map(([path]) => path)).toEqual([])
      return [...files.keys()]
    }
    check()
    await db.close()
    const kinds = new Set(check().map((path) => path.replace(/^.*\/|\d+/g, '')))
    expect([...kinds].sort()).toEqual(expect.arrayContaining(['.log', '.seg', 'CURRENT', 'MANIFEST-']))
  })

  it('are plain without a key, so that the first test can fail', async () => {
    const env = memoryEnv()
    const db = await openEncrypted(env, { encryption: undefined } as never)
    await fill(db, 1)
    await db.close()
    expect([...filesIn(env.fs).values()].some((bytes) => bytes.includes(SECRET))).toBe(true)
  })

  it('never use a nonce twice under one key: over reopens, torn tails and numbers that are given again', async () => {
    let env = memoryEnv()
    const uses = new Map<string, string>()
    let pieces = 0
    const note = () => {
      for (const [path, bytes] of filesIn(env.fs)) {
        for (const piece of piecesOf(path, bytes)) {
          const { nonce, tag } = useOf(bytes, piece)
          expect(uses.get(nonce) ?? tag).toBe(tag)
          uses.set(nonce, tag)
          pieces++
        }
      }
    }
    for (let round = 0; round < 4; round++) {
      const db = await openEncrypted(env, { ...KEPT, durability: 'os' })
      await fill(db, 2)
      note()
      for (let i = 0; i < 20; i++) await db.put(`${SECRET}-${i}`, `${round}`)
      note()
      if (round % 2 === 0) {
        // What was not synced is gone, or torn, and the same numbers and offsets come again.
        const fs = env.fs.crash(round === 2 ? 'strict' : 'sectors', round)
        await db.close()
        env = memoryEnv({ fs, seed: 100 + round })
      } else {
        await db.close()
        note()
      }
    }
    expect(uses.size).toBeGreaterThan(250)
    expect(pieces).toBeGreaterThan(uses.size)
  })
})

describe('damage to an encrypted store', () => {
  it('of any byte is an error that names the file, or changes nothing', async () => {
    const env = memoryEnv()
    await madeStore(env)
    const whole = await openEncrypted(env, { readOnly: true })
    const expected = await allOf(whole)
    await whole.close()
    const before = filesIn(env.fs)
    let refused = 0
    for (const [n, [path, bytes]] of [...before].entries()) {
      if (path.endsWith('LOCK')) continue
      const damaged = Buffer.from(bytes)
      damaged[(n * 7919) % bytes.length]! ^= 1 << (n % 8)
      env.fs.writeFile(path, damaged)
      const error = await failureOf(async () => {
        const db = await openEncrypted(env, { readOnly: true })
        try {
          const found = await allOf(db)
          await db.verify()
          expect(found).toEqual(expected)
        } finally {
          await db.close()
        }
      })
      if (error) {
        refused++
        expect([error.code, error.file]).toEqual(['VARVE_CORRUPTION', path])
      }
      env.fs.writeFile(path, bytes)
    }
    expect(refused).toBeGreaterThan(10)
  })

  it('with right checksums is found out too, naming file and offset', async () => {
    const env = memoryEnv()
    await madeStore(env)
    const kinds = new Set<string>()
    for (const [path, bytes] of filesIn(env.fs)) {
      const pieces = piecesOf(path, bytes)
      const piece = pieces[pieces.length >> 1]
      if (!piece) continue
      const damaged = Buffer.from(bytes)
      damaged[piece.end - 1]! ^= 1
      piece.seal(damaged)
      env.fs.writeFile(path, damaged)
      const error = await failureOf(async () => {
        const db = await openEncrypted(env, { readOnly: true })
        try {
          await dump(db)
          await db.verify()
        } finally {
          await db.close()
        }
      })
      env.fs.writeFile(path, bytes)
      expect(error?.code, path).toBe('VARVE_CORRUPTION')
      // The checksum of a whole segment is looked at first.
      if (error?.offset !== 0) expect([error?.file, error?.offset]).toEqual([path, piece.start])
      kinds.add(path.replace(/^.*\/|\d+/g, ''))
    }
    expect([...kinds].sort()).toEqual(['.log', '.seg', 'MANIFEST-'])
  })

  it('by a block that stands where another one was, or in another file, is found out', async () => {
    const env = memoryEnv()
    const db = await openEncrypted(env, { compression: 'none', workers: 0, segmentBytes: 1 << 20 })
    for (const part of ['a', 'b']) {
      for (let i = 0; i < 60; i++) void db.put(`${part}${100 + i}`, 'v'.repeat(50))
      await db.flush()
    }
    await db.close()
    const segments = [...filesIn(env.fs)].filter(([path]) => path.endsWith('.seg'))
    expect(segments.length).toBeGreaterThan(1)
    const [[path, bytes], [, other]] = segments as [[string, Buffer], [string, Buffer]]
    const [first, second] = piecesOf(path, bytes)
    const [foreign] = piecesOf(path, other)
    expect(second!.end - second!.start).toBe(first!.end - first!.start)
    expect(foreign!.end).toBe(first!.end)
    for (const [source, from, what] of [
      [bytes, second!.start, 'not what was written here'],
      [other, foreign!.start, 'of another file'],
    ] as const) {
      const damaged = Buffer.from(bytes)
      source.copy(damaged, first!.start, from, from + first!.end - first!.start + 5)
      env.fs.writeFile(path, damaged)
      const reopened = await openEncrypted(env, { readOnly: true })
      const error = await failureOf(() => dump(reopened))
      await reopened.close()
      expect([error?.code, error?.file, error?.offset]).toEqual(['VARVE_CORRUPTION', path, 0])
      expect(error?.message).toContain(what)
    }
  })

  it('is repaired with the key, and not touched without it', async () => {
    const env = memoryEnv()
    await madeStore(env)
    const { repair } = await import('../../src/repair/repair.js')
    const { KEY, OTHER_KEY } = await import('./helpers.js')
    const [path, bytes] = [...filesIn(env.fs)].find(([name]) => name.endsWith('.seg'))!
    const [piece] = piecesOf(path, bytes)
    bytes[piece!.start + 40]! ^= 1
    env.fs.writeFile(path, bytes)
    const before = contents(env.fs)
    expect(await codeOf(() => repair(STORE, { env }))).toBe('VARVE_KEY')
    expect(await codeOf(() => repair(STORE, { env, encryption: { key: OTHER_KEY } }))).toBe('VARVE_KEY')
    expect(contents(env.fs)).toEqual(before)
    const report = await repair(STORE, { env, encryption: { key: KEY } })
    expect(report.damaged.map(({ file }) => file)).toEqual([path])
    expect(report.lost.length).toBe(1)
    const db = await openEncrypted(env)
    await db.verify()
    expect(await db.get(`${SECRET}-last`)).toBe(SECRET)
    await db.close()
    expect([...filesIn(env.fs).values()].some((file) => file.includes(SECRET))).toBe(false)
  })
})
