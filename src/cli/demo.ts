import { crashWriter, proveBatches, reopenAfterCrash } from './demo-crash.js'
import { type CityData, type DemoStore, openDemoStore, readCities } from './demo-data.js'
import { beginDemo, type DemoOptions } from './demo-directory.js'
import { claim, note, section } from './demo-report.js'
import { changeUnderSnapshot, loadCities, proveCities, readBack, scanCountries } from './demo-steps.js'
import { formatBytes, formatCount, formatDuration } from './format.js'
import { printLine } from './output.js'
import { startProgress } from './progress.js'
import { describeTree } from './stats-report.js'
import { closeAfter } from './store.js'
import { describeVerified } from './upkeep.js'

export async function runDemo(given: string | undefined, options: DemoOptions): Promise<void> {
  const startedAt = performance.now()
  const data = readCities()
  const directory = beginDemo('Varve demo', given, options)
  await showStore(directory, data)
  section('Crash')
  const acknowledged = await crashWriter(directory)
  const store = await reopenAfterCrash(directory)
  await closeAfter(store, async () => {
    const records = await proveBatches(store, acknowledged)
    await proveCities(store, data)
    await showUpkeep(store, data, records)
  })
  printLine(`\nEvery claim held. ${formatDuration(performance.now() - startedAt)} in all.`)
}

async function showStore(directory: string, data: CityData): Promise<void> {
  const store = await openDemoStore(directory)
  await closeAfter(store, async () => {
    section('Load')
    await loadCities(store, data)
    section('Read')
    await readBack(store, data)
    section('Scan')
    await scanCountries(store, data)
    section('Snapshot')
    await changeUnderSnapshot(store, data)
  })
}

async function showUpkeep(store: DemoStore, data: CityData, crashRecords: number): Promise<void> {
  section('Compact')
  const before = store.stats().diskBytes
  const startedAt = performance.now()
  await store.compact()
  const elapsedMs = performance.now() - startedAt
  const after = store.stats()
  note(
    `${formatBytes(before)} on disk before, ${formatBytes(after.diskBytes)} after, in ${formatDuration(elapsedMs)}`,
  )
  await proveCities(store, data)
  let records = 0
  for await (const _ of store.keys({ prefix: 'crash:' })) records++
  claim(records === crashRecords, `and the ${formatCount(records)} records of the process that died`)

  section('Tree')
  for (const line of describeTree(store.stats())) note(line)

  section('Verify')
  const progress = startProgress('verify', 'bytes')
  const report = await store
    .verify({ onProgress: (done, total) => progress.update(done, total) })
    .finally(() => progress.stop())
  claim(report.entries > 0, `every checksum is right: ${describeVerified(report)}`)
}
