import { spawnSync } from 'node:child_process'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { EntryStream } from 'level-read-stream'
import { ManyLevelGuest, ManyLevelHost } from 'many-level'
import { SearchIndex } from 'search-index'
import { afterEach, describe, expect, it } from 'vitest'
import { VarveLevel } from '../../src/adapter/level/varve-level.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { ManualClock } from '../store/manual-clock.js'
import { withCallbacks } from './callbacks.js'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const db of opened.splice(0).reverse()) await db.close()
})

async function openLevel<V = string>(
  options = {},
  location = temporaryDirectory(),
): Promise<VarveLevel<string, V>> {
  const db = new VarveLevel<string, V>(location, options)
  opened.push(db)
  await db.open()
  return db
}

describe('the compliance suite of abstract-level', () => {
  it('passes whole', { timeout: 180_000 }, () => {
    const run = spawnSync(process.execPath, ['test/adapter/level-suite.js'], {
      encoding: 'utf8',
      maxBuffer: 64 * 2 ** 20,
    })
    const failures = run.stdout.split('\n').filter((line) => line.startsWith('not ok'))
    const passed = Number(/^# pass +(\d+)$/m.exec(run.stdout)?.[1])
    console.log(`abstract-level: ${passed} assertions passed, ${failures.length} failed`)
    expect(failures).toEqual([])
    expect(run.status).toBe(0)
    expect(passed).toBeGreaterThan(5000)
  })
})

describe('VarveLevel', () => {
  it('says truly what it can do', async () => {
    const { supports } = await openLevel()
    expect(supports).toMatchObject({
      ...{
        permanence: true,
        seek: true,
        has: true,
        getSync: true,
        createIfMissing: true,
        errorIfExists: true,
      },
      ...{ implicitSnapshots: true, explicitSnapshots: true, deferredOpen: true },
      signals: { iterators: true },
      encodings: { utf8: true, buffer: true, view: true },
    })
  })

  it('gives the store underneath, whose log holds what was written through the interface', async () => {
    const db = await openLevel()
    await db.put('a', '1')
    await db.batch([
      { type: 'put', key: 'b', value: '2' },
      { type: 'del', key: 'a' },
    ])
    expect(db.store.position).toBe(2)
    const changes = []
    for await (const { position, ops } of db.store.changes()) changes.push({ position, ops })
    expect(changes).toEqual([
      { position: 1, ops: [{ type: 'put', key: 'a', value: '1' }] },
      {
        position: 2,
        ops: [
          { type: 'put', key: 'b', value: '2' },
          { type: 'del', key: 'a' },
        ],
      },
    ])
  })

  it('takes sync and durability as the promise of one write', async () => {
    const db = await openLevel()
    await db.put('a', '1', { sync: true })
    expect(db.store.durablePosition).toBe(1)
    await db.batch([{ type: 'put', key: 'b', value: '2' }], { durability: 'disk' })
    expect(db.store.durablePosition).toBe(2)
    await db.del('a', { sync: true })
    expect(db.store.durablePosition).toBe(3)
  })

  it('takes what expires by put, by batch and by hook, as level-ttl documents it', async () => {
    const clock = new ManualClock()
    const db = await openLevel({ env: clock.env() }, '/ttl')
    const untilMs = async (key: string) => ((await db.store.getEntry(key))?.expiresAt ?? 0) - clock.nowMs
    await db.put('put', '1', { ttlMs: 60_000 })
    await db.put('by its old name', '1', { ttl: 30_000 })
    await db.put('at a time', '1', { expiresAt: clock.nowMs + 5000, sync: true })
    await db.batch(
      [
        { type: 'put', key: 'batch', value: '1' },
        { type: 'put', key: 'its own', value: '1', ttlMs: 20_000 },
        { type: 'del', key: 'none' },
      ],
      { ttlMs: 40_000 },
    )
    const sub = db.sublevel('sub')
    await sub.put('a', '1', { ttlMs: 10_000 } as never)
    await db
      .batch()
      .put('chained', '1', { ttlMs: 15_000 } as never)
      .write()
    expect(await Promise.all(['put', 'by its old name', 'at a time', 'batch'].map(untilMs))).toEqual([
      ...[60_000, 30_000, 5000, 40_000],
    ])
    expect(await Promise.all(['its own', '!sub!a', 'chained'].map(untilMs))).toEqual([20_000, 10_000, 15_000])
    expect((await db.store.getEntry('none')) ?? 'none').toBe('none')

    // The default of level-ttl is a hook.
    db.hooks.prewrite.add((op: { type: string; ttlMs?: number }) => {
      if (op.type === 'put') op.ttlMs ??= 90_000
    })
    await db.put('default', '1')
    await db.put('put', 'refreshed', { ttlMs: 70_000 })
    expect(await Promise.all(['default', 'put'].map(untilMs))).toEqual([90_000, 70_000])
    await expect(db.put('bad', '1', { ttlMs: -1 })).rejects.toMatchObject({ code: 'VARVE_INVALID_ARGUMENT' })
  })

  it('loses what has expired, with a change in the log', async () => {
    const db = await openLevel()
    await db.put('session', '1', { ttlMs: 20 })
    await db.put('stays', '1', { ttlMs: 20 })
    await db.put('stays', '2')
    while ((await db.get('session')) !== undefined) await new Promise((resolve) => setTimeout(resolve, 10))
    const changes = []
    for await (const { ops } of db.store.changes({ after: 3 })) changes.push(...ops)
    expect(changes).toContainEqual({ type: 'del', key: 'session' })
    expect(await db.get('stays')).toBe('2')
  })

  it('takes text and bytes in one batch, and one encoding reads what the other wrote', async () => {
    const db = await openLevel()
    await db.batch([
      { type: 'put', key: 'text', value: 'ä' },
      {
        type: 'put',
        key: Buffer.from('bytes'),
        value: Buffer.from([0xff]),
        keyEncoding: 'buffer',
        valueEncoding: 'buffer',
      },
    ] as never)
    expect(await db.get('text', { valueEncoding: 'buffer' })).toEqual(Buffer.from('ä'))
    expect(await db.get('bytes', { valueEncoding: 'view' })).toEqual(Buffer.from([0xff]))
    expect(await db.hasMany(['text', 'none', 'bytes'])).toEqual([true, false, true])
  })

  it('names a locked directory as classic-level does, with the store own error as its cause', async () => {
    const { location } = await openLevel()
    const second = new VarveLevel(location)
    const error = await second.open().catch((caught: unknown) => caught)
    expect(error).toMatchObject({
      code: 'LEVEL_DATABASE_NOT_OPEN',
      cause: { code: 'LEVEL_LOCKED', cause: { code: 'VARVE_LOCKED', pid: process.pid } },
    })
  })

  it('passes over the tuning of LevelDB and takes its compression flag', async () => {
    const db = await openLevel({ cacheSize: 8 << 20, writeBufferSize: 4 << 20, compression: false })
    await db.put('a', '1')
    expect(await db.get('a')).toBe('1')
  })

  it('removes with destroy what is a store and nothing else', async () => {
    const location = temporaryDirectory()
    const db = await openLevel({}, location)
    await db.put('a', '1')
    await expect(VarveLevel.destroy(location)).rejects.toMatchObject({ code: 'VARVE_LOCKED' })
    await db.close()
    await VarveLevel.destroy(location)
    const again = await openLevel({ errorIfExists: true }, location)
    expect(await again.get('a')).toBeUndefined()
  })

  it('estimates and compacts a range', async () => {
    const db = await openLevel()
    await db.batch(
      Array.from({ length: 5000 }, (_, i) => ({ type: 'put', key: `k${i}`, value: 'v'.repeat(100) })),
    )
    await db.compactRange('k', 'l')
    expect(await db.approximateSize('k', 'l')).toBeGreaterThan(1000)
    expect(await db.approximateSize('x', 'y')).toBe(0)
  })
})

describe('what others build on abstract-level', () => {
  it('level-read-stream streams a store', async () => {
    const db = await openLevel()
    await db.batch(['a', 'b', 'c'].map((key) => ({ type: 'put', key, value: key.toUpperCase() })))
    const entries: unknown[] = []
    await pipeline(new EntryStream(db as never, { gte: 'b' }), async (source) => {
      for await (const entry of source) entries.push(entry)
    })
    expect(entries).toEqual([
      { key: 'b', value: 'B' },
      { key: 'c', value: 'C' },
    ])
  })

  it('search-index keeps and searches its documents in a store', async () => {
    class KeptLevel extends VarveLevel {
      constructor(...args: ConstructorParameters<typeof VarveLevel>) {
        super(...args)
        opened.push(this)
      }
    }
    const index = new SearchIndex({ name: temporaryDirectory(), Level: KeptLevel })
    await new Promise<void>((resolve) => index.EVENTS.on('ready', resolve))
    await index.PUT([
      { _id: 1, body: 'the log is the truth', city: 'Oslo' },
      { _id: 2, body: 'a tree is derived from the log', city: 'Bergen' },
      { _id: 3, body: 'nothing of the kind', city: 'Oslo' },
    ])
    const found = async (query: readonly string[]) => (await index.SEARCH(query)).RESULT.map(({ _id }) => _id)
    expect(await found(['log'])).toEqual([2, 1])
    expect(await found(['log', 'city:oslo'])).toEqual([1])
    await index.DELETE(2)
    expect(await found(['log'])).toEqual([1])
    expect(await index.DOCUMENT_COUNT()).toBe(2)
  })

  it('many-level shares a store over a socket', async () => {
    const db = await openLevel()
    // many-level 2, its last release, calls its host as abstract-level 1 was called: so it hangs over classic-level 3 too.
    const host = new ManyLevelHost(withCallbacks(db) as never)
    const server = createServer((socket) => {
      void pipeline(socket, host.createRpcStream(), socket).catch(() => {})
    })
    const socket = await connected(server)
    const guest = new ManyLevelGuest<string, string>()
    opened.push(guest)
    void pipeline(socket, guest.createRpcStream(), socket).catch(() => {})
    try {
      await guest.batch([
        { type: 'put', key: 'a', value: '1' },
        { type: 'put', key: 'b', value: '2' },
      ])
      await guest.del('a')
      expect(await guest.get('b')).toBe('2')
      expect(await db.get('b')).toBe('2')
      expect(await guest.iterator().all()).toEqual([['b', '2']])
    } finally {
      socket.destroy()
      server.close()
    }
  })
})

async function connected(server: Server): Promise<Socket> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return connect(port, '127.0.0.1')
}
