import { afterEach, describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import {
  aggregate,
  type Database,
  fullText,
  type OpenOptions,
  open,
  secondaryIndex,
  type Totals,
} from '../../src/index.js'
import { TINY } from '../store/helpers.js'
import { SEED } from './helpers.js'

interface Row {
  readonly city: string
  readonly tags: readonly string[]
  readonly amount: number
  readonly text: string
}
type Rows = Database<string, Row>

const OPTIONS: OpenOptions<string, Row> = {
  ...TINY,
  valueEncoding: 'json',
  log: { maxBytes: 2 ** 30 },
} as never
const CITIES = ['Oslo', 'Bergen', 'Ålesund', 'Bodø', '']
const WORDS = 'salt fjord harbour lighthouse snow winter road bridge island coast'.split(' ')

const opened: Rows[] = []
async function openRows(env = memoryEnv({ seed: SEED })): Promise<Rows> {
  const db = await open<string, Row>('/store', { ...OPTIONS, env } as never)
  opened.push(db)
  return db
}
afterEach(async () => {
  for (const db of opened.splice(0)) await db.close().catch(() => {})
})

const byCity = (version = 1) =>
  secondaryIndex<string, Row, string>({
    version,
    key: (_, { city, tags }) => (city === '' ? undefined : [city, ...tags]),
  })
const byCityAndAmount = () =>
  secondaryIndex<string, Row, readonly [string, number]>({
    version: 1,
    key: (_, row) => [[row.city, row.amount]],
  })
const sums = (version = 1) =>
  aggregate<string, Row, string>({
    version,
    group: (_, { city }) => (city === 'Bodø' ? undefined : city),
    value: (_, { amount }) => (amount > 900 ? undefined : amount),
    kinds: ['count', 'sum', 'min', 'max', 'avg'],
  })
const counts = () =>
  aggregate<string, Row, string>({ version: 1, group: (_, { city }) => city, kinds: ['count', 'sum'] })
const texts = () => fullText<string, Row>({ version: 1, fields: ['text', 'city'], storeFields: ['city'] })

class History {
  readonly #random: SeededRandom
  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
  }

  #key(): string {
    return `k${this.#random.below(60)}`
  }

  #row(): Row {
    const random = this.#random
    const pick = <T>(list: readonly T[]) => list[random.below(list.length)]!
    return {
      city: pick(CITIES),
      tags: Array.from({ length: random.below(3) }, () => pick(WORDS)),
      // Sums of these are not the same in every order, unless they are exact.
      amount: (random.below(2000) - 1000) * pick([1, 0.1, 1e-9, 1e9]),
      text: Array.from({ length: random.below(6) }, () => pick(WORDS)).join(' '),
    }
  }

  async write(db: Rows, count: number): Promise<void> {
    const random = this.#random
    for (let i = 0; i < count; i++) {
      const kind = random.below(20)
      if (kind < 11) await db.put(this.#key(), this.#row())
      else if (kind < 14) await db.del(this.#key())
      else if (kind < 15) {
        const [a, b] = [this.#key(), this.#key()].sort()
        await db.clear(random.below(6) === 0 ? {} : { gte: a!, lt: b! })
      } else {
        const ops = Array.from({ length: random.below(8) }, () =>
          random.below(4) === 0
            ? ({ type: 'del', key: this.#key() } as const)
            : ({ type: 'put', key: this.#key(), value: this.#row() } as const),
        )
        await db.batch(ops)
      }
    }
  }
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  map.set(key, [...(map.get(key) ?? []), value])
}

/** The exact sum as a fraction over 2^1074: the nearest double to it. */
function exactSum(values: readonly number[]): number {
  const SCALE = 1100
  let total = 0n
  for (const value of values) {
    const bits = Buffer.alloc(8)
    bits.writeDoubleBE(value)
    const raw = bits.readBigUInt64BE()
    const exponent = Number((raw >> 52n) & 0x7ffn)
    const mantissa = (raw & ((1n << 52n) - 1n)) | (exponent === 0 ? 0n : 1n << 52n)
    const scaled = mantissa << BigInt(Math.max(exponent, 1) - 1075 + SCALE)
    total += value < 0 ? -scaled : scaled
  }
  const isNegative = total < 0n
  let rest = isNegative ? -total : total
  let shift = 0
  // Number() of a BigInt rounds to nearest, ties to even; what it cannot hold is shifted away with a sticky bit.
  while (rest >= 1n << 70n) {
    rest = (rest >> 1n) | (rest & 1n)
    shift++
  }
  const number = Number(rest) * 2 ** (shift - 550) * 2 ** (550 - SCALE)
  return isNegative ? -number : number
}

function expectedTotals(rows: ReadonlyMap<string, Row>): Record<string, Totals> {
  const groups = new Map<string, number[]>()
  for (const { city, amount } of rows.values())
    if (city !== 'Bodø' && amount <= 900) add(groups, city, amount)
  return Object.fromEntries(
    [...groups].map(([city, amounts]) => {
      const sum = exactSum(amounts)
      const totals = { count: amounts.length, sum, avg: sum / amounts.length }
      return [city, { ...totals, min: Math.min(...amounts), max: Math.max(...amounts) }]
    }),
  )
}

async function openAll(db: Rows) {
  return {
    cities: await db.view('cities', byCity()),
    pairs: await db.view('pairs', byCityAndAmount()),
    sums: await db.view('sums', sums()),
    counts: await db.view('counts', counts()),
    texts: await db.view('texts', await texts()),
  }
}

/** Every view against everything computed anew, all of them at the one position of the store. */
async function check(db: Rows, views: Awaited<ReturnType<typeof openAll>>): Promise<void> {
  for (const view of Object.values(views)) await view.reach()
  expect(Object.values(views).map(({ position }) => position)).toEqual(Array(5).fill(db.position))
  const rows = new Map(await db.entries().all())
  const cities = new Map<string, string[]>()
  for (const [key, { city, tags }] of rows) {
    if (city !== '') for (const name of new Set([city, ...tags])) add(cities, name, key)
  }
  for (const name of [...CITIES, ...WORDS]) {
    expect([name, await views.cities.find(name)]).toEqual([name, cities.get(name) ?? []])
  }
  const pairs: [readonly [string, number], string][] = []
  for await (const pair of views.pairs.range()) pairs.push(pair)
  const expected = [...rows].map(([key, { city, amount }]) => [[city, amount], key])
  expect(pairs.map(String).sort()).toEqual(expected.map(String).sort())
  const found: Record<string, Totals> = {}
  for await (const [group, totals] of views.sums.groups()) found[group] = totals
  expect(found).toEqual(expectedTotals(rows))
  for (const city of CITIES) {
    const amounts = [...rows.values()].filter((row) => row.city === city)
    const totals = amounts.length === 0 ? undefined : { count: amounts.length, sum: amounts.length }
    expect(await views.counts.totals(city)).toEqual(totals)
  }
  for (const word of WORDS) {
    const hits = await views.texts.search(word)
    const holding = [...rows].filter(([, { text }]) => text.split(' ').includes(word))
    expect(hits.map(({ key }) => key).sort()).toEqual(holding.map(([key]) => key).sort())
    for (const { key, fields } of hits) expect(fields['city']).toBe(rows.get(key)!.city)
  }
}

describe(`helpers of views on random histories (seed ${SEED})`, () => {
  it('equal what is computed anew, at one position, across restarts and late builds (D32, D34, D45, D46)', async () => {
    const history = new History(SEED)
    const env = memoryEnv({ seed: SEED })
    let db = await openRows(env)
    await history.write(db, 120)
    let views = await openAll(db)
    await check(db, views)
    for (let round = 0; round < 4; round++) {
      await history.write(db, 40)
      await check(db, views)
      if (round % 2 === 0) continue
      await history.write(db, 20)
      await db.close()
      db = await openRows(env)
      views = await openAll(db)
    }
    // A version that is new equals one that was there all the time.
    await db.view('sums', sums(2))
    await db.view('cities', byCity(2))
    await history.write(db, 50)
    await Promise.all([views.sums.ready, views.cities.ready])
    expect([views.sums.version, views.cities.version]).toEqual(['2', '2'])
    await check(db, views)
  }, 60_000)

  it('equal what is computed anew where the log is gone and a snapshot is all there is (D49)', async () => {
    const history = new History(SEED + 1)
    const db = await open<string, Row>('/store', {
      ...OPTIONS,
      log: { maxBytes: 0 },
      env: memoryEnv({ seed: SEED }),
    } as never)
    opened.push(db)
    await history.write(db, 200)
    await db.flush()
    expect(db.oldestPosition).toBeGreaterThan(1)
    const views = await openAll(db)
    await history.write(db, 50)
    await check(db, views)
  }, 60_000)
})
