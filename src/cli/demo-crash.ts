import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { BatchOp } from '../store/contract.js'
import { type DemoStore, openDemoStore } from './demo-data.js'
import { claim, DemoFailure, note } from './demo-report.js'
import { UsageError } from './failure.js'
import { formatCount, formatDuration, plural } from './format.js'

const BATCHES = 200
const BATCH_RECORDS = 100
const KILL_AFTER_ACKS = BATCHES / 2
const IN_FLIGHT_MAX = 4
// The writer stays within reach of what the parent has seen, so that on no machine it is done before the kill.
const LEAD_MAX = 40

/** The second process: writes durable batches and reports each one that was acknowledged. */
export async function runDemoWriter(directory: string): Promise<void> {
  if (process.send === undefined) throw new UsageError('demo-writer is for the demo to start')
  let seen = 0
  let wake: () => void = () => undefined
  process.on('message', (message: { seen: number }) => {
    seen = message.seen
    wake()
  })
  process.on('disconnect', () => process.exit(1))
  const store = await openDemoStore(directory)
  const inFlight: Promise<void>[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    while (batch - seen > LEAD_MAX) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const commit = store.batch(recordsOf(batch), { durability: 'disk' })
    inFlight.push(commit.then(() => void process.send?.({ acknowledged: batch })))
    if (inFlight.length >= IN_FLIGHT_MAX) await inFlight.shift()
  }
  await Promise.all(inFlight)
  await store.close()
  process.disconnect()
}

/** Starts the writer on a store that is closed, kills it in the middle, and returns the batches it acknowledged. */
export async function crashWriter(directory: string): Promise<ReadonlySet<number>> {
  const acknowledged = new Set<number>()
  const writer = fork(fileURLToPath(new URL('./main.js', import.meta.url)), ['demo-writer', directory], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const killOnExit = () => writer.kill('SIGKILL')
  process.once('exit', killOnExit)
  note(`process ${writer.pid} writes batches of ${BATCH_RECORDS}, each acknowledged once it is on disk`)
  writer.on('message', (message: { acknowledged: number }) => {
    acknowledged.add(message.acknowledged)
    if (acknowledged.size >= KILL_AFTER_ACKS) writer.kill('SIGKILL')
    // It may be gone already; its exit says the rest.
    else writer.send({ seen: acknowledged.size }, () => undefined)
  })
  // Acknowledgements on their way when it died are still delivered before the disconnect.
  const disconnected = once(writer, 'disconnect')
  const [status, signal] = (await once(writer, 'exit')) as [number | null, string | null]
  await disconnected
  process.off('exit', killOnExit)
  if (signal !== 'SIGKILL') throw new DemoFailure(`the writer ended by itself with status ${status}`)
  claim(
    acknowledged.size >= KILL_AFTER_ACKS && acknowledged.size < BATCHES,
    `killed by SIGKILL when ${acknowledged.size} of ${BATCHES} batches were acknowledged`,
  )
  return acknowledged
}

export async function reopenAfterCrash(directory: string): Promise<DemoStore> {
  const startedAt = performance.now()
  const store = await openDemoStore(directory)
  note(`reopened in ${formatDuration(performance.now() - startedAt)}, recovery included`)
  return store
}

/** Proves that each batch is there whole or not at all, and whole if it was acknowledged. Returns the records found. */
export async function proveBatches(store: DemoStore, acknowledged: ReadonlySet<number>): Promise<number> {
  let unreported = 0
  const lost: number[] = []
  const torn: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    const expected = recordsOf(batch)
    const found = await store.entries({ prefix: batchPrefix(batch) }).all()
    const isWhole =
      found.length === expected.length &&
      found.every(([key, value], i) => {
        const op = expected[i]!
        return op.type === 'put' && key === op.key && JSON.stringify(value) === JSON.stringify(op.value)
      })
    if (acknowledged.has(batch) && !isWhole) lost.push(batch)
    if (found.length > 0 && !isWhole) torn.push(batch)
    if (isWhole && !acknowledged.has(batch)) unreported++
  }
  const records = acknowledged.size * BATCH_RECORDS
  claim(
    lost.length === 0,
    `every acknowledged batch is there whole: ${formatCount(records)} records${named(lost)}`,
  )
  claim(
    torn.length === 0,
    `no batch is there in part; ${plural(unreported, 'more batch')} had been committed, not yet reported${named(torn)}`,
  )
  return records + unreported * BATCH_RECORDS
}

function named(batches: readonly number[]): string {
  return batches.length === 0 ? '' : ` (but not batch ${batches.join(', ')})`
}

function batchPrefix(batch: number): string {
  return `crash:${String(batch).padStart(4, '0')}:`
}

function recordsOf(batch: number): BatchOp<string, unknown>[] {
  return Array.from({ length: BATCH_RECORDS }, (_, record) => ({
    type: 'put',
    key: `${batchPrefix(batch)}${String(record).padStart(3, '0')}`,
    value: { batch, record, text: `written by the process that dies, record ${record} of batch ${batch}` },
  }))
}
