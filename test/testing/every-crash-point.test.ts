import { describe, expect, it } from 'vitest'
import { type Database, open } from '../../src/index.js'
import {
  type CrashLeft,
  CrashPointError,
  type CrashRun,
  everyCrashPoint,
  type FaultEnv,
} from '../../src/testing.js'

// A user's own code: orders, and an index of them by customer. Each version of `place` but the last has a mistake.

type Shop = Database<string, string>
type Place = (orders: Shop, index: Shop, id: string, customer: string) => Promise<unknown>

/** Two stores, written one after the other. */
const dualWrite: Place = async (orders, index, id, customer) => {
  await orders.put(`order:${id}`, customer)
  await index.put(`by:${customer}:${id}`, '')
}

/** One store, but two writes. */
const twoWrites: Place = async (orders, _index, id, customer) => {
  await orders.put(`order:${id}`, customer)
  await orders.put(`by:${customer}:${id}`, '')
}

const oneBatch: Place = (orders, _index, id, customer) =>
  orders.batch([
    { type: 'put', key: `order:${id}`, value: customer },
    { type: 'put', key: `by:${customer}:${id}`, value: '' },
  ])

const CUSTOMERS = ['ann', 'bob', 'ann', 'eve']

function shop(place: Place, durability: 'disk' | 'os') {
  return {
    run: async ({ env, note }: CrashRun) => {
      const [orders, index] = await openBoth(env, durability)
      for (const [i, customer] of CUSTOMERS.entries()) {
        await place(orders, index, `${i}`, customer)
        note(`order:${i}`)
      }
      await orders.close()
      await index.close()
    },
    check: async ({ env, facts, isPowerLoss }: CrashLeft) => {
      const [orders, index] = await openBoth(env, durability)
      const found = await orders.entries({ prefix: 'order:' }).all()
      const indexed = [...(await orders.keys({ prefix: 'by:' }).all()), ...(await index.keys().all())]
      await orders.close()
      await index.close()
      const wanted = found.map(([key, customer]) => `by:${customer}:${key.slice('order:'.length)}`)
      expect(indexed.sort()).toEqual(wanted.sort())
      if (durability === 'disk' || !isPowerLoss) {
        expect(found.map(([key]) => key)).toEqual(expect.arrayContaining([...facts]))
      }
    },
  }
}

function openBoth(env: FaultEnv, durability: 'disk' | 'os'): Promise<[Shop, Shop]> {
  const options = { env, durability, workers: 0 }
  return Promise.all([open('/orders', options), open('/index', options)])
}

async function mistakeIn(
  place: Place,
  durability: 'disk' | 'os' = 'disk',
): Promise<CrashPointError | undefined> {
  try {
    await everyCrashPoint(shop(place, durability))
    return undefined
  } catch (error) {
    if (error instanceof CrashPointError) return error
    throw error
  }
}

describe('everyCrashPoint', () => {
  it('finds a dual write, and says after which crash', async () => {
    const error = await mistakeIn(dualWrite)
    expect(error?.message).toMatch(
      /^a crash before step \d+, (?:write|sync) .orders.\d+\.log; killed: expected/,
    )
    expect(error?.facts).toEqual([])
    expect(error?.operations.at(-1)).toMatch(/^write .orders.\d+\.log/)
  })

  it('finds two writes that should be one batch', async () => {
    const error = await mistakeIn(twoWrites)
    expect(error?.message).toContain('to deeply equal')
    expect(error?.cause).toBeInstanceOf(Error)
  })

  it.each(['disk', 'os'] as const)('finds nothing in one batch with durability %s', async (durability) => {
    expect(await mistakeIn(oneBatch, durability)).toBeUndefined()
  })

  it('finds an acknowledgement that came before the data was on disk', async () => {
    const scenario = shop(oneBatch, 'disk')
    const early = everyCrashPoint({
      ...scenario,
      run: async ({ env, note }) => {
        const [orders, index] = await openBoth(env, 'os')
        await oneBatch(orders, index, '0', 'ann')
        note('order:0')
        await orders.close()
        await index.close()
      },
    })
    await expect(early).rejects.toThrow(/; strict: /)
  })

  it('counts points and states, and repeats them for one seed', async () => {
    const count = () => everyCrashPoint({ ...shop(oneBatch, 'disk'), seed: 7 })
    const report = await count()
    expect(report.states).toBeGreaterThan(report.points * 2)
    expect(await count()).toEqual(report)
  })

  it('refuses a check that leaves a store open', async () => {
    const scenario = {
      run: async ({ env }: CrashRun) => void (await open('/db', { env })),
      check: async ({ env }: CrashLeft) => void (await open('/db', { env })),
    }
    await expect(everyCrashPoint(scenario)).rejects.toThrow(/the check left open: .*lock \/db\/LOCK/)
  })

  it('passes on what the code under test throws', async () => {
    const failing = everyCrashPoint({ run: () => Promise.reject(new Error('no')), check: async () => {} })
    await expect(failing).rejects.toThrow('no')
  })
})
