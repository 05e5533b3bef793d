// One process of a replicated pair, run until it is killed.
//
// node peer.js lead <directory> <port>               serves and writes; prints `url …`, then `acked <n>` as writes return
// node peer.js follow <directory> <leader>           follows; prints `at <position>` as it goes
// node peer.js check <directory>                     prints `state <position> <count of keys> <last key> …` as JSON
import { open } from '../../dist/index.js'
import { openFollower, serveLog } from '../../dist/replication.js'

const LIFE_MS = 150_000
const [mode, directory, argument] = process.argv.slice(2)
const options = { memtableBytes: 64 * 1024, log: { maxBytes: 1 << 30 } }
setTimeout(() => process.exit(9), LIFE_MS).unref()

const say = (line) => process.stdout.write(`${line}\n`)

/** Batch n moves a marker: one key goes, one comes, and a count says how many there were. */
const batchOf = (n) => [
  { type: 'put', key: `own/${n}`, value: `${n} ${'x'.repeat(50)}` },
  { type: 'del', key: `own/${n - 1}` },
  { type: 'put', key: 'count', value: String(n) },
]

if (mode === 'lead') {
  const db = await open(directory, options)
  const server = await serveLog(db, { port: Number(argument), heartbeatMs: 50 })
  say(`url ${server.url}`)
  const first = Number((await db.get('count')) ?? 0) + 1
  for (let n = first; ; n++) {
    say(`acked ${await db.batch(batchOf(n))}`)
    await new Promise((resolve) => setTimeout(resolve, 3))
  }
} else if (mode === 'follow') {
  const follower = await openFollower(directory, { ...options, leader: argument })
  for await (const { position } of follower.changes({ after: follower.position, live: true }))
    say(`at ${position}`)
} else {
  const db = await open(directory, { ...options, readOnly: true })
  const count = Number((await db.get('count')) ?? 0)
  const own = await db.keys({ prefix: 'own/' }).all()
  const log = []
  for await (const { position, ops } of db.changes({ after: 0 }))
    log.push(`${position}:${JSON.stringify(ops)}`)
  say(JSON.stringify({ position: db.position, count, own, log }))
  await db.close()
}
