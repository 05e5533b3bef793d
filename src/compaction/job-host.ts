import { BlockCache } from '../cache/block-cache.js'
import { RecentlyMissed } from '../cache/recently-missed.js'
import type { Env } from '../env/env.js'
import { BlobFiles } from '../segment/blob-files.js'
import { ReadPacer } from '../segment/read-pacer.js'
import type { SegmentHost } from '../segment/segment-reader.js'

/** What a job's segments share: no cache, since it reads every block once. Its blob files are the caller's to close. */
export function jobHost(env: Env, directory: string): SegmentHost {
  const pacer = new ReadPacer(env.clock)
  const blobs = new BlobFiles(env, directory)
  return {
    env,
    directory,
    cache: new BlockCache(0),
    missed: new RecentlyMissed(0),
    pacer,
    blobs,
    blockReads: { hits: 0, misses: 0 },
  }
}
