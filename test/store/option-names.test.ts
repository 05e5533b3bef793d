import { afterEach, describe, expect, it } from 'vitest'
import { restore } from '../../src/backup/restore.js'
import { compare } from '../../src/compare.js'
import { type Database, open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { repair } from '../../src/repair/repair.js'
import { openFollower, serveLog } from '../../src/replication.js'
import { nearestName } from '../../src/util/option-names.js'
import { aggregate } from '../../src/view/aggregate.js'
import { fullText } from '../../src/view/full-text.js'
import { secondaryIndex } from '../../src/view/secondary-index.js'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const db of opened.splice(0).reverse()) await db.close()
})

async function openStore(): Promise<Database> {
  const db = await open('/db', { env: memoryEnv() })
  opened.push(db)
  return db
}

/** What a call refuses, whether it throws or gives a promise. */
async function refusal(call: () => unknown): Promise<{ code?: string; message?: string }> {
  try {
    await call()
  } catch (error) {
    return error as { code?: string; message?: string }
  }
  return {}
}

describe('the name of an option that is not known', () => {
  it('is an error of every call that takes options, and names the nearest one', async () => {
    const db = await openStore()
    const view = await db.view('copy', { version: 1, apply() {} })
    const byValue = await db.view('by-value', secondaryIndex({ version: 1, key: (_, value) => value }))
    const sums = await db.view('sums', aggregate({ version: 1, kinds: ['count'] }))
    const consumer = await db.consumer('reader')
    const x = (options: object) => options as never
    const calls: readonly (readonly [meant: string, call: () => unknown])[] = [
      ['valueEncoding', () => open('/other', x({ env: memoryEnv(), valueEncodng: 'json' }))],
      ['maxBytes', () => open('/other', { env: memoryEnv(), log: x({ maxByte: 1 }) })],
      ['durability', () => db.put('a', '1', x({ durabilty: 'disk' }))],
      ['ifPosition', () => db.del('a', x({ ifposition: 1 }))],
      ['check', () => db.batch([], x({ checks: [] }))],
      ['snapshot', () => db.get('a', x({ snaphsot: undefined }))],
      ['snapshot', () => db.getSync('a', x({ snapshots: 1 }))],
      ['atLeast', () => db.getMany(['a'], x({ atleast: 1 }))],
      ['timeoutMs', () => db.getEntry('a', x({ timeout: 1 }))],
      ['atLeast', () => db.has('a', x({ atLest: 1 }))],
      ['prefix', () => db.entries(x({ prefx: 'a' }))],
      ['reverse', () => db.keysSync(x({ revers: true }))],
      ['limit', () => db.values(x({ limt: 1 }))],
      ['lte', () => db.clear(x({ lt: 'a', lten: 'a' }))],
      ['gte', () => db.compact(x({ gtee: 'a' }))],
      ['after', () => db.changes(x({ afterr: 1 }))],
      ['resume', () => db.bootstrap(x({ resum: '' }))],
      ['from', () => db.consumer('other', x({ form: 'now' }))],
      ['onError', () => consumer.run(() => {}, x({ onEror: 'park' }))],
      ['attempts', () => consumer.run(() => {}, { onError: { retry: x({ attempt: 1 }) } })],
      ['live', () => consumer.read(x({ life: true }))],
      ['retries', () => db.transaction(() => {}, x({ retrys: 1 }))],
      ['signal', () => db.begin(x({ signl: 1 }))],
      ['onProgress', () => db.verify(x({ onprogress() {} }))],
      ['ranges', () => db.digest(x({ range: [] }))],
      ['timeoutMs', () => compare(db, db, x({ timeoutms: 1 }))],
      ['keyEncoding', () => db.withEncodings(x({ keyEncodings: 'json' }))],
      ['keepPrevious', () => db.view('v', x({ version: 1, apply() {}, keepPrevius: true }))],
      ['atLeast', () => view.get('a', x({ atleast: 1 }))],
      ['limit', () => view.entries(x({ limits: 1 }))],
      ['timeoutMs', () => view.reach(1, x({ timeoutM: 1 }))],
      ['version', () => secondaryIndex(x({ verson: 1, key() {} }))],
      ['limit', () => byValue.find('1', x({ limitt: 1 }))],
      ['reverse', () => byValue.range(x({ reversed: true })).next()],
      ['kinds', () => aggregate(x({ version: 1, kind: ['count'] }))],
      ['atLeast', () => sums.totals('', x({ atleast: 1 }))],
      ['fields', () => fullText(x({ version: 1, field: ['a'] }))],
      ['onProgress', () => repair('/db', x({ onProgres() {} }))],
      ['checkpoint', () => restore('/to', x({ log: '/db', checkpont: '/c' }))],
      ['heartbeatMs', () => serveLog(db, x({ hearbeatMs: 1 }))],
      ['onDiverged', () => openFollower('/f', x({ leader: 'http://127.0.0.1:1', ondiverge: 'fail' }))],
    ]
    for (const [meant, call] of calls) {
      const { code, message } = await refusal(call)
      expect(`${code}: ${message}`, meant).toMatch(
        /^VARVE_INVALID_ARGUMENT: .* has no option \w+: did you mean \w+\?$/,
      )
      expect(message).toContain(`did you mean ${meant}?`)
    }
    expect(db.position).toBe(1)
  })

  it('that resembles none is answered by what there is', async () => {
    const db = await openStore()
    await expect(db.put('a', '1', { wait: true } as never)).rejects.toMatchObject({
      code: 'VARVE_INVALID_ARGUMENT',
      message: 'a write has no option wait: it takes durability, ifPosition, ttlMs, expiresAt',
    })
  })

  it.each([
    ["durability: 'disk'", (db: Database) => db.put('a', '1', { sync: true } as never)],
    ['ttlMs', (db: Database) => db.put('a', '1', { expireIn: 1000 } as never)],
    ['ifPosition', (db: Database) => db.put('a', '1', { ifVersion: 1 } as never)],
    ['position', (db: Database) => db.batch([], { check: [{ key: 'a', versionstamp: null }] } as never)],
    ['gte', (db: Database) => db.entries({ start: 'a' } as never).all()],
    ['lt', (db: Database) => db.entries({ end: 'a' } as never).all()],
    ['after', (db: Database) => db.changes({ since: 1 } as never).next()],
    ["from: 'start'", (db: Database) => db.consumer('a', { fromBeginning: true } as never)],
    ['memory', () => open('/x', { cacheSize: 8 << 20 } as never)],
  ])('that another store has is answered by what it is called here: %s', async (name, call) => {
    const db = await openStore()
    const { code, message } = await refusal(() => call(db))
    expect(code).toBe('VARVE_INVALID_ARGUMENT')
    expect(message).toContain(`did you mean ${name}?`)
  })

  it('is near when letters are left out, added, changed or swapped, and in the wrong case', () => {
    const known = ['live', 'prefix', 'durability']
    expect(
      ['lvie', 'LIVE', 'prefixes', 'durabilty', 'duribility'].map((name) => nearestName(name, known)),
    ).toEqual(['live', 'live', 'prefix', 'durability', 'durability'])
    expect(['x', 'sync', 'encoding', ''].map((name) => nearestName(name, known))).toEqual(
      Array(4).fill(undefined),
    )
  })
})

describe('a store opened with other encodings than it was made with', () => {
  const bytes = { name: 'bytes', encode: (value: Uint8Array) => value, decode: (value: Uint8Array) => value }

  it.each([
    [{ valueEncoding: 'json' }, {}, "valueEncoding 'json', not 'utf8'"],
    [{ keyEncoding: 'tuple' }, { keyEncoding: 'json' }, "keyEncoding 'tuple', not 'json'"],
    [{ valueEncoding: 'buffer' }, {}, "valueEncoding 'buffer', not 'utf8'"],
    [{ valueEncoding: 'view' }, { valueEncoding: 'json' }, "valueEncoding 'buffer', not 'json'"],
    [{ valueEncoding: bytes }, { valueEncoding: { ...bytes, name: 'other' } }, "'bytes', not 'other'"],
  ])('%j then %j is refused, naming both', async (made, asked, message) => {
    const env = memoryEnv()
    await (await open('/db', { env, ...made } as never)).close()
    for (const readOnly of [false, true]) {
      const again = open('/db', { env, readOnly, ...asked } as never)
      await expect(again).rejects.toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
        message: expect.stringContaining(message) as string,
      })
    }
    await (await open('/db', { env, ...made } as never)).close()
  })

  it('opens as bytes, and can be read in other ways by whoever knows', async () => {
    const env = memoryEnv()
    const made = await open<string, unknown>('/db', { env, valueEncoding: 'json' })
    await made.put('a', { b: 1 })
    await made.close()
    const raw = await open<Buffer, Buffer>('/db', { env, keyEncoding: 'view', valueEncoding: 'buffer' })
    opened.push(raw)
    expect(await raw.get(Buffer.from('a'))).toEqual(Buffer.from('{"b":1}'))
    expect(await raw.withEncodings({}).get('a')).toBe('{"b":1}')
    await raw.close()
    const unchecked = await open('/db', { env, checkEncodings: false })
    opened.push(unchecked)
    expect(await unchecked.get('a')).toBe('{"b":1}')
  })

  it('is refused after a crash, from a checkpoint and after a repair too; one made unchecked never', async () => {
    const env = memoryEnv()
    const made = await open<string, unknown>('/db', { env, valueEncoding: 'json', durability: 'disk' })
    await made.put('a', 1)
    const crashed = { ...env, fs: env.fs.crash('strict') }
    await made.checkpoint('/copy')
    await made.close()
    const refused = { code: 'VARVE_INVALID_ARGUMENT' }
    await expect(open('/db', { env: crashed })).rejects.toMatchObject(refused)
    await expect(open('/copy', { env })).rejects.toMatchObject(refused)
    await repair('/db', { env })
    await expect(open('/db', { env })).rejects.toMatchObject(refused)
    await (await open('/any', { env, valueEncoding: 'json', checkEncodings: false })).close()
    await (await open('/any', { env })).close()
  })
})

describe('what a newcomer does first is answered by what to do', () => {
  it.each([
    [
      (db: Database) => db.put('a', { b: 1 } as never),
      "not object: open the store with valueEncoding 'json'",
    ],
    [(db: Database) => db.put('a', Buffer.from('b') as never), "open the store with valueEncoding 'buffer'"],
    [(db: Database) => db.put(['a', 1] as never, 'b'), "open the store with keyEncoding 'tuple'"],
    [() => open('/x', { valueEncoding: 'jsn' } as never), 'no value encoding jsn: did you mean json?'],
    [() => open('/x', { keyEncoding: 'msgpack' } as never), 'there is utf8, buffer, view, json, tuple'],
    [() => open('/x', { durability: 'sync' } as never), 'or { intervalMs } above 0, not "sync"'],
    [() => open('/x', { memory: '256MB' } as never), 'memory, in bytes, is a whole number from 65536'],
    [(db: Database) => db.put(1 as never, 'b'), "keyEncoding 'tuple', where [1] and [10]"],
    [(db: Database) => db.put('a', Buffer.from('b') as never), 'a string, not bytes'],
    [
      (db: Database) => db.put('a', 'b', (() => {}) as never),
      'options of a write are an object, not function',
    ],
    [(db: Database) => db.getMany(['a'], 'b' as never), 'options of a read are an object, not string'],
    [
      (db: Database) => db.consumer('a', { from: 'latest' as never }),
      "'start', 'now' or a position, not latest",
    ],
    [
      (db: Database) => db.on('flush' as never, () => {}),
      'no event flush: there is flush.began, flush.ended',
    ],
    [(db: Database) => db.once('flush.end' as never), 'no event flush.end: did you mean flush.ended?'],
    [(db: Database) => db.on('flush.ended', undefined as never), 'what listens to flush.ended is a function'],
    [() => openTuples((db) => db.put('a' as never, 1)), 'an array, not string: [key] is one of one part'],
    [
      () => openTuples((db) => db.put([new Date()] as never, 1)),
      'bigints, booleans, null and bytes, not object',
    ],
    [() => openTuples((db) => db.put([Number.NaN], 1)), 'not NaN'],
    [
      () => openTuples((db) => db.put(['a'], 1n as never)),
      'JSON can hold: Do not know how to serialize a BigInt',
    ],
  ])('%#: %s', async (call, message) => {
    const db = await openStore()
    const error = await refusal(() => call(db))
    expect(error).toMatchObject({ code: 'VARVE_INVALID_ARGUMENT', message: expect.stringContaining(message) })
    expect(Object.keys(error)).not.toContain('file')
  })

  it('a view whose definition is still being loaded is waited for', async () => {
    const db = await open<string, { text: string }>('/db', { env: memoryEnv(), valueEncoding: 'json' })
    opened.push(db)
    const view = await db.view('text', fullText({ version: 1, fields: ['text'] }))
    const position = await db.put('a', { text: 'the log is the truth' })
    expect((await view.search('truth', { atLeast: position })).map(({ key }) => key)).toEqual(['a'])
    expect(await refusal(() => db.view('bad', fullText({ version: 1, fields: [] })))).toMatchObject({
      ...{ code: 'VARVE_INVALID_ARGUMENT', message: expect.stringContaining('fields are a list') },
    })
  })

  it('a conflict says which of several checks it is', async () => {
    const db = await openStore()
    await db.put('a', '1')
    const check = [
      { key: 'a', position: 1 },
      { key: 'b', position: 1 },
    ]
    await expect(db.batch([], { check })).rejects.toMatchObject({
      ...{ code: 'VARVE_CONFLICT', message: 'the key of check 1 is at position none, not 1' },
    })
  })

  it('a value that is not what the encoding says is an error with a code', async () => {
    const db = await openStore()
    await db.put('a', 'no JSON')
    const json = db.withEncodings({ valueEncoding: 'json' })
    for (const read of [() => json.get('a'), async () => json.getSync('a'), () => json.entries().all()])
      await expect(read()).rejects.toMatchObject({
        code: 'VARVE_INVALID_ARGUMENT',
        message:
          "a value that was read is not JSON: it was written through another encoding, and 'buffer' shows it",
      })
  })

  it('a store that is open already is refused with what to do', async () => {
    const env = memoryEnv()
    opened.push(await open('/db', { env }))
    await expect(open('/db', { env })).rejects.toMatchObject({
      ...{ code: 'VARVE_LOCKED', file: '/db/LOCK', pid: process.pid },
      message: expect.stringMatching(
        /this process .*: a store is open for writing once .* readOnly reads beside it/,
      ),
    })
  })
})

/** What a call on a store with tuples for keys and JSON for values refuses. */
async function openTuples(call: (db: Database<unknown[], unknown>) => Promise<unknown>): Promise<unknown> {
  const db = await open<unknown[], unknown>('/db', {
    ...{ env: memoryEnv(), keyEncoding: 'tuple', valueEncoding: 'json' },
  })
  opened.push(db)
  return call(db)
}
