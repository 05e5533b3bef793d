import { expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import type { CrashState } from '../../src/env/memory-file-system.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { type OpenOptions, open } from '../../src/index.js'
import { STORE } from '../store/helpers.js'
import { copy, type Db, SEED, viewDirectories } from './helpers.js'

const OPTIONS: OpenOptions = {
  ...{ memory: 1 << 20, memtableBytes: 2048, segmentBytes: 2048, blockBytes: 256, workers: 0 },
  ...{ l0SegmentsMax: 2, levelRatio: 4, durability: 'os', log: { maxBytes: 1500 } },
}
/** Of all crash states so many are opened. */
const CHECKED = Number(process.env['VARVE_CRASHES'] ?? 240)

type State = ReadonlyMap<string, string>
interface Moment {
  readonly step: string
  readonly state: CrashState
}

class Script {
  readonly env: MemoryEnv = memoryEnv({ seed: SEED })
  readonly history: State[] = [new Map()]
  readonly moments: Moment[] = []
  db!: Db
  #count = 0

  constructor() {
    this.env.fs.onStep = ({ index, op, path }) => {
      for (const state of this.env.fs.crashStates())
        this.moments.push({ step: `${index} ${op} ${path}`, state })
    }
  }

  async open(): Promise<void> {
    this.db = await openOn(this.env)
  }

  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++)
      this.history.push(await writeOne(this.db, this.history.at(-1)!, this.#count++, ''))
  }
}

function openOn(env: MemoryEnv): Promise<Db> {
  return open(STORE, { ...OPTIONS, env } as OpenOptions)
}

async function writeOne(db: Db, before: State, i: number, mark: string): Promise<State> {
  const next = new Map(before)
  const key = `k${i % 13}`
  if (i % 11 === 10) {
    for (const other of before.keys()) if (other >= 'k2' && other < 'k5') next.delete(other)
    await db.clear({ gte: 'k2', lt: 'k5' })
  } else if (i % 5 === 4) {
    next.delete(key)
    await db.del(key)
  } else {
    const value = `${mark}${i}`.padEnd(60, '.')
    next.set(key, value)
    await db.put(key, value)
  }
  return next
}

function expected(state: State, version: number, position: number): Record<string, string> {
  if (position === 0) return {}
  const copied = Object.fromEntries([...state].map(([key, value]) => [`k/${key}`, value]))
  return { ...copied, version: String(version) }
}

async function check({ step, state: { name, fs } }: Moment, history: readonly State[], diverges: boolean) {
  const what = `before step ${step}, ${name}${diverges ? ', then other writes' : ''}`
  const env = memoryEnv({ fs })
  const db = await openOn(env)
  const states = history.slice(0, db.position + 1)
  // What the crash took back may have been in a view already: others come in its place.
  for (let i = 0; diverges && i < 12; i++) states.push(await writeOne(db, states.at(-1)!, i, 'other'))
  const view = await db.view('copy', copy(2))
  if (view.status === 'live' || view.position > 0) {
    // Both at one moment, before anything is applied.
    const { position, version } = view
    const found = Object.fromEntries(await view.entries().all())
    expect(found, what).toEqual(expected(states[position]!, Number(version), position))
  }
  await view.ready
  await view.reach()
  const found = Object.fromEntries(await view.entries().all())
  const position = db.position
  if (found['version'] !== undefined || states[position]!.size > 0)
    expect({ ...found, version: '2' }, what).toEqual(expected(states[position]!, 2, position))
  await view.close()
  expect(
    viewDirectories(env).filter((directory) => directory.startsWith('copy@')),
    what,
  ).toHaveLength(1)
  await db.close()
  expect(
    [fs.openFiles(), viewDirectories(env).filter((directory) => directory.endsWith('.tmp'))],
    what,
  ).toEqual([[], []])
}

it(`after a crash at any step of building, switching and dropping, views are what the log says (seed ${SEED})`, async () => {
  const script = new Script()
  const { env } = script
  await script.open()
  await script.write(25)
  const view = await script.db.view('copy', copy(1))
  await view.ready
  await script.write(10)
  await view.reach()
  await script.db.view('copy', copy(2))
  await script.write(5)
  await view.ready
  await (await script.db.view('other', copy(1))).reach()
  await script.write(5)
  await script.db.close()
  await script.open()
  const other = await script.db.view('other', copy(2, { from: 'snapshot' }))
  await script.write(10)
  await other.ready
  await other.drop()
  const again = await script.db.view('copy', copy(2))
  await again.reach()
  await script.write(3)
  await script.db.close()
  env.fs.onStep = undefined

  const random = new SeededRandom(SEED)
  // What is about views is looked at more often.
  const wanted = script.moments.filter(({ step }) => step.includes('.view') || random.below(3) === 0)
  const chosen = wanted.filter(() => random.below(wanted.length) < CHECKED)
  for (const moment of chosen) await check(moment, script.history, random.below(3) === 0)
  console.log(`views: ${chosen.length} of ${script.moments.length} crash states opened, 0 bad`)
  expect(chosen.length).toBeGreaterThan(CHECKED / 3)
}, 120_000)
