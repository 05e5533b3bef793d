import { WeightedCache } from '../cache/weighted-cache.js'
import type { Env } from '../env/env.js'
import { ReadPacer } from '../segment/read-pacer.js'
import type { SegmentHost } from '../segment/segment-reader.js'

/** What a job's segments share: no cache, since it reads every block once. */
export function jobHost(env: Env, directory: string): SegmentHost {
  const pacer = new ReadPacer(env.clock)
  return { env, directory, cache: new WeightedCache(0), pacer, blockReads: { hits: 0, misses: 0 } }
}
