import type { OpenOptions } from '../../src/index.js'
import type { CrashScript } from './crash-script.js'

/** Flushes after a few writes, segments of a few entries, level 1 after two flushes. */
const TINY: OpenOptions = {
  memtableBytes: 1024,
  segmentBytes: 300,
  blockBytes: 100,
  l0SegmentsMax: 2,
  levelRatio: 2,
}

export interface CrashScenario {
  readonly options: OpenOptions
  /** For every so many moments, crash again at every step of the recovery; left out: crash in the script alone. */
  readonly everyRecovery?: number
  run(script: CrashScript): Promise<void>
}

type DurabilityOf = (i: number) => 'disk' | 'os'

async function write(
  script: CrashScript,
  from: number,
  count: number,
  durability?: DurabilityOf,
): Promise<void> {
  for (let i = from; i < from + count; i++) {
    const value = `${i}`.padEnd(40 + (i % 50), '.')
    const changes = { [`k${i % 17}`]: value, [`k${(i * 7) % 31}`]: i % 5 === 0 ? undefined : `${value}+` }
    await script.write(changes, durability?.(i))
    if (i % 23 === 11) await script.clear(`k1${i % 3}`, 'k2')
  }
}

async function reopenOften(script: CrashScript, rounds: number, count: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await write(script, round * count, count)
    await script.reopen()
  }
}

/** What is crashed at every step: each mode of durability, each way that files come and go. */
export const CRASH_SCRIPTS: readonly CrashScenario[] = [
  {
    options: { ...TINY, durability: 'disk' },
    run: async (script) => {
      await write(script, 0, 70)
      await script.db.compact()
      await write(script, 70, 20)
    },
  },
  {
    options: { ...TINY, durability: 'os' },
    run: async (script) => {
      await write(script, 0, 60, (i) => (i % 9 === 0 ? 'disk' : 'os'))
      await script.sync()
      await write(script, 60, 60, (i) => (i % 13 === 0 ? 'disk' : 'os'))
    },
  },
  {
    options: { ...TINY, durability: 'os', log: { maxBytes: 2000 } },
    run: (script) => reopenOften(script, 9, 8),
  },
  {
    options: { ...TINY, durability: 'disk', log: { maxBytes: 2 ** 20 } },
    run: (script) => reopenOften(script, 6, 9),
  },
  {
    options: { ...TINY, durability: 'memory', compaction: 'tiered' },
    run: async (script) => {
      await write(script, 0, 120)
      await script.sync()
      await write(script, 120, 30)
    },
  },
  { options: { ...TINY, durability: { intervalMs: 1 } }, run: (script) => write(script, 0, 90) },
  { options: { ...TINY, durability: 'disk', compaction: 'tiered' }, run: (script) => write(script, 0, 70) },
  {
    // Large segments, few merges, blocks of many entries.
    options: { ...TINY, durability: 'disk', memtableBytes: 4096, segmentBytes: 10_000, blockBytes: 2000 },
    run: async (script) => {
      await write(script, 0, 60)
      await script.db.flush()
      await script.db.compact()
    },
  },
  {
    // Frames over several sectors and blocks.
    options: { ...TINY, durability: 'disk', memtableBytes: 40_000 },
    run: async (script) => {
      for (let i = 0; i < 25; i++) await script.write({ [`k${i % 5}`]: `${i} `.repeat(100 + i * 90) })
    },
  },
  {
    options: { ...TINY, durability: 'os' },
    run: async (script) => {
      await write(script, 0, 40)
      await script.db.checkpoint('/stores/copies/one')
      await write(script, 40, 20)
      await script.clear('', 'z')
      await script.db.flush()
      await write(script, 60, 10)
    },
  },
  {
    options: { ...TINY, durability: 'os' },
    everyRecovery: 12,
    run: async (script) => {
      await write(script, 0, 60, (i) => (i % 4 === 0 ? 'disk' : 'os'))
      await script.reopen()
      await write(script, 60, 20)
    },
  },
  {
    options: { ...TINY, durability: 'disk', log: { maxBytes: 5000 } },
    everyRecovery: 15,
    run: (script) => reopenOften(script, 3, 20),
  },
]
