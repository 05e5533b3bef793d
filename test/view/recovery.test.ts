import { afterEach, describe, expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { type OpenOptions, open } from '../../src/index.js'
import { codeOf, failureOf, pad, TINY, until } from '../store/helpers.js'
import { copy, type Db, KEPT, openKept, SEED, viewDirectories } from './helpers.js'

const opened: Db[] = []
async function start(options: OpenOptions = KEPT, env: MemoryEnv = memoryEnv({ seed: SEED })) {
  const store = await openKept(options, env)
  opened.push(store.db)
  return store
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

async function load(db: Db, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    if (i % 7 === 6) await db.clear({ gte: pad(i % 50), lt: pad((i % 50) + 5) })
    else await db.put(pad((i * 13) % 97), `v${i}`.padEnd(40, '.'))
  }
}

/** What a view that copies the store holds. */
async function copied(db: Db, version: string): Promise<Record<string, string>> {
  const entries = (await db.entries().all()).map(([key, value]) => [`k/${key}`, value])
  return { ...Object.fromEntries(entries), version }
}

const held = async (view: { entries(): { all(): Promise<[string, string][]> } }) =>
  Object.fromEntries(await view.entries().all())

describe('a view from a snapshot', () => {
  it('is what the store is, where the log no longer reaches back to its start (D49)', async () => {
    const { db } = await start({ ...TINY })
    await load(db, 0, 300)
    await db.flush()
    expect(db.oldestPosition).toBeGreaterThan(1)
    expect(await codeOf(() => db.view('copy', copy(1, { from: 'start' })))).toBe('VARVE_POSITION_LOST')
    const view = await db.view('copy', copy(1))
    await load(db, 300, 50)
    await view.reach()
    expect(await held(view)).toEqual(await copied(db, '1'))
  })

  it('goes on in the middle after a crash, with every later change once, whatever was written meanwhile', async () => {
    const env = memoryEnv({ seed: SEED })
    let { db } = await start(KEPT, env)
    for (let i = 0; i < 6000; i++) void db.put(pad(i), 'old')
    await db.sync()
    const touched: string[] = []
    let isStopped = false
    const counting = (stopAt: number) => {
      let count = 0
      return copy(1, {
        from: 'snapshot',
        async apply(change, state) {
          for (const op of change.ops) {
            if (op.type === 'clear') {
              touched.push('clear')
              for await (const key of state.keys({
                gte: `k/${op.start}`,
                ...(op.end ? { lt: `k/${op.end}` } : {}),
              }))
                state.del(key)
              continue
            }
            if (op.type === 'del') state.del(`k/${op.key}`)
            // Not idempotent: a change that came twice would be seen.
            else state.put(`k/${op.key}`, `${(await state.get(`k/${op.key}`)) ?? ''}${op.value};`)
          }
          if (++count === stopAt) {
            isStopped = true
            await new Promise<void>(() => {})
          }
        },
      })
    }
    const view = await db.view('copy', counting(20))
    await until(() => isStopped, 20_000)
    expect(view.status).toBe('building')
    await db.put(pad(1), 'new')
    await db.put(pad(5990), 'new')
    await db.del(pad(2))
    await db.clear({ gte: pad(100), lt: pad(5000) })
    await db.put(pad(200), 'back')
    await db.put(pad(4990), 'again')
    const crashed = memoryEnv({ fs: env.fs.clone() })
    await db.close()
    ;({ db } = await start(KEPT, crashed))
    await db.put(pad(3), 'later')
    const again = await db.view('copy', counting(-1))
    await db.put(pad(4), 'live')
    await again.reach()
    const found = await held(again)
    const expected: Record<string, string> = {}
    for (let i = 0; i < 6000; i++) if (i < 100 || i >= 5000) expected[`k/${pad(i)}`] = 'old;'
    delete expected[`k/${pad(2)}`]
    Object.assign(expected, {
      [`k/${pad(1)}`]: 'old;new;',
      // Read after it was written, or before: once it is there.
      [`k/${pad(5990)}`]: 'new;',
      [`k/${pad(200)}`]: 'back;',
      // The clear before it covers what was read, and not this, which is read after it.
      [`k/${pad(4990)}`]: 'again;',
      [`k/${pad(3)}`]: 'old;later;',
      [`k/${pad(4)}`]: 'old;live;',
    })
    expect(found).toEqual(expected)
    expect(touched).toEqual(['clear'])
  })
})

describe('a view that was built elsewhere', () => {
  it('is installed and goes on after its position, equal to one that was there all the time (D50)', async () => {
    const env = memoryEnv({ seed: SEED })
    const { db } = await start(KEPT, env)
    await load(db, 0, 200)
    const { position } = await db.checkpoint('/offline')
    await load(db, 200, 60)
    const offline = await open('/offline', { ...TINY, env } as never)
    const built = await offline.view('copy', copy(1) as never)
    await built.ready
    expect(await built.checkpoint('/built')).toEqual({ position })
    await offline.close()
    let first = 0
    const definition = copy(1, { install: '/built' })
    const view = await db.view('copy', {
      ...definition,
      apply: (change, state) => {
        first ||= change.position
        return definition.apply(change, state)
      },
    })
    await view.reach()
    expect(first).toBe(position + 1)
    expect(await held(view)).toEqual(await copied(db, '1'))
    const whole = await db.view('whole', copy(1))
    await whole.reach()
    expect(await held(view)).toEqual(await held(whole))
    const stranger = await start()
    expect(await codeOf(() => stranger.db.view('copy', copy(1, { install: '/built' })))).toBe(
      'VARVE_INVALID_ARGUMENT',
    )
    const other = await open('/stranger', { ...TINY, env } as never)
    expect(await codeOf(() => other.view('copy', copy(1, { install: '/built' }) as never))).toBe(
      'VARVE_INVALID_ARGUMENT',
    )
    expect(await codeOf(() => other.view('copy', copy(1, { install: '/stranger' }) as never))).toBe(
      'VARVE_INVALID_ARGUMENT',
    )
    await other.close()
    expect(viewDirectories(env, '/stranger')).toEqual([])
  })
})

describe('when something fails', () => {
  it('a full disk under a view stops the view alone, and retry goes on once there is room', async () => {
    const { db, env } = await start()
    await load(db, 0, 30)
    const view = await db.view('copy', copy(1))
    await view.reach()
    const fault = env.fs.inject({
      op: 'write',
      path: /\.view\//,
      repeat: 'forever',
      effect: { errno: 'ENOSPC' },
    })
    const position = await db.put('x', 'y')
    await until(() => view.status === 'failed', 10_000)
    expect(view.error?.code).toBe('VARVE_NO_SPACE')
    expect(await codeOf(() => view.get('k/x', { atLeast: position }))).toBe('VARVE_NO_SPACE')
    expect(await view.get('version')).toBe('1')
    expect(fault.fired).toBeGreaterThan(0)
    await db.put('y', 'z')
    env.fs.clearFaults()
    await view.retry()
    await view.reach()
    expect(await held(view)).toEqual(await copied(db, '1'))
  })

  it('damage in the files of a view is no damage: it is built again', async () => {
    const { db, env } = await start()
    await load(db, 0, 100)
    await (await db.view('copy', copy(1))).reach()
    await db.close()
    const [directory] = viewDirectories(env)
    const path = `/store/${directory}`
    for (const name of env.fs.list(path).filter((file) => file.startsWith('MANIFEST'))) {
      const bytes = Buffer.from(env.fs.readFile(`${path}/${name}`))
      bytes[20]! ^= 1
      env.fs.writeFile(`${path}/${name}`, bytes)
    }
    const { db: again } = await start(KEPT, env)
    const failed: string[] = []
    again.on('view.failed', ({ error }) => failed.push((error as { code?: string }).code ?? ''))
    const view = await again.view('copy', copy(1))
    await view.reach()
    expect(failed).toEqual(['VARVE_CORRUPTION'])
    expect(await held(view)).toEqual(await copied(again, '1'))
    expect(viewDirectories(env)).toHaveLength(1)
  })

  it('a view that holds more of the log than it may loses its place; retry builds it anew beside the old one', async () => {
    const { db } = await start({ ...TINY, log: { pinnedMaxBytes: 4000 } })
    await load(db, 0, 20)
    let gate: Promise<void> | undefined
    let open!: () => void
    const definition = copy(1)
    const view = await db.view('copy', {
      ...definition,
      async apply(change, state) {
        await gate
        await definition.apply(change, state)
      },
    })
    await view.reach()
    gate = new Promise<void>((resolve) => {
      open = resolve
    })
    await load(db, 20, 400)
    await db.flush()
    open()
    gate = undefined
    const error = await failureOf(() => view.reach())
    expect(error).toMatchObject({ code: 'VARVE_POSITION_LOST', position: db.oldestPosition })
    expect((await held(view))['version']).toBe('1')
    await view.retry()
    await view.reach()
    expect(await held(view)).toEqual(await copied(db, '1'))
  })

  it('a view that was dropped in part by a crash is gone after the next open', async () => {
    const { db, env } = await start()
    await load(db, 0, 50)
    const view = await db.view('copy', copy(1))
    await view.reach()
    const states: MemoryEnv[] = []
    env.fs.onStep = ({ op }) => {
      if (op === 'remove' || op === 'rename') states.push(memoryEnv({ fs: env.fs.clone() }))
    }
    await view.drop()
    env.fs.onStep = undefined
    expect(states.length).toBeGreaterThan(4)
    for (const state of states.slice(1)) {
      const again = await open('/store', { ...KEPT, env: state } as never)
      await until(() => viewDirectories(state).every((name) => !name.endsWith('.tmp')))
      await again.close()
      expect(viewDirectories(state).filter((name) => name.endsWith('.tmp'))).toEqual([])
    }
  })

  it('keeps the log for a view across a crash, though the store retains none', async () => {
    const { db, env } = await start({ ...TINY })
    await load(db, 0, 40)
    let applied = 0
    let isStuck = false
    const definition = copy(1)
    const counting = copy(1, {
      async apply(change, state) {
        if (isStuck) await new Promise<void>(() => {})
        applied++
        await definition.apply(change, state)
      },
    })
    await (await db.view('copy', counting)).reach()
    isStuck = true
    await load(db, 40, 60)
    await db.flush()
    const crashed = memoryEnv({ fs: env.fs.clone() })
    applied = 0
    isStuck = false
    const { db: again } = await start({ ...TINY }, crashed)
    const second = await again.view('copy', counting)
    await second.reach()
    expect(applied).toBe(60)
    expect(await held(second)).toEqual(await copied(again, '1'))
  })

  it('does not take up the view of another store under its name', async () => {
    const { db, env } = await start()
    await load(db, 0, 20)
    await (await db.view('copy', copy(1))).reach()
    await db.close()
    const other = await open('/other', { ...KEPT, env } as never)
    await other.put('own', '1')
    await other.put('own', '2')
    await other.close()
    env.fs.rename('/store/copy@1-000001.view', '/other/copy@1-000001.view')
    const again = await open('/other', { ...KEPT, env } as never)
    const view = await again.view('copy', copy(1) as never)
    await view.reach()
    expect(await held(view as never)).toEqual({ 'k/own': '2', version: '1' })
    await again.close()
  })
})
