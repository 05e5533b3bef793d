import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { open } from '../../src/index.js'

interface Golden {
  readonly position: number
  readonly entries: readonly [string, string][]
  /** When entries expire, by key. */
  readonly times?: Readonly<Record<string, number>>
  /** Of an encrypted store, in hexadecimal. */
  readonly key?: string
}

const GOLDEN = 'fixtures/golden'
const versions = readdirSync(GOLDEN).filter((name) => /^v\d+$/.test(name))
const stores = versions.flatMap((version) => [
  [version, 'closed'],
  [version, 'crashed'],
])

const made: string[] = []
afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true })
})

function copyOf(version: string, kind: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'varve-golden-'))
  made.push(directory)
  cpSync(join(GOLDEN, version, kind), directory, { recursive: true })
  return directory
}

function expectedOf(version: string): Golden {
  return JSON.parse(readFileSync(join(GOLDEN, `${version}.json`), 'utf8')) as Golden
}

describe('a store that an earlier version wrote', () => {
  it('is there for every format version', () => {
    expect(versions).toEqual(['v1'])
  })

  it.each(stores)('opens, holds what it held, verifies, and takes writes (%s, %s)', async (version, kind) => {
    const { position, entries } = expectedOf(version!)
    const directory = copyOf(version!, kind!)
    let db = await open(directory)
    expect(db.position).toBe(position)
    expect(await db.entries().all()).toEqual(entries)
    expect(await db.entries({ reverse: true }).all()).toEqual(entries.toReversed())
    for (const [key, value] of entries) expect(db.getSync(key)).toBe(value)
    await db.verify()
    expect(await db.put('new', '1')).toBe(position + 1)
    await db.compact()
    await db.close()
    db = await open(directory)
    expect(await db.entries().all()).toEqual([...entries, ['new', '1']].sort(byBytes))
    await db.close()
  })

  it.each(stores)('opens to be read only, and no byte of it changes (%s, %s)', async (version, kind) => {
    const { position, entries } = expectedOf(version!)
    const directory = copyOf(version!, kind!)
    const before = contentsOf(directory)
    const db = await open(directory, { readOnly: true })
    expect(db.position).toBe(position)
    expect(await db.entries().all()).toEqual(entries)
    await db.close()
    expect(contentsOf(directory)).toEqual(before)
  })
})

describe('a store with entries that expire, of an earlier version', () => {
  it.each(versions)('opens with their times, and deletes what has become due since (%s)', async (version) => {
    const { position, entries, times = {} } = expectedOf(`${version}-expiring`)
    const directory = copyOf(version, 'expiring')
    const looking = await open(directory, { readOnly: true })
    expect(looking.position).toBe(position)
    expect(await looking.entries().all()).toEqual(entries)
    for (const [key] of entries) expect((await looking.getEntry(key))?.expiresAt, key).toBe(times[key])
    await looking.verify()
    await looking.close()
    const db = await open(directory)
    for await (const { ops } of db.changes({ after: position, live: true }))
      if (ops.some(({ type }) => type === 'del')) break
    expect(await db.entries().all()).toEqual(entries.filter(([key]) => key !== 'due'))
    await db.compact()
    expect((await db.getEntry('tail:a'))?.expiresAt).toBe(times['tail:a'])
    await db.close()
  })
})

describe('a store with values apart from their keys, of an earlier version', () => {
  it.each(versions)('opens, holds what it held, and moves them (%s)', async (version) => {
    const { position, entries, times = {} } = expectedOf(`${version}-blobs`)
    const directory = copyOf(version, 'blobs')
    expect(readdirSync(directory).filter((name) => name.endsWith('.blob'))).toHaveLength(2)
    const db = await open(directory)
    expect(db.position).toBe(position)
    expect(await db.entries().all()).toEqual(entries)
    for (const [key, value] of entries)
      expect(await db.getEntry(key)).toMatchObject({ value, ...(times[key] && { expiresAt: times[key] }) })
    await db.verify()
    await db.compact()
    expect(db.stats().blobs.bytes).toBe(db.stats().blobs.liveBytes + db.stats().blobs.files * 22)
    expect(await db.entries().all()).toEqual(entries)
    await db.close()
  })
})

describe('an encrypted store of an earlier version', () => {
  it.each(versions)('opens with its key and no other, and holds what it held (%s)', async (version) => {
    const { position, entries, key } = expectedOf(`${version}-encrypted`)
    const directory = copyOf(version, 'encrypted')
    const encryption = { key: Buffer.from(key!, 'hex') }
    for (const wrong of [{}, { encryption: { key: Buffer.alloc(32) } }])
      await expect(open(directory, wrong)).rejects.toMatchObject({ code: 'VARVE_KEY' })
    const db = await open(directory, { encryption })
    expect(db.position).toBe(position)
    expect(await db.entries().all()).toEqual(entries)
    await db.verify()
    expect(await db.put('new', '1')).toBe(position + 1)
    await db.compact()
    await db.close()
    const again = await open(directory, { encryption })
    expect(await again.entries().all()).toEqual([...entries, ['new', '1']].sort(byBytes))
    await again.close()
  })
})

function byBytes([a]: readonly string[], [b]: readonly string[]): number {
  return Buffer.compare(Buffer.from(a!), Buffer.from(b!))
}

function contentsOf(directory: string): Map<string, string> {
  const names = readdirSync(directory).sort()
  return new Map(names.map((name) => [name, readFileSync(join(directory, name)).toString('latin1')]))
}
