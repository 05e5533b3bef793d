import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import type { EncryptionShare } from '../encryption/share.js'
import { dump, type OpenedStore, openMemory, pad, STORE } from '../store/helpers.js'

/** A store to damage: what it holds, and an earlier state of the same files. */
export interface Victim {
  readonly name: string
  readonly fs: MemoryFileSystem
  readonly older: MemoryFileSystem
  readonly wanted: string
  /** What it held before each of the last writes: a log that is not closed may end at any of them. */
  readonly earlier: ReadonlySet<string>
  /** Every change in its logs, oldest first. */
  readonly history: string
  readonly options: OpenOptions
}

const BASE: OpenOptions = {
  workers: 0,
  memory: 2 ** 20,
  // Logs make room ahead up to the end of their memory.
  memtableBytes: 4096,
  blockBytes: 150,
  segmentBytes: 900,
  l0SegmentsMax: 50,
  blobMinBytes: 32,
  log: { maxBytes: 2 ** 20 },
}
const CHECKPOINT = '/checkpoint'

export type End = 'closed' | 'crashed' | 'checkpoint'

/** Every kind of record, in segments of two levels, in complete logs and in the last one. */
async function fill(db: OpenedStore['db']): Promise<Set<string>> {
  const earlier = new Set<string>()
  const note = async () => earlier.add(JSON.stringify(await dump(db)))
  for (let i = 0; i < 24; i++) void db.put(pad(i), `value ${i} `.repeat(i % 5 === 0 ? 5 : 3))
  await db.compact()
  for (let i = 0; i < 8; i++) void db.put(pad(i * 2), `second ${i}`)
  await db.clear({ gte: pad(15), lt: pad(17) })
  await db.flush()
  await note()
  await db.batch([
    { type: 'put', key: 'in the log', value: 'x'.repeat(30) },
    { type: 'del', key: pad(1) },
  ])
  await note()
  await db.clear({ gte: pad(20), lt: pad(21) })
  for (let i = 0; i < 3; i++) {
    await note()
    await db.put(`log ${i}`, 'y'.repeat(15), { durability: 'disk' })
  }
  return earlier
}

/** The log from its oldest change on, a line each. */
export async function historyOf(db: OpenedStore['db']): Promise<string> {
  let history = ''
  for await (const { position, ops } of db.changes()) history += `${position} ${JSON.stringify(ops)}\n`
  return history
}

export async function makeVictim(
  end: End,
  extra: OpenOptions = {},
  share: EncryptionShare = {},
): Promise<Victim> {
  const options = { ...BASE, ...extra, ...share }
  const { db, env } = await openMemory(options)
  await db.put('before', 'everything')
  await db.flush()
  const older = env.fs.clone()
  const earlier = await fill(db)
  const wanted = JSON.stringify(await dump(db))
  const history = await historyOf(db)
  const name = `${end} ${JSON.stringify(extra)}${share.encryption ? ' encrypted' : ''}`
  if (end === 'crashed') {
    const fs = env.fs.clone()
    await db.close()
    return { name, fs, older, wanted, earlier, history, options }
  }
  if (end === 'closed') {
    await db.close()
    return { name, fs: env.fs, older, wanted, earlier: new Set(), history, options }
  }
  await db.checkpoint(CHECKPOINT)
  await db.close()
  const fs = env.fs.clone()
  for (const file of fs.list(STORE)) fs.remove(`${STORE}/${file}`)
  for (const file of fs.list(CHECKPOINT))
    fs.writeFile(`${STORE}/${file}`, fs.readFile(`${CHECKPOINT}/${file}`))
  return { name, fs, older, wanted, earlier: new Set(), history, options }
}
