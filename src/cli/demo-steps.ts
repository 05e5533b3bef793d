import type { BatchOp } from '../store/contract.js'
import {
  CITY_PREFIX,
  type CityData,
  changeOf,
  cityIndexOf,
  compareKeys,
  type DemoStore,
  isSameCity,
  isVisited,
} from './demo-data.js'
import { claim, note } from './demo-report.js'
import { formatCount, formatDuration, formatRate } from './format.js'
import { startProgress } from './progress.js'

const BATCH_RECORDS = 1000
const READS = 20_000
// Coprime with the number of cities: the reads jump about and never meet a city twice.
const READ_STRIDE = 7919

export async function loadCities(store: DemoStore, { cities, keys }: CityData): Promise<void> {
  const startedAt = performance.now()
  const progress = startProgress('load', 'records', cities.length)
  for (let start = 0; start < cities.length; start += BATCH_RECORDS) {
    const end = Math.min(start + BATCH_RECORDS, cities.length)
    const ops: BatchOp<string, unknown>[] = []
    for (let i = start; i < end; i++) ops.push({ type: 'put', key: keys[i]!, value: cities[i]! })
    await store.batch(ops)
    progress.update(end)
  }
  progress.stop()
  const elapsedMs = performance.now() - startedAt
  const rate = formatRate(cities.length, elapsedMs, 'records')
  claim(
    (await countCities(store)) === cities.length,
    `${formatCount(cities.length)} cities as JSON in ${formatDuration(elapsedMs)} (${rate}), all counted in a scan`,
  )
}

export async function countCities(store: DemoStore): Promise<number> {
  let count = 0
  for await (const _ of store.keys({ prefix: CITY_PREFIX })) count++
  return count
}

export async function readBack(store: DemoStore, { cities, keys }: CityData): Promise<void> {
  const order = Array.from({ length: READS }, (_, i) => (i * READ_STRIDE) % cities.length)
  let startedAt = performance.now()
  let right = 0
  for (const i of order) if (isSameCity(await store.get(keys[i]!), cities[i])) right++
  const getMs = performance.now() - startedAt
  claim(
    right === READS,
    `${formatCount(READS)} cities by get, each as written (${formatRate(READS, getMs, 'reads')})`,
  )

  startedAt = performance.now()
  right = 0
  for (const i of order) if (isSameCity(store.getSync(keys[i]!), cities[i])) right++
  const syncMs = performance.now() - startedAt
  claim(right === READS, `the same by getSync (${formatRate(READS, syncMs, 'reads')})`)

  const some = order.slice(0, BATCH_RECORDS)
  const values = await store.getMany([...some.map((i) => keys[i]!), `${CITY_PREFIX}nowhere`])
  claim(
    some.every((i, at) => isSameCity(values[at], cities[i])) && values[some.length] === undefined,
    `${formatCount(some.length)} by one getMany; a key that is not there reads as undefined`,
  )
}

export async function scanCountries(store: DemoStore, data: CityData): Promise<void> {
  const norway = sortedKeys(data, 'NO')
  const startedAt = performance.now()
  const forwards = await store.entries({ prefix: `${CITY_PREFIX}NO:` }).all()
  const elapsedMs = performance.now() - startedAt
  claim(
    forwards.length === norway.length && forwards.every(([key], i) => key === norway[i]),
    `Norway forwards: ${formatCount(norway.length)} cities in the order of their bytes, in ${formatDuration(elapsedMs)}`,
  )
  note(`  ${names(forwards.slice(0, 6))}, …`)

  const japan = sortedKeys(data, 'JP')
  const backwards = await store.entries({ prefix: `${CITY_PREFIX}JP:`, reverse: true, limit: 10 }).all()
  claim(
    backwards.length === 10 && backwards.every(([key], i) => key === japan[japan.length - 1 - i]),
    `Japan backwards: the last ten of ${formatCount(japan.length)}`,
  )
  note(`  ${names(backwards)}`)
}

function sortedKeys({ keys }: CityData, country: string): string[] {
  return keys.filter((key) => key.startsWith(`${CITY_PREFIX}${country}:`)).sort(compareKeys)
}

function names(entries: readonly (readonly [string, unknown])[]): string {
  return entries.map(([, value]) => (value as { name: string }).name).join(', ')
}

/** Changes a third of the cities behind the back of a snapshot. */
export async function changeUnderSnapshot(store: DemoStore, data: CityData): Promise<void> {
  const snapshot = store.snapshot()
  try {
    note(`taken at position ${formatCount(snapshot.position)}`)
    const { deleted, overwritten } = await changeAThird(store, data)
    note(`then ${formatCount(deleted)} cities deleted and ${formatCount(overwritten)} overwritten`)
    let old = 0
    let total = 0
    for await (const [key, value] of store.entries({ prefix: CITY_PREFIX, snapshot })) {
      total++
      if (!isVisited(value) && isSameCity(value, data.cities[cityIndexOf(key)])) old++
    }
    claim(
      old === data.cities.length && total === old,
      `the snapshot still shows all ${formatCount(old)}, each as it was`,
    )
    const gone = data.keys[0]!
    claim(
      isSameCity(await store.get(gone, { snapshot }), data.cities[0]) &&
        (await store.get(gone)) === undefined,
      `${gone} is there in the snapshot and gone in the store`,
    )
    await proveCities(store, data)
  } finally {
    snapshot.close()
  }
}

async function changeAThird(store: DemoStore, { cities, keys }: CityData) {
  let deleted = 0
  let overwritten = 0
  let ops: BatchOp<string, unknown>[] = []
  for (let i = 0; i < cities.length; i++) {
    const change = changeOf(i)
    if (change === 'delete') {
      ops.push({ type: 'del', key: keys[i]! })
      deleted++
    } else if (change === 'overwrite') {
      ops.push({ type: 'put', key: keys[i]!, value: { ...cities[i], visited: true } })
      overwritten++
    }
    if (ops.length >= BATCH_RECORDS || i === cities.length - 1) {
      await store.batch(ops)
      ops = []
    }
  }
  return { deleted, overwritten }
}

/** Proves that the store holds the cities as they are after the change: each value, and no other. */
export async function proveCities(store: DemoStore, { cities }: CityData): Promise<void> {
  let right = 0
  let total = 0
  for await (const [key, value] of store.entries({ prefix: CITY_PREFIX })) {
    const index = cityIndexOf(key)
    const change = changeOf(index)
    total++
    if (change === 'delete' || !isSameCity(value, cities[index])) continue
    if (isVisited(value) === (change === 'overwrite')) right++
  }
  const expected = cities.filter((_, i) => changeOf(i) !== 'delete').length
  claim(
    right === expected && total === expected,
    `the store shows ${formatCount(total)} cities, each compared with what was written`,
  )
}
