import { describe, expect, it } from 'vitest'
import type { OpenOptions } from '../../src/index.js'
import { type CrashCount, CrashScript } from './crash-script.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const TIMEOUT_MS = 120_000

/** Flushes after a few writes, segments of a few entries, level 1 after two flushes. */
const TINY: OpenOptions = {
  memtableBytes: 1024,
  segmentBytes: 300,
  blockBytes: 100,
  l0SegmentsMax: 2,
  levelRatio: 2,
}

function text(i: number): string {
  return `${i}`.padEnd(40 + (i % 50), '.')
}

async function writeSome(
  script: CrashScript,
  from: number,
  count: number,
  durability?: (i: number) => 'disk' | 'os',
) {
  for (let i = from; i < from + count; i++) {
    const changes = { [`k${i % 17}`]: text(i), [`k${(i * 7) % 31}`]: i % 5 === 0 ? undefined : text(i + 1) }
    await script.write(changes, durability?.(i))
    if (i % 23 === 11) await script.clear(`k1${i % 3}`, 'k2')
  }
}

function report(name: string, { states, different }: CrashCount): void {
  console.log(`crash, ${name}: ${states} crash states, ${different} different ones, each opened twice, 0 bad`)
  expect(states).toBeGreaterThan(300)
}

describe(`D7: after a crash at any step the store holds a prefix with all that was promised (seed ${SEED})`, () => {
  it('durable writes through flushes and compactions', { timeout: TIMEOUT_MS }, async () => {
    const script = new CrashScript({ ...TINY, durability: 'disk' }, SEED)
    await script.open()
    await writeSome(script, 0, 60)
    await script.db.compact()
    await writeSome(script, 60, 20)
    await script.db.close()
    report('durable writes', await script.checkAll())
  })

  it(
    'writes handed to the system, with some durable ones and barriers',
    { timeout: TIMEOUT_MS },
    async () => {
      const script = new CrashScript({ ...TINY, durability: 'os' }, SEED + 1)
      await script.open()
      await writeSome(script, 0, 50, (i) => (i % 9 === 0 ? 'disk' : 'os'))
      await script.sync()
      await writeSome(script, 50, 50, (i) => (i % 13 === 0 ? 'disk' : 'os'))
      await script.db.close()
      report('writes handed to the system', await script.checkAll())
    },
  )

  it('reopening again and again, each with a new manifest', { timeout: TIMEOUT_MS }, async () => {
    const script = new CrashScript({ ...TINY, durability: 'os', log: { maxBytes: 2000 } }, SEED + 2)
    await script.open()
    for (let round = 0; round < 8; round++) {
      await writeSome(script, round * 8, 8)
      await script.reopen()
    }
    await script.db.close()
    report('reopening', await script.checkAll())
  })

  it('memory durability with tiered compaction', { timeout: TIMEOUT_MS }, async () => {
    const script = new CrashScript({ ...TINY, durability: 'memory', compaction: 'tiered' }, SEED + 3)
    await script.open()
    await writeSome(script, 0, 120)
    await script.sync()
    await writeSome(script, 120, 20)
    await script.db.close()
    report('memory durability', await script.checkAll())
  })

  it('a crash at every step of recovering from a crash', { timeout: TIMEOUT_MS }, async () => {
    const script = new CrashScript({ ...TINY, durability: 'os' }, SEED + 4)
    await script.open()
    await writeSome(script, 0, 60, (i) => (i % 4 === 0 ? 'disk' : 'os'))
    await script.reopen()
    await writeSome(script, 60, 20)
    await script.db.close()
    report('during recovery', await script.checkDuringRecovery(90))
  })
})
