import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import type { OpenOptions } from '../../src/index.js'
import { openMemory, pad, STORE } from '../store/helpers.js'

/** Small blocks and segments, so that a small store has several of each. */
export const SAMPLE_OPTIONS: OpenOptions = {
  workers: 0,
  memory: 2 ** 20,
  blockBytes: 160,
  segmentBytes: 600,
  l0SegmentsMax: 100,
  log: { maxBytes: 2 ** 20 },
}

export interface Sample {
  readonly fs: MemoryFileSystem
  /** Everything in it, as JSON. */
  readonly wanted: string
  /** Paths by kind; of several files of a kind, several. */
  readonly paths: { readonly log: string[]; readonly segment: string[]; readonly manifest: string }
}

/** Segments of two levels, range tombstones, raw and compressed blocks, retained log files, and a log not flushed. */
export async function sampleStore(): Promise<Sample> {
  const { db, env } = await openMemory(SAMPLE_OPTIONS)
  for (let i = 0; i < 12; i++) void db.put(pad(i), `value ${i} `.repeat(4))
  await db.compact()
  for (let i = 0; i < 5; i++) void db.put(pad(i * 2), `second ${i}`)
  await db.clear({ gte: pad(7), lt: pad(8) })
  await db.flush()
  await db.batch([
    { type: 'put', key: 'in the log', value: 'x'.repeat(40) },
    { type: 'del', key: pad(1) },
  ])
  await db.clear({ gte: pad(3), lt: pad(4) })
  for (let i = 0; i < 2; i++) await db.put(`log ${i}`, 'y'.repeat(10), { durability: 'disk' })
  const wanted = JSON.stringify(await db.entries().all())
  await db.close()
  const { fs } = env
  const found = (pattern: RegExp) =>
    fs
      .list(STORE)
      .filter((name) => pattern.test(name))
      .map((name) => `${STORE}/${name}`)
  const paths = { log: found(/\.log$/), segment: found(/\.seg$/), manifest: found(/^MANIFEST/)[0]! }
  return { fs, wanted, paths }
}
