import { join } from 'node:path'
import { open } from '../database.js'
import type { BatchOp } from '../store/contract.js'
import { aggregate } from '../view/aggregate.js'
import { CITY_PREFIX, type City, type CityData, type DemoStore } from './demo-data.js'
import { claim, note, section } from './demo-report.js'
import { loadCities } from './demo-steps.js'
import { formatCount, formatDuration } from './format.js'
import { closeAfter } from './store.js'

const LOG_BYTES_MAX = 1024 ** 3
const CHANGES_PER_BATCH = 20

type Counts = ReadonlyMap<string, number>

/** A view that is there from the start, and one that is thought of later and built from the log while writes go on. */
export async function showView(directory: string, data: CityData): Promise<void> {
  section('A new view of old data')
  const store: DemoStore = await open<string, unknown>(join(directory, 'views'), {
    valueEncoding: 'json',
    log: { maxBytes: LOG_BYTES_MAX },
  })
  await closeAfter(store, async () => {
    const early = await store.view('early', byCountry)
    await loadCities(store, data)
    const startedAt = performance.now()
    const before = store.position
    const late = await store.view('late', byCountry)
    const building = { isDone: false }
    const writing = changeCities(store, data, building)
    await late.ready
    building.isDone = true
    await writing
    const elapsedMs = performance.now() - startedAt
    claim(
      store.position > before && store.oldestPosition === 1,
      `cities counted by country, from position 1 on, in ${formatDuration(elapsedMs)} and while ` +
        `${formatCount(store.position - before)} more batches were written`,
    )
    await Promise.all([early.reach(), late.reach()])
    const [counted, ofEarly] = [await countCities(store), await countsOf(early.groups())]
    const ofLate = await countsOf(late.groups())
    claim(
      isEqual(ofLate, counted),
      `it is right for each of ${formatCount(counted.size)} countries, compared with a scan of everything`,
    )
    claim(isEqual(ofEarly, ofLate), 'and equal to the view that was there from the start')
    const position = await store.put(`${CITY_PREFIX}NO:Utopia:x`, { ...data.cities[0], country: 'NO' })
    const totals = await late.totals('NO', { atLeast: position })
    claim(
      totals?.count === (counted.get('NO') ?? 0) + 1,
      'a read with the position of a write sees that write',
    )
    await late.drop()
    note('dropped: the view is gone, the data were never touched')
  })
}

const byCountry = aggregate<string, unknown, string>({
  version: 1,
  group: (key, value) => (key.startsWith(CITY_PREFIX) ? (value as City).country : undefined),
  kinds: ['count'],
})

/** Removes cities and puts them back, all over the world, until the view is built; one in three stays away. */
async function changeCities(
  store: DemoStore,
  { cities, keys }: CityData,
  building: { isDone: boolean },
): Promise<void> {
  for (let i = 0; !building.isDone; i++) {
    const ops: BatchOp<string, unknown>[] = []
    for (let j = 0; j < CHANGES_PER_BATCH; j++) {
      const index = ((i * CHANGES_PER_BATCH + j) * 7919) % cities.length
      if (j % 3 === 0) ops.push({ type: 'del', key: keys[index]! })
      else ops.push({ type: 'put', key: keys[index]!, value: cities[index]! })
    }
    await store.batch(ops)
  }
}

async function countCities(store: DemoStore): Promise<Counts> {
  const counts = new Map<string, number>()
  for await (const value of store.values({ prefix: CITY_PREFIX })) {
    const { country } = value as City
    counts.set(country, (counts.get(country) ?? 0) + 1)
  }
  return counts
}

async function countsOf(groups: AsyncIterable<[string, { readonly count: number }]>): Promise<Counts> {
  const counts = new Map<string, number>()
  for await (const [country, { count }] of groups) counts.set(country, count)
  return counts
}

function isEqual(a: Counts, b: Counts): boolean {
  return a.size === b.size && [...a].every(([country, count]) => b.get(country) === count)
}
