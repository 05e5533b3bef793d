import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from '../database.js'
import type { Change } from '../feed/change.js'
import type { Transaction } from '../feed/transaction.js'
import { claim, DemoFailure, note, section } from './demo-report.js'
import { UsageError } from './failure.js'
import { formatCount } from './format.js'
import { closeAfter } from './store.js'

const MAIL = 'mail:'
const UNREAD = 'unread'
const MAILS = 1000
const KILL_AT = 500
/** Mails after which the consumer's process dies in the middle of its handler, life after life. */
const KILLS = [100, 250, 400, 700, 999] as const
const MAILS_DIRECTORY = 'counter-mails'
const COUNTER_DIRECTORY = 'counter-unread'
const LOG_DIRECTORY = 'counter-log'

/** Mails, and how many are unread: written one after the other, and kept by a consumer of the log. */
export async function showCounter(directory: string): Promise<void> {
  section('A counter beside the data')
  note('a process stores each mail, then adds one to the unread mails in another store')
  await killWriter(directory, 'dual')
  const [mails, unread] = await readDual(directory)
  claim(mails === KILL_AT, `killed by SIGKILL between the two writes; ${formatCount(mails)} mails are stored`)
  claim(unread === mails - 1, `the counter says ${formatCount(unread)}: wrong, and wrong from now on`)

  section('A counter that follows the log')
  note('the process stores mails; a consumer counts, and count and place in the log are one batch')
  for (const mail of KILLS) await killWriter(directory, String(mail))
  note(`killed ${KILLS.length} times by SIGKILL with the count written and not committed`)
  const store = await open(join(directory, LOG_DIRECTORY))
  await closeAfter(store, async () => {
    const before = Number((await store.get(UNREAD)) ?? 0)
    const stored = (await store.keys({ prefix: MAIL }).all()).length
    claim(
      before < stored,
      `after the last one the counter is behind: ${formatCount(before)} of ${formatCount(stored)}`,
    )
    const counter = await store.consumer('counter')
    await counter.run(count)
    claim(
      Number(await store.get(UNREAD)) === stored && stored === MAILS,
      `it goes on where it was: ${formatCount(stored)} mails, ${await store.get(UNREAD)} unread, each counted once`,
    )
    await counter.run(count)
    claim(Number(await store.get(UNREAD)) === stored, 'run again, it finds nothing left to count')
  })
}

/** The process that dies: `dual` writes to two stores; else a mail's number, at which the consumer's handler stops. */
export async function runCounterWriter(directory: string, mode: string): Promise<void> {
  if (process.send === undefined) throw new UsageError('demo-log-writer is for the demo to start')
  process.on('disconnect', () => process.exit(1))
  if (mode === 'dual') await writeDual(directory)
  else await writeAndCount(directory, Number(mode))
}

async function writeDual(directory: string): Promise<void> {
  const mails = await open(join(directory, MAILS_DIRECTORY))
  const counter = await open(join(directory, COUNTER_DIRECTORY))
  for (let i = 1; i <= MAILS; i++) {
    await mails.put(`${MAIL}${i}`, `mail number ${i}`)
    if (i === KILL_AT) await awaitDeath()
    await counter.put(UNREAD, String(i))
  }
}

async function writeAndCount(directory: string, deadlyMail: number): Promise<void> {
  const store = await open(join(directory, LOG_DIRECTORY))
  const counter = await store.consumer('counter', { from: 'start' })
  const counting = counter.run(
    async (change, tx) => {
      await count(change, tx)
      if (change.ops.some((op) => op.type === 'put' && op.key === `${MAIL}${deadlyMail}`)) await awaitDeath()
    },
    { live: true },
  )
  const first = (await store.keys({ prefix: MAIL }).all()).length + 1
  const last = Math.min(MAILS, deadlyMail + 50)
  for (let i = first; i <= last; i++) await store.put(`${MAIL}${i}`, `mail number ${i}`)
  await counting
}

async function count(change: Change<string, string>, tx: Transaction<string, string>): Promise<void> {
  const mails = change.ops.filter((op) => op.type === 'put' && op.key.startsWith(MAIL)).length
  if (mails > 0) tx.put(UNREAD, String(Number((await tx.get(UNREAD)) ?? 0) + mails))
}

/** Tells the demo that this is the moment. */
async function awaitDeath(): Promise<never> {
  process.send?.('now')
  return new Promise<never>(() => undefined)
}

async function killWriter(directory: string, mode: string): Promise<void> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const writer = fork(main, ['demo-log-writer', directory, mode], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const killOnExit = () => writer.kill('SIGKILL')
  process.once('exit', killOnExit)
  writer.once('message', killOnExit)
  const [status, signal] = (await once(writer, 'exit')) as [number | null, string | null]
  process.off('exit', killOnExit)
  if (signal !== 'SIGKILL') throw new DemoFailure(`the writer ended by itself with status ${status}`)
}

async function readDual(directory: string): Promise<[mails: number, unread: number]> {
  const mails = await open(join(directory, MAILS_DIRECTORY))
  return closeAfter(mails, async () => {
    const counter = await open(join(directory, COUNTER_DIRECTORY))
    return closeAfter(counter, async () => {
      const stored = (await mails.keys({ prefix: MAIL }).all()).length
      return [stored, Number(await counter.get(UNREAD))]
    })
  })
}
