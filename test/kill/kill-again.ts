import { expect } from 'vitest'
import type { SeededRandom } from '../../src/env/seeded-random.js'
import { listen, liveAndDie, start, type Way, type Writer } from './harness.js'

export interface Killed {
  /** Lives that had checked what the ones before them left. */
  readonly checked: number
  readonly batches: number
}

/** Kills one store's process again and again, on one directory; each life checks what the last one left. */
export async function killAgainAndAgain(
  directory: string,
  writerCount: number,
  kills: number,
  random: SeededRandom,
  wayOf: (kill: number) => Way,
  isEncrypted: boolean,
): Promise<Killed> {
  const writers: Writer[] = Array.from({ length: writerCount }, () => ({ acknowledged: 0, started: 0 }))
  const counts: Record<string, number> = {}
  let checked = 0
  for (let kill = 1; kill <= kills; kill++) {
    const way = wayOf(kill)
    const { signal, exitCode, errors, hasChecked } = await liveAndDie(
      directory,
      writers,
      random,
      way,
      isEncrypted,
    )
    expect({ kill, way, isEncrypted, signal, exitCode, errors: withoutNotes(errors) }).toEqual({
      ...{ kill, way, isEncrypted },
      signal: 'SIGKILL',
      exitCode: null,
      errors: '',
    })
    if (hasChecked) checked++
    counts[way] = (counts[way] ?? 0) + 1
  }
  const { exitCode, errors, isDone } = await listen(
    start(directory, 'check', writers, { isEncrypted }),
    writers,
    () => {},
  )
  expect({ exitCode, errors, isDone }).toEqual({ exitCode: 0, errors: '', isDone: true })
  const batches = writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
  const ways = Object.entries(counts).map(([way, count]) => `${count} ${way}`)
  console.log(
    `${kills} kills ${isEncrypted ? 'of an encrypted store ' : ''}(${ways.join(', ')}), ${checked + 1} recoveries checked, ${batches} batches, 0 lost, 0 torn`,
  )
  return { checked, batches }
}

/** What the JavaScript engine says of a thread that runs out of memory. */
function withoutNotes(errors: string): string {
  return errors.replace(/^(<---.*|\[\d+:.*|.*JS stacktrace.*|\s*)$/gm, '').trim()
}
