/** The change feed: from memory, from files, live beside a writer, and out of segments. `node bench/feed.bench.js` after a build. */
import { keyOf } from './data.js'
import { CHANGE_BYTES, median, perSecond, rateSince, show, valueAt, withStore, write } from './feed-store.js'

const CHANGES = 500_000

async function drain(feed, count) {
  const start = performance.now()
  let seen = 0
  for await (const { ops } of feed) {
    seen += ops.length
    if (seen === count) break
  }
  if (seen !== count) throw new Error(`${seen} of ${count} changes`)
  return rateSince(start, count)
}

async function throughput(name, options, prepare) {
  await withStore(options, async (db) => {
    await write(db, CHANGES, 256)
    await prepare(db)
    const rates = []
    for (let i = 0; i < 3; i++) rates.push(await drain(db.changes({ after: 0 }), CHANGES))
    show(name, perSecond(median(rates)))
  })
}

async function latency() {
  await withStore({}, async (db) => {
    const latencies = []
    const feed = db.changes({ live: true })
    for (let i = 0; i < 5000; i++) {
      const next = feed.next()
      const start = performance.now()
      const put = db.put(keyOf(i), valueAt(i))
      await next
      latencies.push(performance.now() - start)
      await put
    }
    await feed.return()
    show('put to subscriber, median', `${(median(latencies) * 1000).toFixed(1)} us`)
  })
}

/** How much slower the writer is while a feed follows it, in the same thread. */
async function cost(name, inFlight, feedOptions) {
  const count = CHANGES
  const alone = []
  const followed = []
  for (let i = 0; i < 5; i++) {
    alone.push(await withStore({}, (db) => write(db, count, inFlight)))
    const rate = await withStore({}, async (db) => {
      const feed = db.changes({ live: true, ...feedOptions })
      const reader = (async () => {
        for await (const { position } of feed) if (position === count) return
      })()
      const written = await write(db, count, inFlight)
      await Promise.race([reader, feed.return()])
      return written
    })
    followed.push(rate)
  }
  const loss = 1 - median(followed) / median(alone)
  show(name, `${perSecond(median(followed))}, ${(loss * 100).toFixed(1)} % less`)
}

async function rebuilds() {
  await withStore({ log: {} }, async (db) => {
    await write(db, CHANGES, 256)
    await db.compact()
    show(
      'compacted changes out of the segments',
      perSecond(await drain(db.changes({ compacted: true }), CHANGES)),
    )
    const start = performance.now()
    let entries = 0
    for await (const event of db.bootstrap()) if (event.type === 'snapshot') entries += event.entries.length
    if (entries !== CHANGES) throw new Error(`${entries} of ${CHANGES} entries`)
    show('bootstrap, entries of the snapshot', perSecond(rateSince(start, CHANGES)))
    const digestStart = performance.now()
    await db.digest()
    show('digest, entries', perSecond(rateSince(digestStart, CHANGES)))
  })
}

await throughput(`changes of ${CHANGE_BYTES} bytes from memory`, {}, async () => {})
await throughput(`changes of ${CHANGE_BYTES} bytes from files`, {}, (db) => db.flush())
await latency()
await cost('puts, 256 in flight, beside a live feed', 256, {})
await cost('the same, none of it with the prefix asked for', 256, { prefix: Buffer.from('none such') })
await cost('puts, one by one, beside a live feed', 1, {})
await rebuilds()
