import { expect, it, onTestFinished } from 'vitest'
import type { BackgroundWorker, Env, WorkerHandlers } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SharedWorker } from '../../src/env/shared-worker.js'
import { secondaryIndex } from '../../src/index.js'
import { openMemory, pad, until } from '../store/helpers.js'
import { copy, openKept } from './helpers.js'

it('a view added after 100,000 writes, while writes go on, equals one that existed from the start (D46)', async () => {
  const { db } = await openMemory({ workers: 0, log: { maxBytes: 2 ** 30 } })
  onTestFinished(() => db.close())
  const definition = (version: number) =>
    secondaryIndex<string, string, string>({ version, key: (_, value) => value.slice(-2) })
  const first = await db.view('first', definition(1))
  let written = 0
  const write = async (count: number) => {
    for (const end = written + count; written < end; written += 100) {
      const ops = Array.from({ length: 100 }, (_, i) => {
        const n = written + i
        return n % 17 === 0
          ? ({ type: 'del', key: pad((n * 31) % 20_000) } as const)
          : ({ type: 'put', key: pad((n * 7) % 20_000), value: `v${n}` } as const)
      })
      await db.batch(ops)
      if (written % 10_000 === 0)
        await db.clear({ gte: pad(written % 20_000), lt: pad((written % 20_000) + 300) })
    }
  }
  await write(100_000)
  const late = await db.view('late', definition(1))
  for (let i = 0; late.status === 'building' && i < 50; i++) {
    await write(100)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await Promise.all([first.reach(), late.reach()])
  expect([first.position, late.position]).toEqual([db.position, db.position])
  const all = async (view: typeof first) => {
    const pairs: string[] = []
    for await (const [indexKey, key] of view.range()) pairs.push(`${indexKey} ${key}`)
    return pairs
  }
  const pairs = await all(first)
  expect(pairs.length).toBeGreaterThan(10_000)
  expect(await all(late)).toEqual(pairs)
  const entries = await db.entries().all()
  expect(pairs).toEqual(entries.map(([key, value]) => `${value.slice(-2)} ${key}`).sort())
}, 120_000)

it('no reader sees less than it saw before, of a view whose versions change under it (D48)', async () => {
  const { db } = await openKept()
  onTestFinished(() => db.close())
  const view = await db.view('copy', copy(1))
  await view.ready
  let isDone = false
  let reads = 0
  const read = async () => {
    let seen = 0
    while (!isDone) {
      const before = view.position
      const [version, count] = await view.getMany(['version', 'k/count'])
      expect(before).toBeGreaterThanOrEqual(seen)
      if (before > 0) expect([version, count]).not.toContain(undefined)
      expect(Number(count ?? 0)).toBeGreaterThanOrEqual(seen === 0 ? 0 : seen - 1)
      seen = before
      reads++
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await view.reach(await db.put('count', '0'))
  const readers = [read(), read(), read()]
  for (let version = 2; version <= 4; version++) {
    await db.view('copy', copy(version))
    for (let i = 0; view.version !== String(version) && i < 5000; i++) {
      await db.put('count', String(db.position))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(view.version).toBe(String(version))
  }
  isDone = true
  await Promise.all(readers)
  expect(reads).toBeGreaterThan(10)
})

it('the new version takes over no earlier than it has reached the old one, which went on meanwhile', async () => {
  const { db } = await openKept()
  onTestFinished(() => db.close())
  const view = await db.view('copy', copy(1))
  for (let i = 0; i < 20; i++) await db.put(pad(i), 'x')
  await view.reach()
  const head = db.position
  let open!: () => void
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  let isStuck = false
  const definition = copy(2)
  await db.view('copy', {
    ...definition,
    apply: async (change, state) => {
      isStuck = change.position === head
      if (isStuck) await gate
      await definition.apply(change, state)
    },
  })
  await until(() => isStuck, 10_000)
  for (let i = 0; i < 20; i++) await db.put(pad(i), 'y')
  await view.reach()
  const { position } = view
  open()
  const seen: number[] = []
  while (view.version === '1') {
    seen.push(view.position)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(Math.min(...seen, view.position)).toBe(position)
})

it('one thread serves several stores, ends with the last of them, and starts again', async () => {
  const started: { handlers: WorkerHandlers; ids: number[]; isGone: boolean }[] = []
  const env: Env = {
    ...memoryEnv(),
    startWorker(handlers): BackgroundWorker {
      const thread = { handlers, ids: [] as number[], isGone: false }
      started.push(thread)
      return {
        run: (id) => {
          thread.ids.push(id)
        },
        terminate: async () => {
          thread.isGone = true
        },
      }
    },
  }
  const shared = new SharedWorker(env)
  const results: string[] = []
  const join = (name: string) =>
    shared.env.startWorker({
      onResult: (id) => results.push(`${name} ${id}`),
      onError: (id) => results.push(`${name} failed ${id}`),
      onExit: () => results.push(`${name} exit`),
    })!
  const [one, two] = [join('one'), join('two')]
  one.run(7, {} as never)
  two.run(7, {} as never)
  expect(started).toHaveLength(1)
  const [thread] = started
  thread!.handlers.onResult(thread!.ids[1]!, {} as never)
  let hasLeft = false
  const leaving = one.terminate().then(() => {
    hasLeft = true
  })
  await Promise.resolve()
  expect(hasLeft).toBe(false)
  thread!.handlers.onError(thread!.ids[0]!, new Error('no'))
  await leaving
  expect([results, thread!.isGone]).toEqual([['two 7', 'one failed 7'], false])
  await two.terminate()
  expect(thread!.isGone).toBe(true)
  const three = join('three')
  expect(started).toHaveLength(2)
  started[1]!.handlers.onExit(new Error('died'))
  expect(() => three.run(1, {} as never)).toThrow('ended')
  expect(results).toContain('three exit')
})
