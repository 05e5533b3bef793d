import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openMemory, pad, TINY } from './helpers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const KEYS = 600

type Step =
  | { type: 'delete'; from: number; count: number }
  | { type: 'clear'; from: number; count: number }
  | { type: 'put'; key: number }
  | { type: 'read'; from: number; to: number; reverse: boolean; isOld: boolean }
  | { type: 'flush' }
  | { type: 'hold' }

const key = fc.nat(KEYS - 1)
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constantFrom('delete', 'clear'), from: key, count: fc.nat(300) }),
    },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('put'), key }) },
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant('read'),
        from: key,
        to: key,
        reverse: fc.boolean(),
        isOld: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constantFrom('flush', 'hold') }) },
  ),
  { minLength: 40, maxLength: 150 },
) as fc.Arbitrary<Step[]>

async function run(history: readonly Step[]): Promise<void> {
  const { db } = await openMemory({ ...TINY, memtableBytes: 16_384, durability: 'memory' })
  let live = new Set(Array.from({ length: KEYS }, (_, i) => pad(i)))
  await db.batch([...live].map((name) => ({ type: 'put', key: name, value: 'v' })))
  let old = { snapshot: db.snapshot(), live: new Set(live) }
  for (const step of history) {
    if (step.type === 'delete') {
      const names = Array.from({ length: step.count }, (_, i) => pad(step.from + i))
      await db.batch(names.map((name) => ({ type: 'del', key: name })))
      for (const name of names) live.delete(name)
    } else if (step.type === 'clear') {
      const [from, to] = [pad(step.from), pad(step.from + step.count)]
      await db.clear({ gte: from, lt: to })
      live = new Set([...live].filter((name) => name < from || name >= to))
    } else if (step.type === 'put') {
      await db.put(pad(step.key), 'v')
      live.add(pad(step.key))
    } else if (step.type === 'flush') {
      await db.flush()
    } else if (step.type === 'hold') {
      old.snapshot.close()
      old = { snapshot: db.snapshot(), live: new Set(live) }
    } else {
      const { reverse, isOld } = step
      const [gte, lt] = [pad(step.from), pad(step.to)]
      const shown = [...(isOld ? old.live : live)].filter((name) => name >= gte && name < lt).sort()
      if (reverse) shown.reverse()
      const range = { gte, lt, reverse, limit: 5, ...(isOld ? { snapshot: old.snapshot } : {}) }
      expect([...db.keysSync(range)]).toEqual(shown.slice(0, 5))
    }
  }
  old.snapshot.close()
  await db.close()
}

describe('many deleted keys in a row', () => {
  it(`never hide a key that is alive, from any side, now or in a snapshot (seed ${SEED})`, async () => {
    await fc.assert(fc.asyncProperty(steps, run), { seed: SEED, numRuns: 150 })
  })

  it('are walked over once: the head of a queue is found without passing them again', async () => {
    const { db } = await openMemory({ durability: 'memory' })
    const count = 100_000
    for (let i = 0; i < count; i += 1000) {
      const ops = Array.from(
        { length: 1000 },
        (_, j) => ({ type: 'put', key: pad(i + j), value: 'v' }) as const,
      )
      await db.batch(ops)
    }
    for (let i = 0; i < count - 10; i++) void db.del(pad(i))
    await db.sync()
    const first = () => [...db.keysSync({ limit: 1 })]
    const last = () => [...db.keysSync({ lt: pad(count - 10), reverse: true, limit: 1 })]
    expect([first(), last()]).toEqual([[pad(count - 10)], []])
    const start = performance.now()
    for (let i = 0; i < 200; i++) expect([first(), last()]).toEqual([[pad(count - 10)], []])
    // 400 walks over 99,990 keys would take seconds; this bound is no measure of speed.
    expect(performance.now() - start).toBeLessThan(1000)
    await db.put(pad(5), 'back')
    expect([first(), last()]).toEqual([[pad(5)], [pad(5)]])
    await db.close()
  })
})
