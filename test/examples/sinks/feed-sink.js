// @ts-check
// Keeps a sink, anything outside the store, in step with it. The sink keeps its own position, in the transaction that
// applies a change where it has transactions. So what is delivered again after a crash is known and skipped, and what
// the sink lost is delivered again. A sink without a position, or one that the log no longer reaches back to, gets a
// snapshot first. The consumer keeps the log for it while this program is down.
import { setTimeout as sleep } from 'node:timers/promises'
import { inBatches } from './changes.js'

/**
 * @typedef {import('./changes.js').Change} Change
 * @typedef {import('varve').Database<string, string>} Store
 * @typedef {Awaited<ReturnType<Store['consumer']>>} Consumer
 *
 * @typedef {object} Sink
 * @property {() => Promise<number | undefined>} position of the last change that it holds; undefined: none, or half a
 * snapshot
 * @property {() => Promise<void>} clear forgets the position, then everything
 * @property {(changes: readonly Change[], before: number | undefined, after: number | undefined) => Promise<number | undefined>} apply
 * applies the changes and moves the position from `before` to `after` (undefined: a part of a snapshot); up to what
 * it resolves to, nothing is needed again
 * @property {() => Promise<number | undefined>} [flush] as `apply` resolves, at the end
 *
 * @typedef {object} FeedOptions
 * @property {boolean} [live] goes on with what is written next; else ends at the end of the log
 * @property {AbortSignal} [signal]
 * @property {number} [changesMax] in one transaction of the sink, default 500
 * @property {(skipped: number) => void} [onSkipped] changes that the sink had already
 * @property {(error: unknown) => void} [onRetry] the sink failed; tried again soon
 */

const SNAPSHOT_ENTRIES = 1000
const RETRY_MS = 100

/**
 * Feeds the sink until the end of the log, or the signal. Failures of the sink are tried again, those of the store are
 * thrown.
 *
 * @param {Store} store
 * @param {Consumer} consumer
 * @param {Sink} sink
 * @param {FeedOptions} [options]
 */
export async function feedSink(store, consumer, sink, options = {}) {
  const { signal, onRetry } = options
  for (;;) {
    try {
      return await feedOnce(store, consumer, sink, options)
    } catch (error) {
      if (signal?.aborted) return
      const { code } = /** @type {{ code?: string }} */ (error)
      if (code === 'VARVE_POSITION_LOST') await sink.clear()
      else if (code?.startsWith('VARVE_')) throw error
      onRetry?.(error)
      await sleep(RETRY_MS, undefined, { ...(signal && { signal }) }).catch(() => {})
    }
  }
}

/** @param {Store} store @param {Consumer} consumer @param {Sink} sink @param {FeedOptions} options */
async function feedOnce(store, consumer, sink, { live, signal, changesMax = 500, onSkipped }) {
  let position = (await sink.position()) ?? (await copy(store, consumer, sink))
  // A sink that was set back by its own crash or backup.
  if (position < consumer.position) await consumer.seek(position)
  for await (const changes of inBatches(consumer.read({ live, signal }), changesMax)) {
    const start = position
    const fresh = changes.filter((change) => change.position > start)
    if (fresh.length < changes.length) onSkipped?.(changes.length - fresh.length)
    const after = changes[changes.length - 1]?.position ?? position
    let safe = after
    if (fresh.length > 0) {
      safe = (await sink.apply(fresh, position, after)) ?? 0
      position = after
    }
    if (safe > 0) await consumer.ack(Math.min(safe, after))
  }
  const safe = await sink.flush?.()
  if (safe !== undefined) await consumer.ack(safe)
}

/**
 * The whole store as it is now, and the position of that.
 *
 * @param {Store} store @param {Consumer} consumer @param {Sink} sink
 */
async function copy(store, consumer, sink) {
  const snapshot = store.snapshot()
  try {
    // From here on the log is kept, also if the copy is interrupted.
    await consumer.seek(snapshot.position)
    await sink.clear()
    const entries = store.entries({ snapshot })
    for (let part = await entries.nextv(SNAPSHOT_ENTRIES); part.length > 0; ) {
      /** @type {Change['ops']} */
      const ops = part.map(([key, value]) => ({ type: 'put', key, value }))
      await sink.apply([{ position: snapshot.position, timestamp: 0, ops }], undefined, undefined)
      part = await entries.nextv(SNAPSHOT_ENTRIES)
    }
    await sink.apply([], undefined, snapshot.position)
    return snapshot.position
  } finally {
    snapshot.close()
  }
}
