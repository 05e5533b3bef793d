import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { VarveError } from '../../src/errors.js'
import { type RepairReport, repair } from '../../src/index.js'
import { makeVictim, type Victim } from '../damage/stores.js'
import { codeOf, contents, dump, openMemory, STORE } from '../store/helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)

function namesOf(fs: MemoryFileSystem, pattern: RegExp): string[] {
  return fs.list(STORE).filter((name) => pattern.test(name))
}

function change(fs: MemoryFileSystem, path: string, edit: (bytes: Buffer) => Uint8Array): void {
  const bytes = Buffer.from(fs.readFile(path))
  fs.writeFile(path, edit(bytes))
}

function flip(fs: MemoryFileSystem, path: string, at: number): void {
  change(fs, path, (bytes) => {
    bytes[at]! ^= 1
    return bytes
  })
}

/** What the store holds and reads well in every way; or why it does not. */
async function read(fs: MemoryFileSystem, victim: Victim): Promise<Record<string, string> | VarveError> {
  try {
    const { db } = await openMemory(victim.options, memoryEnv({ fs }))
    try {
      const found = await dump(db)
      await db.verify()
      return found
    } finally {
      await db.close()
    }
  } catch (error) {
    if (error instanceof VarveError) return error
    throw error
  }
}

async function repaired(
  fs: MemoryFileSystem,
  victim: Victim,
): Promise<{ report: RepairReport; found: Record<string, string> }> {
  const report = await repair(STORE, { env: memoryEnv({ fs }) })
  const found = await read(fs.clone(), victim)
  if (found instanceof VarveError) throw found
  expect((await repair(STORE, { env: memoryEnv({ fs }) })).isSound).toBe(true)
  return { report, found }
}

describe('repair', () => {
  it.each(['closed', 'crashed', 'checkpoint'] as const)('leaves a whole store alone: %s', async (end) => {
    const { fs } = await makeVictim(end)
    const before = contents(fs)
    const report = await repair(STORE, { env: memoryEnv({ fs }) })
    expect(report).toMatchObject({ isSound: true, damaged: [], lost: [], copies: undefined })
    expect(contents(fs)).toEqual({ LOCK: '', ...before })
  })

  it('gives up one damaged block of a segment, names its keys, and keeps all others', async () => {
    const victim = await makeVictim('closed')
    const { fs } = victim
    const path = `${STORE}/${namesOf(fs, /\.seg$/)[1]}`
    const before = Buffer.from(fs.readFile(path))
    flip(fs, path, 10)
    const damagedBytes = Buffer.from(fs.readFile(path))
    const { report, found } = await repaired(fs, victim)
    expect(report.damaged.map(({ file }) => file)).toEqual([path])
    const [loss, ...others] = report.lost
    expect(others).toEqual([])
    expect(loss).toMatchObject({ file: path, kind: 'block' })
    const wanted = JSON.parse(victim.wanted) as Record<string, string>
    const missing = Object.keys(wanted).filter((key) => found[key] !== wanted[key])
    expect(missing.length).toBeGreaterThan(0)
    expect(missing.every((key) => key <= Buffer.from(loss!.upTo!).toString())).toBe(true)
    expect(Buffer.from(fs.readFile(`${report.copies}/${path.split('/').at(-1)}`)).equals(damagedBytes)).toBe(
      true,
    )
    expect(damagedBytes.equals(before)).toBe(false)
  })

  it.each([
    ['its manifest', /^MANIFEST/],
    ['CURRENT', /^CURRENT$/],
  ])('makes a store without %s out of its segments and logs', async (_, pattern) => {
    for (const end of ['closed', 'crashed'] as const) {
      const victim = await makeVictim(end)
      for (const name of namesOf(victim.fs, pattern)) victim.fs.remove(`${STORE}/${name}`)
      const { report, found } = await repaired(victim.fs, victim)
      expect(JSON.stringify(found)).toBe(victim.wanted)
      expect(report.lost.map(({ kind }) => kind)).toEqual(['manifest'])
    }
  })

  it('reads the log past a damaged frame, and names the positions of that one', async () => {
    const victim = await makeVictim('crashed')
    const { fs } = victim
    const path = `${STORE}/${namesOf(fs, /\.log$/).at(-1)}`
    flip(fs, path, 150)
    expect(await read(fs.clone(), victim)).toMatchObject({ code: 'VARVE_CORRUPTION' })
    const { report, found } = await repaired(fs, victim)
    expect(report.lost.filter(({ kind }) => kind === 'log')).toHaveLength(1)
    const [loss] = report.lost.filter(({ kind }) => kind === 'log')
    expect(loss!.positionMax).toBe(loss!.positionMin)
    expect(found['log 2']).toBe('y'.repeat(15))
    expect(found['in the log']).toBeUndefined()
    const { db } = await openMemory(victim.options, memoryEnv({ fs }))
    expect(db.position).toBe(report.position)
    expect(await db.put('new', 'value')).toBe(report.position + 1)
    await db.close()
  })

  it('finds the blocks of a segment without footer and index by their checksums', async () => {
    const victim = await makeVictim('closed')
    const { fs } = victim
    for (const name of namesOf(fs, /\.seg$/))
      change(fs, `${STORE}/${name}`, (bytes) => bytes.subarray(0, -80))
    const { report, found } = await repaired(fs, victim)
    const wanted = JSON.parse(victim.wanted) as Record<string, string>
    for (const [key, value] of Object.entries(wanted)) expect(found[key]).toBe(value)
    expect(report.lost.map(({ kind }) => kind)).toContain('tombstones')
  })

  it('keeps the states of consumers that the log holds past the damage', async () => {
    const victim = await makeVictim('crashed')
    const { fs } = victim
    const { db } = await openMemory(victim.options, memoryEnv({ fs }))
    const consumer = await db.consumer('reader', { from: 'now' })
    await db.put('for the reader', '1')
    for await (const { position } of consumer.read()) await consumer.ack(position)
    await consumer.close()
    const crashed = fs.clone()
    await db.close()
    for (const name of namesOf(crashed, /^MANIFEST/)) crashed.remove(`${STORE}/${name}`)
    await repaired(crashed, victim)
    const again = (await openMemory(victim.options, memoryEnv({ fs: crashed }))).db
    expect((await again.consumer('reader')).position).toBeGreaterThan(0)
    await again.close()
  })

  it('refuses what is no store, and one that is open', async () => {
    const env = memoryEnv()
    expect(await codeOf(() => repair('/nowhere', { env }))).toBe('VARVE_INVALID_ARGUMENT')
    env.fs.makeDirectory('/empty')
    expect(await codeOf(() => repair('/empty', { env }))).toBe('VARVE_INVALID_ARGUMENT')
    const { db } = await openMemory({ workers: 0 }, env)
    expect(await codeOf(() => repair(STORE, { env }))).toBe('VARVE_LOCKED')
    await db.close()
  })

  it('reports progress up to the whole', async () => {
    const { fs } = await makeVictim('closed')
    const seen: number[][] = []
    await repair(STORE, { env: memoryEnv({ fs }), onProgress: (done, total) => seen.push([done, total]) })
    expect(seen.length).toBeGreaterThan(1)
    expect(seen.every(([done, total]) => done! <= total!)).toBe(true)
  })
})

it(`whatever is damaged, what a repair leaves opens, verifies, and holds only what was written (seed ${SEED})`, async () => {
  const random = new SeededRandom(SEED)
  const victims = [await makeVictim('closed'), await makeVictim('crashed'), await makeVictim('checkpoint')]
  let repairs = 0
  for (let round = 0; round < 250; round++) {
    const victim = victims[round % victims.length]!
    const fs = victim.fs.clone()
    for (let left = 1 + random.below(3); left > 0; left--) damageOne(fs, random)
    const before = contents(fs)
    const outcome = await read(fs.clone(), victim)
    const { report, found } = await repaired(fs, victim)
    if (report.isSound) {
      expect(outcome).not.toBeInstanceOf(VarveError)
      continue
    }
    repairs++
    // Values name their keys: none has got under another key, and no made-up one is there.
    for (const [key, value] of Object.entries(found))
      expect(isOwnValue(key, value), `${key}: ${value}`).toBe(true)
    // Every file that is gone is in the copies.
    for (const [name, bytes] of Object.entries(before)) {
      if (name === 'LOCK' || fs.stat(`${STORE}/${name}`)) continue
      expect(Buffer.from(fs.readFile(`${report.copies}/${name}`)).toString('hex')).toBe(bytes)
    }
  }
  expect(repairs).toBeGreaterThan(100)
}, 120_000)

function damageOne(fs: MemoryFileSystem, random: SeededRandom): void {
  const names = namesOf(fs, /\.(log|seg|blob)$|^MANIFEST|^CURRENT/)
  const path = `${STORE}/${names[random.below(names.length)]}`
  const kind = random.below(4)
  if (kind === 0) {
    fs.remove(path)
    return
  }
  change(fs, path, (bytes) => {
    const at = random.below(bytes.length + 1)
    if (kind === 1) return bytes.subarray(0, at)
    if (kind === 2) return bytes.fill(0, at, Math.min(bytes.length, at + 64))
    if (at < bytes.length) bytes[at]! ^= 1 << random.below(8)
    return bytes
  })
}

function isOwnValue(key: string, value: string): boolean {
  const number = Number(key)
  if (key === 'for the reader') return value === '1'
  if (key === 'before') return value === 'everything'
  if (key === 'in the log') return value === 'x'.repeat(30)
  if (key.startsWith('log ')) return value === 'y'.repeat(15)
  return value === `value ${number} `.repeat(number % 5 === 0 ? 5 : 3) || value === `second ${number / 2}`
}
