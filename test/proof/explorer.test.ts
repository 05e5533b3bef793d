import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { explore, filesBelow, hasStrace, record, type Workload } from '../explorer/explore.js'
import { DEPTH } from './depth.js'

const STATES_MIN = 5000
const canTrace = hasStrace()
if (!canTrace) console.log('skipped: no strace')
let total = 0

const WORKLOADS: readonly (readonly [Workload, number])[] = [
  ['creation', 30],
  ['puts', 3],
  ['checkpoint', 4],
  ['close', 10],
  ['retained', 4],
]

it.skipIf(!canTrace).each(WORKLOADS)(
  'no crash at any system call of a workload loses or changes anything: %s',
  async (workload, draws) => {
    const root = join(temporaryDirectory(), 'root')
    const events = await record(root, workload)
    const exploration = await explore(events, { root, files: new Map(), position: 0, draws: draws * DEPTH })
    console.log(`${workload}: ${JSON.stringify(exploration)}, 0 bad`)
    total += exploration.states
    if (workload !== 'puts') return
    const { counts } = exploration
    const created = (pattern: RegExp) =>
      events.filter((event) => event.kind === 'create' && pattern.test(event.path)).length
    expect(created(/\.seg$/)).toBeGreaterThan(5)
    expect(created(/MANIFEST-/)).toBe(2)
    expect(counts['remove']).toBeGreaterThan(5)
  },
)

it.skipIf(!canTrace)('no crash during the recovery from a crash loses or changes anything', async () => {
  const root = join(temporaryDirectory(), 'root')
  const before = await record(root, 'puts', 70)
  const promises = before.flatMap((event) =>
    event.kind === 'say' && event.line.startsWith('A ') ? [event.line] : [],
  )
  const position = Number(promises.at(-1)!.slice(2))
  expect(position).toBeGreaterThan(50)
  const files = filesBelow(root)
  const events = await record(root, 'recovery')
  const exploration = await explore(events, { root, files, position, draws: 10 * DEPTH })
  console.log(`recovery: ${JSON.stringify(exploration)}, 0 bad`)
  total += exploration.states
})

afterAll(() => {
  if (!canTrace) return
  console.log(`${total} states of recorded system calls, 0 bad`)
  expect(total).toBeGreaterThan(STATES_MIN)
})
