/** What benchmarks watch beside their rates: the event loop, this thread's own work, resident memory, latencies. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { threadMs } from './thread-time.js'

export const MIB = 2 ** 20

/**
 * Milliseconds that this thread has waited for a core, to the point. How long it ran is known only as of the last
 * tick of the clock, up to 4 ms ago, so what else a delay is made of is counted as its own. Linux only.
 */
function waitedMs() {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[1]) / 1e6
  } catch {
    return Number.NaN
  }
}

/** A look at both clocks that took longer was interrupted between them: a wait would be counted for the wrong stretch. */
const LOOK_MS = 0.15
const LOOKS_MAX = 20

/** What time it is, and how long this thread has waited for a core until then. */
function lookAtClocks() {
  for (let look = 1; ; look++) {
    const startMs = performance.now()
    const waited = waitedMs()
    const nowMs = performance.now()
    if (nowMs - startMs < LOOK_MS || look === LOOKS_MAX) return [nowMs, waited]
  }
}

/** What no task is to take. Between two looks there is a millisecond of waiting, too. */
const LONG_MS = 5

/** Of stretches, what was not the collection of garbage: the longest, from when to when, and how many were long. */
function withoutCollections(stretches, collections) {
  let codeMaxMs = 0
  let longest = [0, 0]
  const long = []
  let collectionMaxMs = 0
  for (const { duration } of collections) collectionMaxMs = Math.max(collectionMaxMs, duration)
  for (const { from, to, ms } of stretches) {
    let left = ms
    for (const { startTime, duration } of collections)
      if (startTime >= from && startTime < to) left -= Math.min(duration, to - startTime)
    if (left > LONG_MS + 1) long.push([from, to])
    if (left <= codeMaxMs) continue
    codeMaxMs = left
    longest = [from, to]
  }
  return { codeMaxMs, longest, long, collectionMaxMs }
}

/**
 * Runs `work` under a watch on the event loop and on resident memory. Of the stretches of the event loop `ownMaxMs` is
 * the longest without waits for a core that this system knows of; what the host of a virtual machine takes is in it.
 * `workMaxMs` is the longest by this thread's processor time, which waits for a disk are not in.
 */
export async function watched(work) {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  let residentMax = 0
  let ownMaxMs = 0
  let workMaxMs = 0
  let workLong = 0
  const stretches = []
  const collections = []
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  delays.enable()
  // What it took to begin to watch is nobody's stretch.
  let [lastMs, lastWaitedMs] = lookAtClocks()
  let lastWorkMs = threadMs()
  const start = lastMs
  const look = () => {
    const [nowMs, nowWaitedMs] = lookAtClocks()
    const nowWorkMs = threadMs()
    const workMs = nowWorkMs - lastWorkMs
    lastWorkMs = nowWorkMs
    workMaxMs = Math.max(workMaxMs, workMs)
    if (workMs > LONG_MS) workLong++
    const ownMs = nowMs - lastMs - (nowWaitedMs - lastWaitedMs)
    ownMaxMs = Math.max(ownMaxMs, ownMs)
    if (ownMs > 2) stretches.push({ from: lastMs, to: nowMs, ms: ownMs })
    lastMs = nowMs
    lastWaitedMs = nowWaitedMs
    residentMax = Math.max(residentMax, process.memoryUsage.rss())
  }
  const sampler = setInterval(look, 1)
  await work()
  look()
  const seconds = (performance.now() - start) / 1000
  delays.disable()
  clearInterval(sampler)
  const delayMaxMs = delays.max / 1e6
  const delayP999Ms = delays.percentile(99.9) / 1e6
  // What was collected is told a turn later.
  await new Promise((resolve) => setTimeout(resolve, 10))
  observer.disconnect()
  const code = withoutCollections(stretches, collections)
  return { seconds, residentMax, ownMaxMs, workMaxMs, workLong, ...code, delayMaxMs, delayP999Ms }
}

/**
 * What the machine alone does to an event loop: turns of 1 ms of work, beside `threads` threads that do nothing but
 * work at the priority of background threads. Nobody has a long stretch here, so every delay is a wait for a core.
 */
export async function bareLoop(seconds, threads = 1) {
  const workers = Array.from({ length: threads }, () => new Worker(BUSY, { eval: true }))
  await Promise.all(workers.map((worker) => once(worker, 'online')))
  const seen = await watched(async () => {
    const endMs = performance.now() + seconds * 1000
    while (performance.now() < endMs) {
      const turnMs = performance.now() + 1
      while (performance.now() < turnMs);
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  await Promise.all(workers.map((worker) => worker.terminate()))
  return seen
}

/** Works, and makes as much garbage as a merge does. */
const BUSY = `
  const { readlinkSync } = require('node:fs')
  require('node:os').setPriority(Number(readlinkSync('/proc/thread-self').split('/').pop()), 10)
  const bytes = Buffer.alloc(1 << 20)
  for (let at = 0; ; at = (at + 128) % bytes.length) Buffer.from(bytes.subarray(at, at + 64)).fill(at)`

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
