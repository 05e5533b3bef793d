import { readCities } from './demo-data.js'
import { beginDemo, type DemoOptions } from './demo-directory.js'
import { showCounter } from './demo-log-counter.js'
import { showFollower } from './demo-log-follower.js'
import { showRace } from './demo-log-race.js'
import { showView } from './demo-log-view.js'
import { formatDuration } from './format.js'
import { printLine } from './output.js'

export async function runLogDemo(given: string | undefined, options: DemoOptions): Promise<void> {
  const startedAt = performance.now()
  const data = readCities()
  const directory = beginDemo('Varve: the log is the API', given, options)
  await showRace(directory)
  await showCounter(directory)
  await showView(directory, data)
  await showFollower(directory)
  printLine(`\nEvery claim held. ${formatDuration(performance.now() - startedAt)} in all.`)
}
