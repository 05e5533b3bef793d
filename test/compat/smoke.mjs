// What the installed package does on whatever runs this: writes, a flush and a merge on the thread, the log, views,
// a follower over HTTP, abstract-level, opening again.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, open } from 'varve'
import { VarveLevel } from 'varve/level'
import { openFollower, serveLog } from 'varve/replication'
import { everyCrashPoint } from 'varve/testing'

const root = mkdtempSync(join(tmpdir(), 'varve-smoke-'))
const ENTRIES = 20_000
const STEPS = []

async function step(name, work) {
  await work()
  STEPS.push(name)
}

function checkRequire() {
  assert.equal(createRequire(import.meta.url)('varve').open, open)
}

async function checkStore() {
  const options = { memtableBytes: 1 << 18, segmentBytes: 1 << 18, durability: 'os' }
  const db = await open(join(root, 'store'), options)
  for (let i = 0; i < ENTRIES; i += 100) {
    const ops = Array.from({ length: 100 }, (_, j) => ({
      type: 'put',
      key: `key:${(i + j) % (ENTRIES / 2)}`,
      value: `value ${i + j} `.repeat(8),
    }))
    await db.batch(ops)
  }
  await db.flush()
  await db.compact()
  const { flushes, compactions } = db.stats().jobs
  assert.ok(flushes > 1 && compactions > 0)
  assert.equal((await db.keys({ prefix: 'key:' }).all()).length, ENTRIES / 2)
  assert.equal(db.getSync('key:7'), `value ${ENTRIES / 2 + 7} `.repeat(8))
  await db.close()
  const again = await open(join(root, 'store'), options)
  assert.equal((await again.verify()).entries, ENTRIES / 2)
  await again.close()
}

async function checkLog() {
  const db = await open(join(root, 'log'), { keyEncoding: 'tuple', valueEncoding: 'json' })
  const view = await db.view('count', {
    version: 1,
    apply: (change, state) => state.put('last', String(change.position)),
  })
  const consumer = await db.consumer('reader')
  await db.put(['a', 1], { one: 1 })
  await db.transaction(async (tx) => tx.put(['a', 2], { two: (await tx.get(['a', 1])).one + 1 }))
  const { value, position } = await db.getEntry(['a', 2])
  assert.deepEqual(value, { two: 2 })
  const seen = []
  await consumer.run((change) => {
    seen.push(...change.ops.map((op) => op.key))
  })
  assert.deepEqual(seen, [
    ['a', 1],
    ['a', 2],
  ])
  assert.ok(Number(await view.get('last', { atLeast: position })) >= position)
  await db[Symbol.asyncDispose]()
}

async function checkFollower() {
  const leader = await open(join(root, 'leader'))
  const server = await serveLog(leader)
  const follower = await openFollower(join(root, 'follower'), { leader: server.url })
  const position = await leader.put('a', '1')
  assert.equal(await follower.get('a', { atLeast: position, timeoutMs: 10_000 }), '1')
  assert.equal(await compare(leader, follower), undefined)
  await follower.close()
  await server.close()
  await leader.close()
}

async function checkLevel() {
  const db = new VarveLevel(join(root, 'level'), { valueEncoding: 'json' })
  await db.batch([{ type: 'put', key: 'a', value: [1] }])
  assert.deepEqual(await db.iterator().all(), [['a', [1]]])
  await db.close()
}

async function checkCrashes() {
  const { states } = await everyCrashPoint({
    async run({ env }) {
      const db = await open('/db', { env, durability: 'disk' })
      await db.put('a', '1')
      await db.close()
    },
    async check({ env }) {
      const db = await open('/db', { env })
      await db.close()
    },
  })
  assert.ok(states > 10)
}

await step('require', checkRequire)
await step('store', checkStore)
await step('log', checkLog)
await step('follower', checkFollower)
await step('level', checkLevel)
await step('crashes', checkCrashes)
rmSync(root, { recursive: true })
console.log(`ok: ${STEPS.join(', ')}`)
