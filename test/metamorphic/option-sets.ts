import { SeededRandom } from '../../src/env/seeded-random.js'
import type { OpenOptions } from '../../src/index.js'
import { encryptionOf } from '../encryption/share.js'
import { blobsOf } from '../store/blob-share.js'

type Options = OpenOptions<Buffer, Buffer>

const COMMON: Options = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  durability: 'os',
  // The whole log stays, so that the feed shows the same everywhere.
  log: { maxBytes: 2 ** 40 },
}

/** The ends of every scale. */
const FIXED: readonly Options[] = [
  {},
  { memtableBytes: 2048, segmentBytes: 64, blockBytes: 1, l0SegmentsMax: 1, levelRatio: 2, memory: 65_536 },
  {
    memtableBytes: 2048,
    segmentBytes: 64,
    blockBytes: 1,
    compaction: 'tiered',
    l0SegmentsMax: 2,
    memory: 65_536,
  },
  { memtableBytes: 64 * 2 ** 20 },
  { memtableBytes: 2048, blockBytes: 2 ** 20, segmentBytes: 2 ** 30 },
  { memtableBytes: 4096, blockBytes: 2 ** 20, compression: 'none' },
  { memtableBytes: 4096, memory: 65_536, compression: 'none', blockBytes: 60 },
  { memtableBytes: 8192, workers: 0, levelRatio: 2 },
  { memtableBytes: 8192, workers: 4, levelRatio: 2 },
  { memtableBytes: 2048, workers: 4, compaction: 'tiered' },
  { memtableBytes: 3000, durability: 'disk', workers: 2 },
  { memtableBytes: 3000, durability: { intervalMs: 1 }, workers: 0 },
]

/** Sets of options under which a store must show the same; the first ones are fixed, the others drawn. */
export function optionSets(count: number, seed: number): Options[] {
  const random = new SeededRandom(seed)
  const pick = <T>(choices: readonly T[]): T => choices[random.below(choices.length)]!
  return Array.from({ length: count }, (_, index) => {
    const fixed = FIXED[index]
    const share = { ...blobsOf(seed + index), ...encryptionOf(seed + index) }
    if (fixed) return { ...COMMON, ...fixed, ...share }
    return {
      ...COMMON,
      durability: pick<NonNullable<Options['durability']>>(['os', 'disk', { intervalMs: 3 }]),
      memtableBytes: pick([2048, 3000, 10_000, 60_000, 2 ** 20]),
      segmentBytes: pick([64, 500, 4000, 2 ** 20]),
      blockBytes: pick([1, 30, 200, 1000, 4096, 65_536, 2 ** 20]),
      levelRatio: pick([2, 3, 10, 100]),
      l0SegmentsMax: pick([1, 2, 4, 12]),
      memory: pick([65_536, 2 ** 18, 2 ** 22, 2 ** 28]),
      compression: pick(['lz4', 'none']),
      compaction: pick(['leveled', 'tiered']),
      workers: pick([0, 1, 2, 3, 4]),
      ...share,
    }
  })
}
