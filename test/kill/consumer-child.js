// Runs a consumer over what a writer writes beside it, until it is killed.
//
// node consumer-child.js <directory> <mode: run | check> <durability: os | disk>
// Lines on stdout: `A n` (message n is acknowledged), `D count` (all were counted).
import { open } from '../../dist/index.js'
import { fail, limitLife, say } from './child-io.js'

const [directory, mode, durability] = process.argv.slice(2)
limitLife()

const db = await open(directory, {
  memory: 2 ** 21,
  memtableBytes: 16 * 1024,
  segmentBytes: 16 * 1024,
  blockBytes: 1024,
  l0SegmentsMax: 2,
  durability,
})

/** Counts a message, chains the sum of all, and notes that it was counted: any repetition or hole shows. */
async function handle({ ops }, tx) {
  for (const op of ops) {
    if (op.type !== 'put' || !op.key.startsWith('message/')) continue
    const count = Number((await tx.get('count')) ?? 0) + 1
    if (Number(op.key.slice(8)) !== count) fail(`MISSED: message ${op.key} comes as number ${count}`)
    tx.put('count', String(count))
    tx.put('sum', String(Number((await tx.get('sum')) ?? 0) + Number(op.value)))
    tx.del(`seen/${count - 8}`)
    tx.put(`seen/${count}`, op.value)
  }
}

/** What the counter says is what it has seen, and never more than there is. */
async function check() {
  const count = Number((await db.get('count')) ?? 0)
  const last = Number((await db.get('last')) ?? 0)
  if (count > last) fail(`INVENTED: ${count} messages counted of ${last}`)
  if (Number((await db.get('sum')) ?? 0) !== (count * (count + 1)) / 2)
    fail(`TORN: the sum of ${count} is wrong`)
  const seen = await db.entries({ prefix: 'seen/' }).all()
  if (seen.length !== Math.min(8, count)) fail(`TORN: ${seen.length} of the last 8 were seen`)
  return { count, last }
}

const { last } = await check()
const consumer = await db.consumer('counter')
if (mode === 'check') {
  await consumer.run(handle)
  const { count } = await check()
  if (count !== last) fail(`LOST: ${count} of ${last} messages were counted`)
  await db.close()
  say(`D ${count}`)
} else {
  void consumer.run(handle, { live: true })
  for (let n = last + 1; ; n++) {
    await db.batch([
      { type: 'put', key: `message/${n}`, value: String(n) },
      { type: 'put', key: 'filler', value: 'x'.repeat(n % 200) },
      { type: 'put', key: 'last', value: String(n) },
    ])
    say(`A ${n}`)
    if (n % 4 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}
