import { afterEach, describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { open } from '../../src/index.js'
import { codeOf, failureOf, pad, TINY, until } from '../store/helpers.js'
import { changesOf, copy, type Db, foldCopy, KEPT, openKept, viewDirectories } from './helpers.js'

const opened: Db[] = []
async function start(...args: Parameters<typeof openKept>) {
  const store = await openKept(...args)
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function load(db: Db, from: number, count: number): Promise<number> {
  let position = 0
  for (let i = from; i < from + count; i++) {
    position = await db.put(pad(i % 97), `v${i}`)
    if (i % 19 === 0) await db.del(pad((i * 7) % 97))
    if (i % 41 === 0) position = await db.clear({ gte: pad(i % 80), lt: pad((i % 80) + 9) })
  }
  return position
}

describe('a view', () => {
  it('is what apply makes of the log, from before and as it goes on', async () => {
    const { db } = await start()
    await load(db, 0, 200)
    const view = await db.view('copy', copy(1))
    const position = await load(db, 200, 100)
    expect(await view.get('version', { atLeast: position })).toBe('1')
    await view.reach()
    expect(view).toMatchObject({ name: 'copy', version: '1', position: db.position, lag: 0, status: 'live' })
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(db), 1))
    expect(await view.getMany(['version', 'nothing'])).toEqual(['1', undefined])
    expect([await view.has('version'), await view.has('nothing')]).toEqual([true, false])
    expect(view.getSync('version', { atLeast: position })).toBe('1')
  })

  it('goes on where it was after the store was opened again', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    await (await db.view('copy', copy(1))).reach()
    await db.close()
    let applied = 0
    const again = await start(KEPT, env)
    await load(again.db, 100, 50)
    const definition = copy(1)
    const view = await again.db.view('copy', {
      ...definition,
      apply: (change, state) => {
        applied++
        return definition.apply(change, state)
      },
    })
    await view.reach()
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(again.db), 1))
    expect(applied).toBeLessThan(80)
  })

  it('is live at once when it is opened again', async () => {
    const { db, env } = await start({ ...TINY })
    await load(db, 0, 100)
    await (await db.view('copy', copy(1))).reach()
    await db.close()
    const { db: again } = await start({ ...TINY }, env)
    const view = await again.view('copy', copy(1))
    expect([view.status, view.getSync('version'), view.position]).toEqual(['live', '1', again.position])
  })

  it('answers with the old version until the new one takes over, then with the new one alone (D48)', async () => {
    const { db, env } = await start()
    await load(db, 0, 300)
    const view = await db.view('copy', copy(1))
    await view.ready
    const seen = new Set<string>()
    const switched: string[] = []
    db.on('view.switched', ({ version }) => switched.push(version))
    await db.view('copy', copy(2))
    for (let i = 0; view.version === '1' && i < 10_000; i++) {
      const found = Object.fromEntries(await view.entries().all())
      seen.add(found['version'] ?? 'missing')
      if (i % 3 === 0) await load(db, i, 1)
    }
    await view.ready
    await view.reach()
    expect([...seen]).toEqual(['1'].concat(seen.has('2') ? ['2'] : []))
    expect([view.version, switched]).toEqual(['2', ['2']])
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(db), 2))
    await until(() => viewDirectories(env).length === 1)
    expect(viewDirectories(env)).toEqual(['copy@2-000002.view'])
  })

  it('lets an iterator from before the switch go on over the old version, which is removed after it', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    const view = await db.view('copy', copy(1))
    await view.ready
    const iterator = view.entries()
    const first = await iterator.next()
    await db.view('copy', copy(2))
    await view.ready
    expect(view.version).toBe('2')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(viewDirectories(env)).toHaveLength(2)
    const rest = await iterator.all()
    expect(Object.fromEntries([first.value, ...rest])['version']).toBe('1')
    await until(() => viewDirectories(env).length === 1)
    expect(viewDirectories(env)).toEqual(['copy@2-000002.view'])
  })

  it('leaves no byte after drop (D47)', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    const before = env.fs.list('/store')
    const view = await db.view('copy', copy(1))
    await view.ready
    await db.view('copy', copy(2, { keepPrevious: true }))
    await view.ready
    expect(viewDirectories(env)).toHaveLength(2)
    await view.drop()
    expect(env.fs.list('/store').filter((name) => !before.includes(name) && !/log|seg/.test(name))).toEqual(
      [],
    )
    expect(await codeOf(() => view.get('version'))).toBe('VARVE_CLOSED')
    const again = await db.view('copy', copy(1))
    await again.reach()
    expect(Object.fromEntries(await again.entries().all())).toEqual(foldCopy(await changesOf(db), 1))
  })

  it('goes back to the version that was kept, at the same position', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    const view = await db.view('copy', copy(1))
    await view.ready
    await db.view('copy', copy(2, { keepPrevious: true }))
    await view.ready
    const position = await load(db, 100, 50)
    await view.reach()
    await view.rollback()
    expect(view.version).toBe('1')
    expect(view.position).toBeGreaterThanOrEqual(position)
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(db), 1))
    await until(() => viewDirectories(env).length === 1)
    expect(await codeOf(() => view.rollback())).toBe('VARVE_INVALID_ARGUMENT')
    await load(db, 150, 10)
    await view.reach()
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(db), 1))
  })

  it('lets the old version answer after a restart while the new one is built, and follow if it is defined', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    await (await db.view('copy', copy(1))).reach()
    const frozenAt = db.position
    await db.close()
    const { db: again } = await start(KEPT, env)
    await load(again, 100, 100)
    let goOn!: () => void
    const gate = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const slow = copy(2)
    const view = await again.view('copy', {
      ...slow,
      apply: async (change, state) => {
        if (change.position > 50) await gate
        await slow.apply(change, state)
      },
    })
    expect([view.version, view.position, view.status]).toEqual(['1', frozenAt, 'building'])
    expect(await view.get('version')).toBe('1')
    expect(await codeOf(() => view.get('version', { atLeast: frozenAt + 1, timeoutMs: 5 }))).toBe(
      'VARVE_TIMEOUT',
    )
    goOn()
    await view.ready
    expect(await view.get('version', { atLeast: again.position })).toBe('2')
  })

  it('stops at a change that apply throws at, alone, names it, and goes on with retry (D36)', async () => {
    const { db } = await start()
    await load(db, 0, 30)
    const other = await db.view('other', copy(1))
    let isBroken = true
    const definition = copy(1)
    const view = await db.view('copy', {
      ...definition,
      apply(change, state) {
        if (isBroken && change.position === 20) throw new Error('poison')
        return definition.apply(change, state)
      },
    })
    const error = await failureOf(() => view.ready)
    expect(error).toMatchObject({ code: 'VARVE_BACKGROUND', position: 20 })
    expect(view).toMatchObject({ status: 'failed', error })
    expect(await codeOf(() => view.get('version'))).toBe('VARVE_BACKGROUND')
    const position = await db.put('x', 'y')
    expect(await other.get('k/x', { atLeast: position })).toBe('y')
    isBroken = false
    await view.retry()
    await view.reach()
    expect(view).toMatchObject({ status: 'live', error: undefined })
    expect(Object.fromEntries(await view.entries().all())).toEqual(foldCopy(await changesOf(db), 1))
  })

  it('does not wait in close for an apply that never returns', async () => {
    const { db } = await start()
    await db.put('a', '1')
    const view = await db.view('stuck', { version: 1, apply: () => new Promise<void>(() => {}) })
    const waiting = codeOf(() => view.get('x'))
    await until(() => false, 10)
    await view.close()
    expect(await waiting).toBe('VARVE_CLOSED')
  })

  it('shows apply its own writes, in reads of keys and of ranges, forwards and backwards', async () => {
    const { db } = await start()
    for (let i = 0; i < 30; i++) await db.put(pad(i), 'old')
    const seen: unknown[] = []
    const view = await db.view('state', {
      version: 1,
      async apply(change, state) {
        if (change.position <= 30) {
          for (const op of change.ops) if (op.type === 'put') state.put(op.key, op.value)
          return
        }
        state.put(pad(3), 'new')
        state.del(pad(4))
        state.clear({ gte: pad(10), lt: pad(20) })
        state.put(pad(15), 'back')
        const forwards: string[] = []
        for await (const [key, value] of state.entries({ gte: pad(2), lt: pad(22) }))
          forwards.push(`${key} ${value}`)
        const backwards = [...state.entriesSync({ lt: pad(16), reverse: true, limit: 2 })]
        seen.push(
          forwards,
          backwards,
          await state.get(pad(4)),
          state.getSync(pad(15)),
          await state.get(pad(11)),
        )
      },
    })
    await view.reach()
    await db.put('go', '')
    await view.reach()
    expect(seen).toEqual([
      [
        ...['00002 old', '00003 new', '00005 old', '00006 old', '00007 old', '00008 old', '00009 old'],
        ...['00015 back', '00020 old', '00021 old'],
      ],
      [
        ['00015', 'back'],
        ['00009', 'old'],
      ],
      ...[undefined, 'back', undefined],
    ])
    expect((await view.keys().all()).length).toBe(20)
  })

  it('gives a stale answer without a token, never with one, or a timeout (D37)', async () => {
    const { db } = await start()
    const view = await db.view('copy', copy(1))
    await view.reach()
    for (let i = 0; i < 50; i++) {
      const position = await db.put('x', String(i))
      expect(await view.get('k/x', { atLeast: position })).toBe(String(i))
      const [entry] = await view.entries({ prefix: 'k/x', atLeast: position }).all()
      expect(entry).toEqual(['k/x', String(i)])
    }
    const beyond = { atLeast: db.position + 1, timeoutMs: 5 }
    expect(await codeOf(() => view.get('k/x', beyond))).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => view.getSync('k/x', beyond))).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => view.keys(beyond).next())).toBe('VARVE_TIMEOUT')
    expect(await codeOf(() => view.reach(db.position + 1, { timeoutMs: 5 }))).toBe('VARVE_TIMEOUT')
  })

  it.each([
    ['an empty name', '', {}],
    ['a long name', 'x'.repeat(49), {}],
    ['half a character', '\ud800', {}],
    ['no version', 'v', { version: undefined }],
    ['a fractional version', 'v', { version: 1.5 }],
    ['a version that is a path', 'v', { version: '../x' }],
    ['no apply', 'v', { apply: undefined }],
    ['an unknown option', 'v', { verison: 2 }],
    ['a start that is none', 'v', { from: 'end' }],
    ['an encoding that is none', 'v', { keyEncoding: 'utf7' }],
    ['views of memory', 'v', { valueEncoding: 'view' }],
    ['too little memory', 'v', { memory: 1 }],
    ['the same version as the one before', 'v', { previous: copy(1) }],
  ])('refuses %s', async (_, name, wrong) => {
    const { db, env } = await start()
    const definition = { ...copy(1), ...wrong } as never
    expect(await codeOf(() => db.view(name, definition))).toBe('VARVE_INVALID_ARGUMENT')
    expect(viewDirectories(env)).toEqual([])
  })

  it('refuses what cannot be: twice the same, on a store to read only, after close, with other encodings', async () => {
    const { db, env } = await start()
    await db.put('a', '1')
    const view = await db.view('copy', copy(1))
    await view.ready
    expect(await codeOf(() => db.view('copy', copy(1)))).toBe('VARVE_LOCKED')
    await view.close()
    expect(await codeOf(() => db.view('copy', copy(1, { valueEncoding: 'json' })))).toBe(
      'VARVE_INVALID_ARGUMENT',
    )
    await db.close()
    expect(await codeOf(() => db.view('copy', copy(1)))).toBe('VARVE_CLOSED')
    const reader = await open('/store', { ...KEPT, env, readOnly: true } as never)
    expect(await codeOf(() => reader.view('copy', copy(1) as never))).toBe('VARVE_READ_ONLY')
    await reader.close()
  })

  it('keeps names apart that a file system might not, in directories that are its own', async () => {
    const { db, env } = await start()
    await db.put('a', '1')
    for (const name of ['Copy', 'copy', 'a/../b', 'ø @%']) await (await db.view(name, copy('V1.2'))).reach()
    expect(viewDirectories(env)).toEqual([
      '%43opy@%561.2-000001.view',
      '%c3%b8%20%40%25@%561.2-000001.view',
      'a%2f%2e%2e%2fb@%561.2-000001.view',
      'copy@%561.2-000001.view',
    ])
  })

  it('holds no file and no lock after the store has closed', async () => {
    const env = memoryEnv()
    const { db } = await start(KEPT, env)
    await load(db, 0, 50)
    await db.view('one', copy(1))
    await db.view('two', copy(1))
    await db.close()
    expect([env.fs.openFiles(), env.fs.hasLocks()]).toEqual([[], false])
  })
})
