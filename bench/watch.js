/** What benchmarks watch beside their rates: the event loop, this thread's own work, resident memory, latencies. */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

export const MIB = 2 ** 20

/** Milliseconds that this thread has run on a core; the rest of a delay it waited for one. Linux only. */
function ownMs() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6
  } catch {
    return Number.NaN
  }
}

/** Runs `work` under a watch on the event loop and on resident memory. */
export async function watched(work) {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  let residentMax = 0
  let ownMaxMs = 0
  let lastOwnMs = ownMs()
  const sampler = setInterval(() => {
    const now = ownMs()
    ownMaxMs = Math.max(ownMaxMs, now - lastOwnMs)
    lastOwnMs = now
    residentMax = Math.max(residentMax, process.memoryUsage.rss())
  }, 1)
  delays.enable()
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1000
  delays.disable()
  clearInterval(sampler)
  const delayMaxMs = delays.max / 1e6
  return { seconds, residentMax, ownMaxMs, delayMaxMs, delayP999Ms: delays.percentile(99.9) / 1e6 }
}

/** Latencies in buckets an eighth of a power of two wide: any number of them in little memory. */
export class Latencies {
  #buckets = new Float64Array(8 * 40)
  #count = 0

  /** @param ms milliseconds. */
  add(ms) {
    const bucket = Math.max(0, Math.floor(Math.log2(ms * 1e5) * 8))
    this.#buckets[Math.min(bucket, this.#buckets.length - 1)]++
    this.#count++
  }

  /** Microseconds that a share of them (0.5, 0.999) did not exceed. */
  at(share) {
    let left = this.#count * share
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      left -= this.#buckets[bucket]
      if (left <= 0) return 2 ** ((bucket + 1) / 8) / 100
    }
    return Number.POSITIVE_INFINITY
  }
}

export function rate(perSecond) {
  return `${Math.round(perSecond).toLocaleString('en-US')}/s`
}
