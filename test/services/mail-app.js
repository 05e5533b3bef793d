// A program that takes mails and has them read, with everything derived from its log: a mirror in PostgreSQL, one in
// Redis, one in Redis without transactions, counters of unread mails, a search index, a second store, a file. It may be
// killed at any moment, and now and then kills itself between a sink's commit and the consumer's acknowledgement.
// node mail-app.js <directory> <postgres> <redis> <seed> live|finish <mails>
import { join } from 'node:path'
import { createClient } from 'redis'
import { open } from 'varve'
import { feedSink } from '../examples/sinks/feed-sink.js'
import { FileSink } from '../examples/sinks/file-sink.js'
import { PlainSink } from '../examples/sinks/plain-sink.js'
import { PostgresSink } from '../examples/sinks/postgres-sink.js'
import { RedisCounter } from '../examples/sinks/redis-counter.js'
import { RedisSink } from '../examples/sinks/redis-sink.js'
import { SearchSink } from '../examples/sinks/search-sink.js'
import { StoreSink } from '../examples/sinks/store-sink.js'

const [directory, postgres, redisUrl, seed, mode, mails] = process.argv.slice(2)
const USERS = 12
const WORDS = ['log', 'segment', 'lake', 'ice', 'clay', 'layer', 'year', 'spring', 'meltwater', 'ångström']
const KILLS = 1 / 120

let state = Number(seed)
/** A whole number below `limit`: 16 bits of a linear congruential generator. */
function below(limit) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor(((state >>> 16) / 65_536) * limit)
}

const print = (event) => process.stdout.write(`${JSON.stringify(event)}\n`)
const store = await open(join(directory, 'mails'), { log: { maxBytes: 0 } })
const second = await open(join(directory, 'second'))
const redis = createClient({ url: redisUrl, socket: { reconnectStrategy: 50 } })
redis.on('error', () => {})
await redis.connect()
const postgresSink = new PostgresSink({ connectionString: postgres }, 'mails')
const file = new FileSink(join(directory, 'warehouse.jsonl'))
const sinks = {
  postgres: postgresSink,
  redis: new RedisSink(redis, 'mails'),
  plain: new PlainSink(redis, 'plain'),
  counter: new RedisCounter(redis, 'unread'),
  search: new SearchSink(join(directory, 'search.json'), 200),
  file,
  store: new StoreSink(second),
}

/** Between the sink's commit and the acknowledgement is where a delivery comes twice. */
function mortal(consumer) {
  return {
    get position() {
      return consumer.position
    },
    read: (options) => consumer.read(options),
    seek: (position) => consumer.seek(position),
    ack: async (position) => {
      if (mode === 'live' && Math.random() < KILLS) process.kill(process.pid, 'SIGKILL')
      await consumer.ack(position)
    },
  }
}

async function feed(name) {
  const consumer = mortal(await store.consumer(name, { from: 'now' }))
  await feedSink(store, consumer, sinks[name], {
    live: mode === 'live',
    changesMax: 50,
    onSkipped: (count) => print({ type: 'skipped', sink: name, count }),
    onRetry: (error) => print({ type: 'retry', sink: name, error: String(error) }),
  })
}

async function receiveMails() {
  const unread = await store.keys({ prefix: 'mail/' }).all()
  let next = Number((await store.get('next')) ?? 0)
  for (let i = 0; i < Number(mails); i++) {
    const ops = [{ type: 'put', key: 'next', value: String(next + 3) }]
    for (let j = 0; j < 1 + below(3); j++) {
      const key = `mail/${below(USERS)}/${String(next++).padStart(7, '0')}`
      const words = Array.from({ length: 3 + below(5) }, () => WORDS[below(WORDS.length)])
      ops.push({ type: 'put', key, value: words.join(' ') })
      unread.push(key)
    }
    next = Number(ops[0].value)
    while (unread.length > 150 && below(3) > 0) {
      const [key] = unread.splice(below(unread.length), 1)
      ops.push({ type: 'del', key })
    }
    await store.batch(ops)
    if (below(150) === 0) {
      const prefix = `mail/${below(USERS)}/`
      await store.clear({ prefix })
      for (let j = unread.length - 1; j >= 0; j--) if (unread[j].startsWith(prefix)) unread.splice(j, 1)
    }
    if (i % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  print({ type: 'received' })
}

const feeding = Object.keys(sinks).map(feed)
print({ type: 'started' })
if (mode === 'live') await receiveMails()
await Promise.all(feeding)
print({
  type: 'finished',
  search: sinks.search.size,
  found: sinks.search.search('meltwater').sort(),
  positions: Object.fromEntries(
    await Promise.all(Object.entries(sinks).map(async ([name, sink]) => [name, await sink.position()])),
  ),
  lags: store.stats().consumers?.map(({ name, lag }) => [name, lag]),
})
await Promise.all([postgresSink.close(), file.close(), redis.close()])
await second.close()
await store.close()
