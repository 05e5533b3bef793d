/** Consumers: how fast they run, and what one beside a writer costs it. `node bench/consumer.bench.js` after a build. */
import { keyOf } from './data.js'
import { median, perSecond, rateSince, show, valueAt, withStore, write } from './feed-store.js'

const CHANGES = 300_000

/** Each round: `CHANGES` changes from memory, in a store of its own. */
async function runRate(name, handler) {
  const rates = []
  for (let round = 0; round < 3; round++) {
    await withStore({}, async (db) => {
      await write(db, CHANGES, 256)
      const consumer = await db.consumer('c')
      const start = performance.now()
      await consumer.run(handler)
      rates.push(rateSince(start, CHANGES))
    })
  }
  show(name, perSecond(median(rates)))
}

/** From the call of put to the call of the handler. */
async function latency() {
  await withStore({}, async (db) => {
    const latencies = []
    const consumer = await db.consumer('c')
    let start = 0
    let arrived = () => {}
    const running = consumer.run(
      () => {
        latencies.push(performance.now() - start)
        arrived()
      },
      { live: true },
    )
    for (let i = 0; i < 5000; i++) {
      const next = new Promise((resolve) => {
        arrived = resolve
      })
      start = performance.now()
      await db.put(keyOf(i), valueAt(i))
      await next
    }
    await consumer.close()
    await running
    const sorted = latencies.toSorted((a, b) => a - b)
    show('put to handler, median', `${(sorted[2500] * 1000).toFixed(0)} µs`)
    show('put to handler, 99 %', `${(sorted[4950] * 1000).toFixed(0)} µs`)
  })
}

/** The writer's rate without and with a live consumer beside it, in turns. */
async function costToWriter(name, options, count, inFlight) {
  await withStore(options, async (db) => {
    const alone = []
    const beside = []
    await write(db, count, inFlight)
    for (let round = 0; round < 5; round++) {
      alone.push(await write(db, count, inFlight))
      const consumer = await db.consumer(`c${round}`, { from: 'now' })
      let seen = 0
      const running = consumer.run(() => void seen++, { live: true })
      beside.push(await write(db, count, inFlight))
      while (consumer.lag > 0) await new Promise((resolve) => setTimeout(resolve, 1))
      await consumer.close()
      await running
      if (seen !== count) throw new Error(`${seen} of ${count} changes`)
      await consumer.close()
    }
    const [without, with_] = [median(alone), median(beside)]
    show(`${name}, alone`, perSecond(without))
    show(`${name}, beside a live consumer`, perSecond(with_))
    show('  it costs the writer', `${((1 - with_ / without) * 100).toFixed(1)} %`)
  })
}

async function transactions() {
  await withStore({}, async (db) => {
    await write(db, 10_000, 256)
    const count = 50_000
    const start = performance.now()
    for (let i = 0; i < count; i += 64) {
      const running = []
      for (let j = i; j < i + 64; j++) {
        running.push(
          db.transaction(async (tx) => {
            await tx.get(keyOf(j % 10_000))
            tx.put(keyOf(j % 10_000), valueAt(j))
          }),
        )
      }
      await Promise.all(running)
    }
    show('transaction of one read and one write, 64 in flight', perSecond(rateSince(start, count)))
  })
}

const COUNT_KEY = Buffer.from('count')
await runRate('run, a handler without effects', () => {})
await runRate('run, one put for each change', ({ ops: [op] }, tx) => tx.put(COUNT_KEY, op.value))
await runRate('run, one read and one put for each change', ({ ops: [op] }, tx) => {
  tx.getSync(COUNT_KEY)
  tx.put(COUNT_KEY, op.value)
})
await latency()
await costToWriter('durable puts, 64 in flight', { durability: 'disk' }, 20_000, 64)
await costToWriter('puts awaited one by one', {}, 100_000, 1)
await costToWriter('puts, 256 in flight', {}, 200_000, 256)
await transactions()
